"""A PyTorch module -> an ONNX file: every model that qsimc plans for is read from ONNX.

This file is about the user's code and what to say about it; torch is imported when there is something to export.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsimc import entry
from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.outputs import safe_name

if TYPE_CHECKING:
    from qsimc_torch.example import Example
    from qsimc_torch.export import Exported

_INLINE_LIMIT = 1_500_000_000
"""Bytes of weights that still go into the .onnx itself: protobuf ends at 2 GiB, and names take room as well."""


def capture(
    factory: str | Callable[[], Any], out: Path, report: Report, *, inline_limit: int = _INLINE_LIMIT
) -> Path | None:
    """Export the module that the user's factory makes to `out`/<class>.onnx; None after reporting why not.

    The factory returns an `nn.Module` and example inputs: a tensor, a tuple of arguments, or a mapping of
    keyword arguments.  The module is exported in eval mode and left in the mode it had.  Its parameters keep
    the names of `state_dict`, nodes are named after their modules (`/layer1.0.conv1/Conv`), and the first
    axis of every input with the batch size of the example is left open where the module allows it.  The
    same module gives the same bytes.

    Args:
        factory: a callable, or a reference to one: `package.module:factory`.
        out: the folder to write into.
        inline_limit: weights of more bytes than this go into a file of their own beside the model.

    Reports:
        Q0510: the factory cannot be found, fails, or returns something else.
        Q0511: the module cannot be exported.
        Q0512: a warning, it can, but for one batch size only.
    """
    text = factory if isinstance(factory, str) else f"{factory.__module__}:{factory.__qualname__}"
    call = entry.load_reference(factory, report) if isinstance(factory, str) else factory
    made = None if call is None else entry.run(text, call, report)
    if made is None:
        return None
    try:
        # Torch takes a second to import, and a user without it deserves a sentence.
        from qsimc_torch.example import example_of
        from qsimc_torch.export import ExportError, export, save
    except ImportError as error:
        report(_not_installed(text, error))
        return None
    example = example_of(text, made, report)
    if example is None:
        return None
    try:
        exported = export(example)
    except ExportError as error:
        report(_not_exported(text, example, error.cause))
        return None
    if exported.fixed_because:
        report(_batch_fixed(text, example, exported))
    path = out / f"{safe_name(type(example.module).__name__)}.onnx"
    save(exported.model, path, inline_limit)
    return path


def _not_installed(text: str, error: ImportError) -> Diagnostic:
    return Diagnostic(
        code="Q0511",
        name="torch-export",
        severity=Severity.ERROR,
        message=f"`{text}` is a PyTorch model, and PyTorch's exporter is not installed",
        notes=(entry.one_line(error),),
        helps=("pip install 'qsimc[torch]'",),
        path=text,
    )


def _not_exported(text: str, example: Example, error: BaseException) -> Diagnostic:
    place = entry.place_of(error)
    return Diagnostic(
        code="Q0511",
        name="torch-export",
        severity=Severity.ERROR,
        message=f"`{type(example.module).__name__}` cannot be exported to ONNX",
        notes=(entry.one_line(error), *((f"raised at {place}",) if place else ())),
        helps=("change the module so that `torch.onnx.export(…, dynamo=True)` takes it, or pass an .onnx file",),
        path=text,
    )


def _batch_fixed(text: str, example: Example, exported: Exported) -> Diagnostic:
    return Diagnostic(
        code="Q0512",
        name="torch-batch-fixed",
        severity=Severity.WARNING,
        message=f"`{type(example.module).__name__}` could be exported for batches of {example.batch} only",
        notes=(exported.fixed_because,),
        helps=("make `forward` work for any size of the first axis, or give example inputs of the size you deploy",),
        path=text,
    )
