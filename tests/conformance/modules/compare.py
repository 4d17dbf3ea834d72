"""One model twice: as onnxruntime runs it, and as the PyTorch module that is generated of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import OnnxModel
from qsimc_torch.build import filled, generated_of
from qsimc_torch.runtime import Simulation

from qsimc.backend import Backend, Batch, load_backend
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import InputError
from qsimc.pipeline.calibrate import calibrate
from qsimc.pipeline.plan import Session, choices, session
from tests.conformance.modules.follow import doubled, everywhere, follow, followed, run
from tests.conformance.modules.row import APART, Row

CONFIG = "aimet:default"

Array = NDArray[Any]


def compare(path: Path, batches: Sequence[Batch], activations: str = "int8") -> Row:
    """Return how a module and a model agree on some batches, which are calibrated on as well."""
    row = Row(model=path.stem if path.stem != "model" else path.parent.name)
    try:
        with session(CONFIG, str(path), choices(activations, "int8", "minmax", "fixed")) as made:
            onnx, model = load_backend("onnx"), made.model
            assert isinstance(model, OnnxModel)
            _operators(row, onnx, model, batches)
            _float(row, onnx, model, made, batches)
            _quantized(row, onnx, model, made, batches)
    except InputError as refusal:
        row.refusals = tuple(finding.message for finding in refusal.findings)
    return row


def _operators(row: Row, onnx: Backend, model: OnnxModel, batches: Sequence[Batch]) -> None:
    """Compare what single operators make of what onnxruntime made."""
    module = filled(generated_of(model, everywhere(model), {}, shared=False), model)
    looked_at = [tensor for quantizer in module.quantizers() for tensor in quantizer.tensors]

    def see(tensor: str, made: Array) -> None:
        error = _error(made, values[tensor])
        if error > row.operator_error:
            row.operator_error, row.operator = error, tensor

    for batch, values in zip(batches, onnx.run(Path(model.path), batches, looked_at, optimise=False), strict=True):
        follow(module, model, batch, values, see)


def _float(row: Row, onnx: Backend, model: OnnxModel, made: Session, batches: Sequence[Batch]) -> None:
    """Compare the outputs of the float model, with each other and with what float64 makes of them."""
    row.nodes = len(model.graph.nodes)
    generated = generated_of(model, made.plan, {})
    row.lines = len(generated.text.partition("    def forward(")[2].splitlines())
    module = filled(generated, model)
    exact = doubled(generated, model)
    path = Path(model.path)
    optimised, plain = onnx.run(path, batches), onnx.run(path, batches, optimise=False)
    for batch, expected, other in zip(batches, optimised, plain, strict=True):
        found = dict(zip(model.graph.outputs, run(module, model, batch), strict=True))
        precise = zip(model.graph.outputs, run(exact, model, batch, torch.float64), strict=True)
        wanted = {name: value.astype(expected[name].dtype) for name, value in precise}
        row.float_error = max([row.float_error, *_errors(found, expected)])
        row.module_error = max([row.module_error, *_errors(found, wanted)])
        row.runtime_error = max([row.runtime_error, *_errors(expected, wanted), *_errors(other, wanted)])


def _quantized(row: Row, onnx: Backend, model: OnnxModel, made: Session, batches: Sequence[Batch]) -> None:
    """Compare what quantizers put out, each fed what the ONNX simulation made, and the outputs of both simulations."""
    calibration = calibrate(onnx, model, made.plan, batches, lambda _: None)
    encodings = calibration.encodings
    generated = generated_of(model, calibration.plan, encodings)
    simulated, exact = filled(generated, model), doubled(generated, model)
    with TemporaryDirectory(prefix="qsimc-") as folder:
        simulation = onnx.build(model, calibration.plan, Path(folder), encodings)[0]
        shown = {t: name for t, name in onnx.quantized(simulation).items() if t in encodings}
        names = [*dict.fromkeys(shown.values())]
        for batch, found in zip(batches, onnx.run(simulation, batches, names, optimise=False), strict=True):
            values = {t: found[name] for t, name in shown.items()}
            _count(row, simulated, exact, model, batch, values, encodings)
            alone = dict(zip(model.graph.outputs, run(simulated, model, batch), strict=True))
            for name in encodings.keys() & {*alone}:
                apart = steps_apart(alone[name], values[name], encodings[name])
                row.outputs += apart.size
                row.outputs_apart += int(np.count_nonzero(apart))
                row.outputs_worst = max(row.outputs_worst, int(apart.max(initial=0)))


def _count(
    row: Row,
    simulated: Simulation,
    exact: Simulation,
    model: OnnxModel,
    batch: Batch,
    values: Mapping[str, Array],
    encodings: Mapping[str, Encoding],
) -> None:
    wanted = followed(exact, model, batch, values, torch.float64)

    def see(tensor: str, made: Array) -> None:
        encoding, expected = encodings[tensor], values[tensor]
        apart = steps_apart(made, expected, encoding)
        count = int(np.count_nonzero(apart))
        row.values += apart.size
        row.apart += count
        row.worst = max(row.worst, int(apart.max(initial=0)))
        row.worst_share = max(row.worst_share, count / max(apart.size, 1))
        if count > APART * apart.size:
            row.over.add(tensor)
        row.module_apart += int(np.count_nonzero(steps_apart(made, wanted[tensor], encoding)))
        row.runtime_apart += int(np.count_nonzero(steps_apart(expected, wanted[tensor], encoding)))

    follow(simulated, model, batch, values, see)


def steps_apart(made: Array, expected: Array, encoding: Encoding) -> NDArray[np.int64]:
    """Return by how many steps values differ."""
    scale = encoding.scale
    if encoding.axis is not None:
        scale = scale.reshape([-1 if axis == encoding.axis % made.ndim else 1 for axis in range(made.ndim)])
    return np.asarray(np.rint(np.abs(made.astype(np.float64) - expected) / scale), np.int64)


def _errors(made: Mapping[str, Array], expected: Mapping[str, Array]) -> Iterator[float]:
    return (_error(made[name], value) for name, value in expected.items())


def _error(made: Array, expected: Array) -> float:
    """Return the largest difference, as a share of the largest value; infinity where type or shape are wrong."""
    if made.dtype != expected.dtype or made.shape != expected.shape:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(made, expected) else np.inf
    size = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(made.astype(np.float64) - expected).max(initial=0.0)) / (size or 1.0)
