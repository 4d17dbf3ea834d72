"""The call of `torch.onnx.export`: options, silence, and the choice between an open and a fixed batch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from qsimc.entry import one_line
from qsimc_torch.example import Example, evaluating
from qsimc_torch.tidy import tidy

_OPSET = 18
"""What every exporter since torch 2.6 writes without converting; higher ones shut out runtimes for no gain here."""

_LARGEST_OPEN_SIZE = 2**31
_SMALLEST_OPEN_SIZE = 2
"""A batch axis is open if every size between these will do.  Torch 2.6 to 2.8 could not promise 0 and 1."""


class ExportError(Exception):
    """Torch cannot export the module; `cause` is the exception at the bottom of torch's."""

    def __init__(self, error: BaseException) -> None:
        self.cause = _innermost(error)
        super().__init__(one_line(self.cause))


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported model, and why its batch size is fixed (empty when it is not)."""

    model: ir.Model
    fixed_because: str


def export(example: Example) -> Exported:
    """Export a module with an open batch axis, or with that of the example where it allows nothing else.

    Nothing is printed, and the module is in the mode that it was in before.

    Raises:
        ExportError: torch gives up.
    """
    with _quiet(), evaluating(example.module), torch.no_grad():
        program, why = _export_open(example)
        if program is None:
            program = _export(example, None)
        assert isinstance(program.model, ir.Model)
        tidy(program.model, example.module)
    return Exported(program.model, why)


def save(model: ir.Model, path: Path, inline_limit: int) -> None:
    """Write a model; weights of more than `inline_limit` bytes go into `path` + ".data"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = [value.const_value for value in model.graph.initializers.values()]
    size = sum(weight.nbytes for weight in weights if weight is not None)
    ir.save(model, path, external_data=f"{path.name}.data" if size > inline_limit else None)


def _export_open(example: Example) -> tuple[torch.onnx.ONNXProgram | None, str]:
    """Export with an open batch axis; None and the reason if the module does not allow it."""
    if example.batch is None:
        return None, ""
    # One shared name, not one per input: torch then refuses a module that needs inputs to differ in it.
    batch = {0: torch.export.Dim("batch")}
    shapes = {name: _shape(value, example.batch, batch) for name, value in example.bound.items()}
    try:
        program = _export(example, shapes)
    except ExportError as error:
        return None, str(error)
    why = _restricted(program, example.batch)
    return (None, why) if why else (program, "")


def _export(example: Example, shapes: Mapping[str, Any] | None) -> torch.onnx.ONNXProgram:
    try:
        program = torch.onnx.export(
            example.module,
            example.args,
            kwargs=dict(example.kwargs),
            dynamic_shapes=None if shapes is None else dict(shapes),
            dynamo=True,
            opset_version=_OPSET,
            # Torch's optimizer folds batch norms into convolutions and transposes weights: parameters would be lost.
            optimize=False,
            verbose=False,
        )
    except (RuntimeError, ImportError) as error:  # OnnxExporterError, with everything else as its cause; onnxscript
        raise ExportError(error) from error
    assert program is not None, "dynamo=True returns a program"
    return program


def _shape(value: Any, size: int, batch: Mapping[int, Any]) -> Any:
    """Return torch's description of one argument: `batch` for each tensor whose first axis has `size`."""
    if isinstance(value, torch.Tensor):
        return dict(batch) if value.ndim and len(value) == size else None
    if isinstance(value, Mapping):
        return {name: _shape(item, size, batch) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_shape(item, size, batch) for item in value)
    return None


def _restricted(program: torch.onnx.ONNXProgram, size: int) -> str:
    """Return why a batch axis that should be open is not, empty when it is.

    Torch may fix an axis that it was told to leave open, and it may keep it open although the code it
    traced only runs for some sizes (`if x.shape[0] > 5`).
    """
    for value in program.model.graph.inputs:
        shape = value.shape
        if shape is not None and shape.rank() and shape[0] == size:
            return f"torch found that the first axis of `{value.name}` must be {size}"
    constraints = program.exported_program.range_constraints if program.exported_program else {}
    for symbol, sizes in constraints.items():
        of_input = str(symbol).startswith("s")  # `u` marks sizes that depend on data inside the module
        if of_input and (sizes.upper < _LARGEST_OPEN_SIZE or sizes.lower > _SMALLEST_OPEN_SIZE):
            return f"`forward` branches on the batch size, and its trace holds for {sizes.lower} to {sizes.upper} only"
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, warnings and log off the terminal."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
