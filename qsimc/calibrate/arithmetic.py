"""Float32 facts and operations that NumPy does not have, shared by every kind of calibration."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]

FLOAT_MAX = float(np.finfo(np.float32).max)
FLOAT_EPSILON = float(np.finfo(np.float32).eps)
SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


def round_half_away(values: NDArray[Any]) -> NDArray[Any]:
    """Return `values` rounded to integers, ties away from zero, as C's `round` does.

    `floor(abs(x) + 0.5)` is not the same: in float32 the sum rounds up 0.49999997.
    """
    whole = np.trunc(values)
    return np.asarray(whole + np.copysign(np.abs(values - whole) >= 0.5, values), values.dtype)


def checked(values: NDArray[Any]) -> F32:
    """Return one batch as float32, shape (C, n), for observers: it must be countable.

    Raises:
        ValueError: the batch is not of shape (C, n) or holds NaN.
    """
    if values.ndim != 2:
        raise ValueError(f"a batch must have shape (channels, values), not {values.shape}")
    with np.errstate(over="ignore"):
        batch = np.ascontiguousarray(values, np.float32)
    if np.isnan(batch).any():
        raise ValueError("the values hold NaN, which no range contains")
    return batch


def float32(value: float) -> np.float32:
    """Return the float32 nearest to `value`; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return np.float32(value)
