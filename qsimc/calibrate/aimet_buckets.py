"""The histogram of aimet_onnx's C++: 1536 buckets, laid out by the first batch, averaged over batches.

Source: AIMET, `DlQuantization/src/math_functions.cpp`; the numbers are those of release 2.42, as recordings of it show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qsimc import native
from qsimc.calibrate.arithmetic import F32, F64, FLOAT_MAX, I64, float32
from qsimc.calibrate.grid import CELLS, Grid, GridTally

BUCKETS = CELLS - 2
MINIMUM_WIDTH = 0.01
"""The least width of the range that the buckets in use span, and of that of a first batch of equal values."""

LARGEST = np.float32(FLOAT_MAX / 16)
"""Bound of a value: AIMET overflows beyond it (negative scales, NaN), and we take the largest that it handles."""

SPREAD = np.float32(3)
"""How much wider than the first batch the buckets are."""


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
        buckets = self.laid_out(values.min(), values.max())
        return buckets.averaged(buckets.counts(values), values.size) if buckets.width > 0 else buckets

    def laid_out(self, low: np.float32, high: np.float32) -> Buckets:
        """Return the buckets after a batch of values from low to high is seen, and before it is counted."""
        return self if self.width > 0 else _laid_out(low, high)

    def counts(self, values: F32) -> I64:
        """Return how many values of one batch, shape (n,), fall in each bucket, shape (BUCKETS,); `width` is not 0."""
        return self.grid().counts(values)[1:-1]

    def grid(self) -> Grid:
        """Return where to count: cell i + 1 is bucket i, the outermost are what lies outside; `width` is not 0.

        Float32 may round positions far away from the buckets, but not to where the buckets are.
        """
        # C++ multiplies by the float32 reciprocal; a division would move values on edges.
        reciprocal = float32(1 / self.width)
        before = self.first - 1
        with np.errstate(over="ignore"):
            ends = float(np.floor(-LARGEST * reciprocal)), float(np.floor(LARGEST * reciprocal))
        # Product and floor keep order, so bounding their results at LARGEST's bounds the values by it.
        lowest, highest = (int(min(max(end - before, 0.0), BUCKETS + 1.0)) for end in ends)
        return Grid(reciprocal, before, lowest, highest)

    def averaged(self, counts: NDArray[Any], size: int) -> Buckets:
        """Return the histogram with one batch of `size` values averaged in, which fell as `counts` says."""
        shares = _averaged(self.shares, self.batches, counts, size)
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


def average_in(shares: F64, batches: F64, grids: GridTally, pairs: Sequence[tuple[int, int]]) -> None:
    """Average batches into histograms, in place.

    Args:
        shares: of each histogram, shape (n, BUCKETS).
        batches: how many each has had, shape (n,).
        grids: counts of the batches on the histograms' grids.
        pairs: which histogram, and which stream of `grids`, in order.
    """
    library = native.kernels()
    if library is not None and pairs:
        native.average(library, shares, batches, grids.rows, np.array(pairs, np.int64))
        return
    for number, stream in pairs:
        counts = grids.counts(stream)
        shares[number] = _averaged(shares[number], float(batches[number]), counts[1:-1], int(counts.sum()))
        batches[number] += 1


def _averaged(shares: F64, batches: float, counts: NDArray[Any], size: int) -> F64:
    return np.asarray((shares * batches + counts / size) / (batches + 1), np.float64)


def _laid_out(low: np.float32, high: np.float32) -> Buckets:
    """Return empty buckets over three times the range from low to high; without width if those are (nearly) zero."""
    low, high = (min(max(end, -LARGEST), LARGEST) for end in (low, high))
    zeros = low == high == 0
    if low == high:
        high = max(high, low + np.float32(MINIMUM_WIDTH))
    if low == high:  # too large for the addition to matter; AIMET fails
        low, high = min(low, np.float32(0)), max(high, np.float32(0))
    centre = (high + low) / np.float32(2)
    lowest = centre - SPREAD * (centre - low)
    highest = centre + SPREAD * (high - centre)
    width = (float(highest) - float(lowest)) / BUCKETS
    if zeros or np.isinf(float32(1 / width)):
        return Buckets.empty()
    return Buckets(width, int(np.floor(float(lowest) / width)), np.zeros(BUCKETS), 0)
