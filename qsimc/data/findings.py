"""What can be wrong with calibration data, as diagnostics (Q0601 to Q0609)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np

from qsimc.data.layout import Info, Layout
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.graph import Tensor


def unreadable(path: str, reason: str, helps: tuple[str, ...] = ()) -> Diagnostic:
    return _error("Q0601", "data-unreadable", f"cannot read `{path}`: {reason}", path, helps=helps)


def names_differ(path: str, missing: Sequence[str], found: Sequence[str], layout: Layout) -> Diagnostic:
    spare = [name for name in found if name not in layout.inputs]
    renames = [
        f"did you mean `{name}` where the data say `{near[0]}`?"
        for name in missing
        if (near := get_close_matches(name, spare, n=1))
    ]
    return _error(
        "Q0602",
        "data-names",
        f"no array for the model's {_inputs(missing)}",
        path,
        notes=(f"the model's inputs: {listed(layout.inputs)}", f"found: {listed(found) or 'no arrays'}"),
        helps=tuple(renames) or (f"name the arrays as the model does: {listed(layout.inputs)}",),
    )


def not_a_batch(path: str, kind: str, layout: Layout) -> Diagnostic:
    example = ", ".join(f'"{name}": array' for name in layout.inputs)
    return _error(
        "Q0602",
        "data-names",
        f"a batch is a `{kind}`, which holds no arrays",
        path,
        helps=(f"make each batch a mapping: `{{{example}}}`",),
    )


def too_few(path: str, found: int, layout: Layout) -> Diagnostic:
    message = f"a batch holds {_arrays(found)}, and the model has {len(layout.inputs)} inputs"
    return _error("Q0602", "data-names", message, path, notes=(f"the model's inputs: {listed(layout.inputs)}",))


def unused(path: str, extra: Sequence[str]) -> Diagnostic:
    return _warning("Q0609", "data-unused", f"no input of the model is called {listed(extra)}: not used", path)


def unused_positions(path: str, found: int, layout: Layout) -> Diagnostic:
    message = f"each batch holds {_arrays(found)}, the model takes {len(layout.inputs)}: the others are not used"
    return _warning("Q0609", "data-unused", message, path, notes=(f"taken in this order: {listed(layout.inputs)}",))


def shape_differs(path: str, tensor: Tensor, info: Info, whole: bool) -> Diagnostic:
    return _error(
        "Q0603",
        "data-shape",
        f"input `{tensor.name}` needs shape {expected_shape(tensor, whole)}, the data have {shown(info.shape)}",
        path,
        notes=() if whole else ("the first axis of the data counts samples",),
        helps=_reshapes(tensor, info.shape, whole),
    )


def counts_differ(path: str, counts: Iterable[tuple[str, int]]) -> Diagnostic:
    said = ", ".join(f"`{name}` has {n}" for name, n in counts)
    return _error("Q0603", "data-shape", f"the inputs disagree on the number of samples: {said}", path)


def batch_size_fixed(path: str, asked: int, size: int) -> Diagnostic:
    message = f"batches of {asked} were asked for, but the model takes exactly {size} at once"
    helps = ("leave out the batch size, or export the model with an open first axis",)
    return _error("Q0603", "data-shape", message, path, helps=helps)


def cannot_join(path: str, name: str, size: int) -> Diagnostic:
    message = f"batches of input `{name}` differ in more than their first axis, so {size} samples cannot be stacked"
    return _error("Q0603", "data-shape", message, path)


def not_finite(path: str, name: str, sample: int, value: str) -> Diagnostic:
    message = f"sample {sample} of input `{name}` holds {value}"
    notes = ("samples are counted from 0", "one such value would spoil every range that it reaches")
    return _error("Q0604", "data-not-finite", message, path, notes=notes, helps=("remove or repair the sample",))


def empty(path: str, message: str, helps: tuple[str, ...] = ()) -> Diagnostic:
    return _error("Q0605", "data-empty", message, path, helps=helps)


def dtype_differs(path: str, name: str, found: str, expected: str, why: str = "") -> Diagnostic:
    message = f"input `{name}` is {expected}, the data are {found}"
    notes = (why,) if why else ()
    return _error("Q0606", "data-dtype", message, path, notes=notes, helps=(f"save the data as {expected}",))


def not_an_array(path: str, name: str, kind: str, why: str) -> Diagnostic:
    message = f"input `{name}`: a `{kind}` cannot become an array"
    return _error("Q0606", "data-dtype", message, path, notes=(why,), helps=("give arrays of a dtype that numpy has",))


def left_out(path: str, remainder: int, size: int) -> Diagnostic:
    samples = "1 sample" if remainder == 1 else f"the last {remainder} samples"
    message = f"{samples} left out: the model takes exactly {size} at once"
    return _warning("Q0608", "data-remainder", message, path)


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def shown(shape: Iterable[object]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def expected_shape(tensor: Tensor, whole: bool) -> str:
    """Return the shape that data for an input must have: `[samples, 3, ?, ?]`."""
    if tensor.shape is None:
        return "[samples, …]"
    sizes = ["?" if size is None else str(size) for size in tensor.shape]
    return shown(sizes if whole else ["samples", *sizes[1:]])


def _reshapes(tensor: Tensor, shape: tuple[int, ...], whole: bool) -> tuple[str, ...]:
    """Return help for the usual slips: no batch axis, channels last, a missing channel axis."""
    wanted = tensor.shape
    if whole or wanted is None:
        return ()
    sample = wanted[1:]
    if shape == sample:
        return ("this looks like one sample: add a first axis, `array[None]`",)
    if len(shape) == 4 and (shape[3], shape[1], shape[2]) == sample:
        return ("the channels seem to come last: `array.transpose(0, 3, 1, 2)`",)
    if len(shape) == 4 and (shape[2], shape[3], shape[1]) == sample:
        return ("the channels seem to come first: `array.transpose(0, 2, 3, 1)`",)
    if sample[:1] == (1,) and shape[1:] == sample[1:]:
        return ("the channel axis is missing: `array[:, None]`",)
    if all(size is not None for size in sample) and np.prod(shape[1:]) == np.prod([size or 0 for size in sample]):
        return (f"the sizes agree after `array.reshape({', '.join(map(str, (-1, *sample)))})`",)
    return ()


def _inputs(names: Sequence[str]) -> str:
    return f"input{'s' if len(names) > 1 else ''} {listed(names)}"


def _arrays(number: int) -> str:
    return "1 array" if number == 1 else f"{number} arrays"


def _error(
    code: str, name: str, message: str, path: str, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ()
) -> Diagnostic:
    return Diagnostic(
        code=code, name=name, severity=Severity.ERROR, message=message, notes=notes, helps=helps, path=path
    )


def _warning(code: str, name: str, message: str, path: str, notes: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code=code, name=name, severity=Severity.WARNING, message=message, notes=notes, path=path)
