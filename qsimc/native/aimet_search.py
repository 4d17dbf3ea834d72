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
    library = _library()
    if library is None:
        return None
    padded = _padded(of_candidates)
    used = [np.ascontiguousarray(values, dtype) for values, dtype in zip(of_used, _USED_TYPES, strict=True)]
    found: int = library.qsimc_least_error(
        _Used(*(values.ctypes.data for values in used), len(used[0])),
        _Candidates(*(values.ctypes.data for values in padded)),
        len(padded[0]),
    )
    return found


def firsts_of_least_cost(
    shares: NDArray[Any], first: NDArray[Any], width: NDArray[Any], of_candidates: tuple[NDArray[Any], ...]
) -> NDArray[np.int64] | None:
    """Return the number of the first candidate of least cost of each channel; None where there are no kernels.

    Args:
        shares: of all buckets, float64, shape (C, BUCKETS).
        first, width: of the buckets, float64, shape (C,).
        of_candidates: as in `first_of_least_cost`, shape (C, k).
    """
    library = _library()
    if library is None:
        return None
    padded = _padded(of_candidates)
    best = np.empty(len(shares), np.int64)
    of_channels = [np.ascontiguousarray(values, np.float64) for values in (shares, first, width)]
    library.qsimc_least_errors(
        *(values.ctypes.data for values in of_channels),
        len(shares),
        _Candidates(*(values.ctypes.data for values in padded)),
        padded[0].shape[-1],
        best.ctypes.data,
    )
    return best


def _padded(of_candidates: tuple[NDArray[Any], ...]) -> list[NDArray[Any]]:
    """Return the candidates as the kernels want them: a multiple of those that they look at together."""
    *channels, count = of_candidates[0].shape
    filled = -(-count // _TOGETHER) * _TOGETHER
    padded = [np.empty((*channels, filled), dtype) for dtype in _TYPES]
    for array, values in zip(padded, of_candidates, strict=True):
        array[..., :count] = values
        array[..., count:] = values[..., :1]
    return padded


@cache
def _library() -> ctypes.CDLL | None:
    library = native.kernels()
    if library is None:
        return None
    library.qsimc_least_error.argtypes = [ctypes.POINTER(_Used), ctypes.POINTER(_Candidates), ctypes.c_size_t]
    library.qsimc_least_error.restype = ctypes.c_size_t
    rows, candidates = [ctypes.c_void_p] * 3 + [ctypes.c_size_t], ctypes.POINTER(_Candidates)
    library.qsimc_least_errors.argtypes = [*rows, candidates, ctypes.c_size_t, ctypes.c_void_p]
    library.qsimc_least_errors.restype = None
    return library
