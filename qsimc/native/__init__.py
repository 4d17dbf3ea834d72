"""The optional kernels in C: the same numbers as NumPy gives, in a fraction of the time.

The wheel builds them where there is a C compiler (`hatch_build.py`).  Nothing else depends on them: everything
that asks for them has a path of its own without.  `QSIMC_NATIVE=0` leaves them out.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

LIBRARY = Path(__file__).with_name("libkernels.so.1")
"""Where the build puts the kernels; also a library of onnxruntime operators (operators.c)."""

DOMAIN = "qsimc.native"
"""The operators' domain."""

_SWITCH = "QSIMC_NATIVE"


def wanted() -> bool:
    """Return whether kernels are to be used if there are any."""
    return os.environ.get(_SWITCH) != "0"


@cache
def kernels() -> ctypes.CDLL | None:
    """Return the kernels; None if they were not built, are not wanted, or are not for this machine."""
    if not wanted():
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
        for function in (library.qsimc_tally, library.qsimc_tally_on_grid):
            function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
            function.restype = None
        library.qsimc_average.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
        library.qsimc_average.restype = None
        library.qsimc_use_threads.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.qsimc_use_threads.restype = None
    except (OSError, AttributeError):  # no file, one for another machine, or one of another version
        return None
    return library


@contextmanager
def threads(parallel: int | None, count: int) -> Iterator[None]:
    """Let tallies that this thread asks for use some threads, in a `with` statement.

    Args:
        parallel: address of the `GOMP_parallel` that has started the threads; None for this thread alone.
    """
    library = kernels()
    if library is not None:
        library.qsimc_use_threads(parallel if count > 1 else None, count)
    try:
        yield
    finally:
        if library is not None:
            library.qsimc_use_threads(None, 1)


def tally(library: ctypes.CDLL, values: NDArray[Any], row: NDArray[Any]) -> None:
    """Count float32 values, contiguous, into one row (see `qsimc.calibrate.tally`)."""
    library.qsimc_tally(values.ctypes.data, values.size, row.ctypes.data)


def tally_on_grid(library: ctypes.CDLL, values: NDArray[Any], row: NDArray[Any]) -> None:
    """Count float32 values, contiguous, into one row with a grid (see `qsimc.calibrate.grid`)."""
    library.qsimc_tally_on_grid(values.ctypes.data, values.size, row.ctypes.data)


def average(
    library: ctypes.CDLL, shares: NDArray[Any], batches: NDArray[Any], rows: NDArray[Any], pairs: NDArray[Any]
) -> None:
    """Average batches into AIMET's histograms, in place (see `qsimc.calibrate.aimet_buckets.average_in`).

    Args:
        shares: float64, shape (n, BUCKETS).
        batches: how many each has had, float64, shape (n,).
        rows: counts on grids (see `qsimc.calibrate.grid`).
        pairs: which shares, and which row of counts, in order; int64, shape (m, 2).
    """
    library.qsimc_average(shares.ctypes.data, batches.ctypes.data, rows.ctypes.data, pairs.ctypes.data, len(pairs))
