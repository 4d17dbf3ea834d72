"""Run models in onnxruntime and export them from PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
Batch = Mapping[str, Array]

_ERRORS_ONLY = 3


def session(model: Path) -> onnxruntime.InferenceSession:
    """Return a session as an application would open it: on the CPU, all graph optimisations on."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs(model: Path, inputs: Batch, size: int) -> Array:
    """Return the first output for all samples, run `size` samples at a time.

    The first axis of every input, and of the output, counts samples.
    """
    running = session(model)
    return np.concatenate([running.run(None, batch)[0] for batch in _split(inputs, size)])


def batches(data: Path, size: int) -> Iterator[Batch]:
    """Yield what a calibration file holds: an .npz in batches of `size`, a folder file by file."""
    if data.is_dir():
        for path in sorted(data.glob("*.npz")):
            yield dict(np.load(path))
    else:
        yield from _split(dict(np.load(data)), size)


def save(path: Path, arrays: Batch) -> None:
    """Write arrays as an .npz, one member per name."""
    np.savez(path, allow_pickle=False, **arrays)


def export(
    module: torch.nn.Module,
    examples: Mapping[str, torch.Tensor],
    axes: Mapping[str, Mapping[int, str]],
    output: str,
    path: Path,
) -> None:
    """Write a module as ONNX.

    Args:
        module: called with the examples by name.
        examples: one tensor per input; no axis named in `axes` may have length 0 or 1.
        axes: input -> its dynamic axes -> their names.
        output: name of the module's only output.
        path: of the .onnx file; weights are stored inside.
    """
    module.eval()
    program = torch.onnx.export(
        module,
        kwargs=dict(examples),
        input_names=list(examples),
        output_names=[output],
        dynamic_shapes={name: dict(named) for name, named in axes.items()},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None, "only the exporter before dynamo returns nothing"
    program.save(path)


def _split(inputs: Batch, size: int) -> Iterator[Batch]:
    samples = min(len(values) for values in inputs.values())
    for start in range(0, samples, size):
        yield {name: values[start : start + size] for name, values in inputs.items()}
