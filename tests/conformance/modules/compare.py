"""One model twice: as onnxruntime runs it, and as the PyTorch module that is generated of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import OnnxModel
from qsimc_torch.build import filled, generated_of, tensor_of
from qsimc_torch.runtime import Simulation

from qsimc.backend import Batch, load_backend
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import InputError
from qsimc.pipeline.calibrate import calibrate
from qsimc.pipeline.plan import Session, choices, session

CONFIG = "aimet:default"

FLOAT_ERROR = 1e-5
"""How far a float output may be off, as a share of the largest value in it.

Where onnxruntime with its optimisations and without them is further apart than that, it may be off by twice as much.
"""

APART = 1e-3
"""The share of a model's values that may be off by one step, where quantizers get what the ONNX simulation made.

It is not asked of each tensor: at 16 bits a step is a hundred times the rounding of float32, which a long sum exceeds.
Means of values on a grid fall half-way between its steps, where the order of a sum decides.
"""

Array = NDArray[Any]


@dataclass(slots=True, kw_only=True)
class Row:
    """What was found of one model.

    Attributes:
        lines: of the generated `forward`.
        float_error: largest difference of a float output, as a share of the largest value in it.
        float_spread: the same between onnxruntime with its optimisations and without them.
        values: what quantizers put out, counted.
        apart: how many of those are off, each quantizer being fed what the ONNX simulation made.
        worst: by how many steps at most.
        worst_share: the largest share of values that are off in one tensor.
        over: tensors of which more than `APART` are off.
        outputs, outputs_apart, outputs_worst: the same of the outputs, when each program runs alone; only outputs that
            are quantized count.
    """

    model: str
    nodes: int = 0
    lines: int = 0
    float_error: float = 0.0
    float_spread: float = 0.0
    values: int = 0
    apart: int = 0
    worst: int = 0
    worst_share: float = 0.0
    over: set[str] = field(default_factory=set)
    outputs: int = 0
    outputs_apart: int = 0
    outputs_worst: int = 0
    failures: list[str] = field(default_factory=list)


def compare(model: Path, batches: Sequence[Batch], activations: str = "int8") -> Row:
    """Return how a module and a model agree on some batches, which are calibrated on as well."""
    row = Row(model=model.stem if model.stem != "model" else model.parent.name)
    try:
        with session(CONFIG, str(model), choices(activations, "int8", "minmax", "fixed")) as made:
            _compare(row, made, batches)
    except InputError as refusal:
        row.failures += [finding.message for finding in refusal.findings]
    return row


def _compare(row: Row, made: Session, batches: Sequence[Batch]) -> None:
    assert isinstance(made.model, OnnxModel)
    onnx, model = load_backend("onnx"), made.model
    row.nodes = len(model.graph.nodes)
    generated = generated_of(model, made.plan, {})
    row.lines = len(generated.text.partition("    def forward(")[2].splitlines())
    plain = filled(generated, model)
    path = Path(model.path)
    optimised, plainly = onnx.run(path, batches), onnx.run(path, batches, optimise=False)
    for batch, expected, other in zip(batches, optimised, plainly, strict=True):
        found = dict(zip(model.graph.outputs, run(plain, model, batch), strict=True))
        row.float_error = max([row.float_error, *(_error(found[name], value) for name, value in expected.items())])
        row.float_spread = max([row.float_spread, *(_error(other[name], value) for name, value in expected.items())])
    if row.float_error > max(FLOAT_ERROR, 2 * row.float_spread):
        row.failures.append(f"float outputs are off by {row.float_error:.1e} of the largest value")
    calibration = calibrate(onnx, model, made.plan, batches, lambda _: None)
    encodings = calibration.encodings
    simulated = filled(generated_of(model, calibration.plan, encodings), model)
    with TemporaryDirectory(prefix="qsimc-") as folder:
        simulation = onnx.build(model, calibration.plan, Path(folder), encodings)[0]
        shown = {t: name for t, name in onnx.quantized(simulation).items() if t in encodings}
        wanted = [*dict.fromkeys([*shown.values(), *model.graph.outputs])]
        for batch, values in zip(batches, onnx.run(simulation, batches, wanted, optimise=False), strict=True):
            _count(row, simulated, model, batch, {t: values[name] for t, name in shown.items()}, encodings)
            alone = dict(zip(model.graph.outputs, run(simulated, model, batch), strict=True))
            for name in encodings.keys() & {*alone}:
                apart = steps_apart(alone[name], values[shown[name]], encodings[name])
                row.outputs += apart.size
                row.outputs_apart += int(np.count_nonzero(apart))
                row.outputs_worst = max(row.outputs_worst, int(apart.max(initial=0)))
    if row.worst > 1 or row.apart > APART * row.values:
        row.failures.append(f"{row.apart} of {row.values} quantized values are off, by up to {row.worst} steps")


def _count(
    row: Row,
    simulated: Simulation,
    model: OnnxModel,
    batch: Batch,
    values: Mapping[str, Array],
    encodings: Mapping[str, Encoding],
) -> None:
    for tensor, made in followed(simulated, model, batch, values):
        apart = steps_apart(made, values[tensor], encodings[tensor])
        count = int(np.count_nonzero(apart))
        row.values += apart.size
        row.apart += count
        row.worst = max(row.worst, int(apart.max(initial=0)))
        row.worst_share = max(row.worst_share, count / max(apart.size, 1))
        if count > APART * apart.size:
            row.over.add(tensor)


def followed(
    simulated: Simulation, model: OnnxModel, batch: Batch, values: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Yield what each quantizer of a module puts out, all that comes before having come from `values`."""
    found: list[tuple[str, Array]] = []

    def follow(tensors: tuple[str, ...]) -> Callable[..., torch.Tensor]:
        waiting = list(tensors)

        def hook(_: torch.nn.Module, __: Any, made: torch.Tensor) -> torch.Tensor:
            tensor = waiting.pop(0)
            found.append((tensor, made.numpy()))
            return tensor_of(values[tensor])

        return hook

    hooks = [q.register_forward_hook(follow(q.tensors)) for q in simulated.quantizers()]
    run(simulated, model, batch)
    for hook in hooks:
        hook.remove()
    yield from found


def run(module: torch.nn.Module, model: OnnxModel, batch: Batch) -> list[Array]:
    """Return the outputs of a module."""
    with torch.no_grad():
        made = module(*(tensor_of(batch[name]) for name in model.graph.inputs))
    return [output.numpy() for output in (made if isinstance(made, tuple) else (made,))]


def steps_apart(made: Array, expected: Array, encoding: Encoding) -> NDArray[np.int64]:
    """Return by how many steps values differ."""
    scale = encoding.scale
    if encoding.axis is not None:
        scale = scale.reshape([-1 if axis == encoding.axis % made.ndim else 1 for axis in range(made.ndim)])
    return np.asarray(np.rint(np.abs(made.astype(np.float64) - expected) / scale), np.int64)


def _error(made: Array, expected: Array) -> float:
    if made.dtype != expected.dtype or made.shape != expected.shape:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(made, expected) else np.inf
    size = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(made - expected).max(initial=0.0)) / (size or 1.0)
