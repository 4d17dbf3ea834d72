"""Whether arrays fit a model: first by name, dtype and shape, then by value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.data import findings
from qsimc.data.layout import Arrays, Chunk, Info, Layout
from qsimc.diagnostics import Diagnostic, InputError
from qsimc.graph import Tensor

_CASTS = {"b": "b", "i": "bui", "u": "bui", "f": "buif"}
"""Kind of the model's dtype -> kinds of data that may become it, if each value survives."""


def misfits(path: str, found: Mapping[str, Info], layout: Layout) -> list[Diagnostic]:
    """Return what keeps arrays from being fed to a model, without looking at their values.

    The errors among them are final; an array that no input asks for is a warning.
    """
    missing = [name for name in layout.inputs if name not in found]
    if missing:
        return [findings.names_differ(path, missing, list(found), layout)]
    problems = [
        problem
        for name, tensor in layout.inputs.items()
        if (problem := _misfit(path, tensor, found[name], name in layout.whole)) is not None
    ]
    counts = {name: found[name].shape[0] for name in layout.batched if found[name].shape}
    if not problems and len(set(counts.values())) > 1:
        problems.append(findings.counts_differ(path, counts.items()))
    extra = [name for name in found if name not in layout.inputs]
    if extra:
        problems.append(findings.unused(path, extra))
    return problems


def conform(chunk: Chunk, layout: Layout) -> Arrays:
    """Return the chunk's arrays in the model's dtypes and order.

    Floating-point data may lose precision, as float64 does on its way to float32; integers and booleans
    must survive exactly.

    Raises:
        InputError: Q0606, a value would change; Q0604, NaN or infinity.
    """
    return {
        name: _converted(chunk, tensor, np.asarray(chunk.arrays[name]), name in layout.whole)
        for name, tensor in layout.inputs.items()
    }


def numpy_dtype(tensor: Tensor) -> np.dtype[Any] | None:
    """Return the dtype of an input, None when it is unknown or not one of numpy's (bfloat16)."""
    try:
        return np.dtype(tensor.dtype) if tensor.dtype else None
    except TypeError:
        return None


def _misfit(path: str, tensor: Tensor, info: Info, whole: bool) -> Diagnostic | None:
    target = numpy_dtype(tensor)
    if info.dtype.kind not in (_CASTS.get(target.kind, target.kind) if target is not None else "buifV"):
        return findings.dtype_differs(path, tensor.name, str(info.dtype), tensor.dtype or "of an unknown type")
    if not _shape_fits(tensor, info.shape, whole):
        return findings.shape_differs(path, tensor, info, whole)
    return None


def _shape_fits(tensor: Tensor, shape: tuple[int, ...], whole: bool) -> bool:
    if tensor.shape is None:
        return len(shape) > 0
    if len(shape) != len(tensor.shape):
        return False
    start = 0 if whole else 1
    return all(want in (None, size) for want, size in zip(tensor.shape[start:], shape[start:], strict=True))


def _converted(chunk: Chunk, tensor: Tensor, values: NDArray[Any], whole: bool) -> NDArray[Any]:
    target = numpy_dtype(tensor) or values.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(target, copy=False)
    if values.dtype.kind in "bui" and not np.can_cast(values.dtype, target):
        _refuse_changed(chunk.path, tensor, values, result)
    if target.kind == "f":
        _refuse_not_finite(chunk, tensor.name, values, result, whole)
    return result


def _refuse_changed(path: str, tensor: Tensor, values: NDArray[Any], result: NDArray[Any]) -> None:
    """Raise Q0606 if a value did not survive the cast: 2**24 + 1 in float32, 300 in uint8."""
    with np.errstate(over="ignore", invalid="ignore"):
        changed = result.astype(values.dtype) != values
        # The way back can wrap around: int64 -1 becomes uint64's largest and then -1 again.
        changed |= (result < 0) != (values < 0)
    if changed.any():
        example = values[changed].flat[0]
        why = f"{example} has no exact {tensor.dtype} value"
        raise InputError([findings.dtype_differs(path, tensor.name, str(values.dtype), tensor.dtype, why)])


def _refuse_not_finite(chunk: Chunk, name: str, values: NDArray[Any], result: NDArray[Any], whole: bool) -> None:
    bad = ~np.isfinite(result)
    if not bad.any():
        return
    place = tuple(np.argwhere(bad)[0])
    sample = chunk.start if whole else chunk.start + int(place[0])
    value = values[place]
    said = f"{value}" if not np.isfinite(value) else f"{value}, which is infinite in {result.dtype}"
    raise InputError([findings.not_finite(chunk.path, name, sample, said)])
