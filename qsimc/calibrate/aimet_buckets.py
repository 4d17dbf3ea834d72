"""The histogram of aimet_onnx's C++: 1536 buckets, laid out by the first batch, averaged over batches.

Source: AIMET, `DlQuantization/src/math_functions.cpp`; the numbers are those of release 2.42, as recordings of it show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32, F64, FLOAT_MAX, I64, float32
from qsimc.calibrate.counting import counted

BUCKETS = 1536
MINIMUM_WIDTH = 0.01
"""The least width of the range that the buckets in use span, and of that of a first batch of equal values."""

LARGEST = np.float32(FLOAT_MAX / 16)
"""Bound of a value: AIMET overflows beyond it (negative scales, NaN), and we take the largest that it handles."""

_EXACT = 2**23
"""Bound of the index of a bucket up to which float32 counts the buckets exactly."""

_SPREAD = np.float32(3)


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """One channel.  Bucket i holds values from (first + i) * width, so zero is always an edge.

    Attributes:
        width: width of a bucket; 0 until a batch brings a value that is not zero.
        first: index of the first bucket on the grid of multiples of `width`.
        shares: shape (BUCKETS,): the mean over batches of the share of the batch that fell in each
            bucket.  What falls outside of all is forgotten, so they may add up to less than 1.
        batches: number of batches.
    """

    width: float
    first: int
    shares: F64
    batches: int

    @classmethod
    def empty(cls) -> Self:
        """Return the histogram of nothing."""
        return cls(0.0, 0, np.zeros(BUCKETS), 0)

    def extended(self, values: F32) -> Buckets:
        """Return the histogram with one batch, shape (n,), counted in."""
        if values.size == 0:
            return self
        buckets = self if self.width > 0 else _laid_out(values)
        return buckets.averaged(buckets.counts(values), values.size) if buckets.width > 0 else buckets

    def counts(self, values: F32) -> I64:
        """Return how many values of one batch, shape (n,), fall in each bucket, shape (BUCKETS,); `width` is not 0."""
        # Two more, for the values before the first bucket and after the last.
        return counted(values, BUCKETS + 2, self._locator())[1:-1]

    def averaged(self, counts: NDArray[Any], size: int) -> Buckets:
        """Return the histogram with one batch of `size` values averaged in, which fell as `counts` says."""
        shares = (self.shares * self.batches + counts / size) / (self.batches + 1)
        return Buckets(self.width, self.first, shares, self.batches + 1)

    def edges(self) -> F64:
        """Return the lower edges, shape (BUCKETS,)."""
        return np.asarray((self.first + np.arange(BUCKETS)) * self.width, np.float64)

    def used_range(self) -> tuple[np.float32, np.float32]:
        """Return the range that AIMET takes for observed: lower edges of the outermost buckets in use, and zero."""
        edges, used = self.edges(), np.flatnonzero(self.shares > 0)
        low, high = (edges[used[0]], edges[used[-1]]) if len(used) else (edges[0], edges[-1])
        if len(used) and used[-1] == 0:
            high = edges[-1]  # C++ takes a last index of 0 for "none found"
        start = min(float32(low), np.float32(0))
        return start, max(float32(high), np.float32(0), start + np.float32(MINIMUM_WIDTH))

    def _locator(self) -> Callable[[F32, F32], None]:
        """Return what writes 1 + the bucket of each value, 0 before the first and BUCKETS + 1 after the last.

        Positions are whole numbers.  Float32 may round those far away from the buckets, but not to
        where the buckets are, as long as it counts exactly there; else they are made in float64.
        """
        before = self.first - 1
        # C++ multiplies by the float32 reciprocal; a division would move values on edges.
        reciprocal = float32(1 / self.width)
        with np.errstate(over="ignore"):
            ends = float(np.floor(-LARGEST * reciprocal)), float(np.floor(LARGEST * reciprocal))
        # Product and floor keep order, so bounding their results at LARGEST's bounds the values by it.
        lowest, highest = (min(max(end - before, 0.0), BUCKETS + 1.0) for end in ends)

        def locate(block: F32, positions: F32) -> None:
            with np.errstate(over="ignore"):
                np.multiply(block, reciprocal, out=positions)
            np.floor(positions, out=positions)
            if abs(before) < _EXACT:
                positions -= before
                np.clip(positions, lowest, highest, out=positions)
            else:
                positions[:] = np.clip(positions.astype(np.float64) - before, lowest, highest)

        return locate


def _laid_out(values: F32) -> Buckets:
    """Return empty buckets over three times the range of `values`; without width if those are all (nearly) zero."""
    low, high = (min(max(end, -LARGEST), LARGEST) for end in (values.min(), values.max()))
    zeros = low == high == 0
    if low == high:
        high = max(high, low + np.float32(MINIMUM_WIDTH))
    if low == high:  # too large for the addition to matter; AIMET fails
        low, high = min(low, np.float32(0)), max(high, np.float32(0))
    centre = (high + low) / np.float32(2)
    lowest = centre - _SPREAD * (centre - low)
    highest = centre + _SPREAD * (high - centre)
    width = (float(highest) - float(lowest)) / BUCKETS
    if zeros or np.isinf(float32(1 / width)):
        return Buckets.empty()
    return Buckets(width, int(np.floor(float(lowest) / width)), np.zeros(BUCKETS), 0)
