"""Float32 facts and operations that NumPy does not have, shared by every kind of calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]

FLOAT_MAX = float(np.finfo(np.float32).max)
FLOAT_EPSILON = float(np.finfo(np.float32).eps)
SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


_TERMS = 1 << 14


def parts(candidates: int, terms: int) -> Iterator[slice]:
    """Yield slices of a number of candidates, for each of which so many terms are computed.

    The terms of one slice, 128 KiB of float64 where there are several candidates, stay in cache; those
    of all candidates at once would each be fetched from the system anew.
    """
    size = max(1, _TERMS // max(terms, 1))
    return (slice(first, first + size) for first in range(0, candidates, size))


def round_half_away(values: NDArray[Any]) -> NDArray[Any]:
    """Return `values`, floats, rounded to integers, ties away from zero, as C's `round` does.

    What is added before the fraction is cut off is the largest float below 0.5: adding 0.5 itself
    would round up 0.49999997, whose sum is no float32.
    """
    almost_half = np.nextafter(values.dtype.type(0.5), values.dtype.type(0))
    rounded = np.asarray(np.copysign(almost_half, values))
    rounded += values
    np.trunc(rounded, out=rounded)
    return rounded


def checked(values: NDArray[Any]) -> F32:
    """Return one batch as float32, shape (C, n), for observers: it must be countable.

    Raises:
        ValueError: the batch is not of shape (C, n) or holds NaN.
    """
    if values.ndim != 2:
        raise ValueError(f"a batch must have shape (channels, values), not {values.shape}")
    with np.errstate(over="ignore"):
        batch = np.ascontiguousarray(values, np.float32)
    if batch.size and np.isnan(batch.min()):  # a minimum with NaN among it is NaN
        raise ValueError("the values hold NaN, which no range contains")
    return batch


def float32(value: float) -> np.float32:
    """Return the float32 nearest to `value`; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return np.float32(value)
