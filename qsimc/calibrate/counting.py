"""Counting large arrays into bins without temporaries of their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import I64

BLOCK = 1 << 16
"""Values counted at a time: 256 KiB of float32, so that what is made of them stays in cache."""

_Number = TypeVar("_Number", np.float32, np.uint32)


def counted(values: NDArray[_Number], bins: int, locate: Callable[[NDArray[_Number], NDArray[_Number]], None]) -> I64:
    """Return how many values lie in each bin, shape (bins,).

    All blocks share their work space: that of a fresh one costs more to get from the system than to fill.

    Args:
        values: shape (n,).
        locate: writes the bin of each value of its first argument into its second; the fraction is cut off.
    """
    located = np.empty(min(len(values), BLOCK), values.dtype)
    indices = np.empty(len(located), np.intp)
    counts = np.zeros(bins, np.int64)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        locate(block, located[: len(block)])
        np.copyto(indices[: len(block)], located[: len(block)], casting="unsafe")
        counts += np.bincount(indices[: len(block)], minlength=bins)
    return counts
