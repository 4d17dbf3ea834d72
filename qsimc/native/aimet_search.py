"""AIMET's search for the least error in C."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc import native

_TOGETHER = 16
"""Candidates that the kernel looks at together; what is missing is filled up with the first one."""


_TYPES = (np.float32, np.float32, np.int32, np.int32, np.float64, np.float64)
_USED_TYPES = (np.float64, np.float64, np.int32)


class _Used(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_void_p) for name in ("shares", "middles", "places")), ("n", ctypes.c_size_t))


class _Candidates(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("scales", "offsets", "low_buckets", "high_buckets", "low_centres", "high_centres")
    )


def first_of_least_cost(
    of_used: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], of_candidates: tuple[NDArray[Any], ...]
) -> int | None:
    """Return the number of the first candidate of least cost; None where there are no kernels.

    Args:
        of_used: shares and centres, float64, and numbers of the buckets in use, shape (n,).
        of_candidates: scales and offsets, the buckets of their ends, and these buckets' centres, shape (k,).
    """
    search = _kernel()
    if search is None:
        return None
    count = len(of_candidates[0])
    filled = -(-count // _TOGETHER) * _TOGETHER
    padded = [np.empty(filled, dtype) for dtype in _TYPES]
    for array, values in zip(padded, of_candidates, strict=True):
        array[:count] = values
        array[count:] = values[0]
    used = [np.ascontiguousarray(values, dtype) for values, dtype in zip(of_used, _USED_TYPES, strict=True)]
    return int(
        search(
            _Used(*(values.ctypes.data for values in used), len(used[0])),
            _Candidates(*(values.ctypes.data for values in padded)),
            filled,
        )
    )


@cache
def _kernel() -> Any:
    library = native.kernels()
    function: Any = getattr(library, "qsimc_least_error", None)
    if function is not None:
        function.argtypes = [ctypes.POINTER(_Used), ctypes.POINTER(_Candidates), ctypes.c_size_t]
        function.restype = ctypes.c_size_t
    return function
