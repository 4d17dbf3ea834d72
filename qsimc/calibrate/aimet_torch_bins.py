"""The histogram of aimet_torch: equal bins over the running range, redistributed whenever that grows.

Source: AIMET 2.42, `aimet_torch/v2/quantization/encoding_analyzer.py`, `_HistogramObserver`; it
computes in float32 with `torch.histc`, whose corner cases are repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsimc.calibrate.arithmetic import F32, FLOAT_MAX, I64
from qsimc.calibrate.counting import counted

LARGEST = np.float32(FLOAT_MAX / 1024)
"""Bound of a value: AIMET fails or turns infinite beyond it, and we take the largest that it handles."""


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """One channel.

    Attributes:
        counts: shape (n,), whole numbers; values outside the range count in the outermost bins.
        low, high: the range.
        lowest, highest: how far the range may grow.
    """

    counts: F32
    low: np.float32
    high: np.float32
    lowest: np.float32
    highest: np.float32

    @classmethod
    def of(cls, values: F32, bins: int, growth: float) -> Bins:
        """Return the histogram of the first batch.

        Args:
            values: shape (n,), n > 0; infinities count but do not stretch the range.
            growth: how much wider, in ranges of the first batch, the range may become; may be infinite.
        """
        values, low, high = _bounded(values)
        edges = _edges(low, high, bins)
        with np.errstate(invalid="ignore"):  # infinitely much growth of a range without width: no bound
            margin = (edges[-1] - edges[0]) * np.float32(growth) / np.float32(2)
        counts = _counted(values, bins, edges[0], edges[-1])
        return cls(counts, low, high, edges[0] - margin, edges[-1] + margin)

    def extended(self, values: F32) -> Bins:
        """Return the histogram with another batch, shape (n,), counted in."""
        if values.size == 0:
            return self
        values, low, high = _bounded(values)
        edges = self.edges()
        low = min(max(low, self.lowest), edges[0])
        high = min(max(high, edges[-1]), self.highest)
        counts = self.counts if low == self.low and high == self.high else self._redistributed(low, high)
        counts = counts + _counted(values, len(counts), low, high)
        return Bins(counts, low, high, self.lowest, self.highest)

    def edges(self) -> F32:
        """Return the edges, shape (n + 1,)."""
        return _edges(self.low, self.high, len(self.counts))

    def _redistributed(self, low: np.float32, high: np.float32) -> F32:
        """Return the counts over a wider range: an old bin that meets two new ones is split in proportion."""
        bins, edges = len(self.counts), self.edges()
        new_width, old_width = (high - low) / np.float32(bins), edges[1] - edges[0]
        starts = edges[:-1]
        left = _bin_of(starts, low, new_width, bins)
        left_end = low + new_width * (left + 1).astype(np.float32)
        with np.errstate(all="ignore"):
            # Bins about a large constant have no width in float32; what they hold then moves whole.
            to_left = np.fmin(np.rint((left_end - starts) / old_width * self.counts), self.counts)
        # AIMET looks one new width ahead for the other bin, although the old bin may be narrower.
        right = _bin_of(starts + new_width, low, new_width, bins)
        received = np.bincount(left, to_left, bins) + np.bincount(right, self.counts - to_left, bins)
        return received.astype(np.float32)


def _bounded(values: F32) -> tuple[F32, np.float32, np.float32]:
    """Return the values AIMET can handle and the range of the finite ones; [0, 0] if there is none."""
    low, high = values.min(), values.max()
    if low >= -LARGEST and high <= LARGEST:
        return values, low, high
    finite = np.isfinite(values)
    bounded = np.where(finite, np.clip(values, -LARGEST, LARGEST), values)
    if not finite.any():
        return bounded, np.float32(0), np.float32(0)
    return bounded, bounded[finite].min(), bounded[finite].max()


def _edges(low: np.float32, high: np.float32, bins: int) -> F32:
    if low == high:
        low, high = _around(low, np.float32(0.5))
    step = (high - low) / np.float32(bins)
    return np.arange(bins + 1, dtype=np.float32) * step + low


def _counted(values: F32, bins: int, low: np.float32, high: np.float32) -> F32:
    """Return `torch.histc` of the values, and those outside in the outermost bins."""
    if low < high:
        return _histc(values, bins, low, high).astype(np.float32)
    # torch then takes the range of the data, and widens that by 1 if it is a point; of infinite data it has none.
    _, start, end = _bounded(values)
    if start == end:
        start, end = _around(start, np.float32(1))
    inside = values[(values >= start) & (values <= end)]
    counts = _histc(inside, bins, start, end).astype(np.float32)
    counts[0] += np.count_nonzero(values < low)
    counts[-1] += np.count_nonzero(values > high)
    return counts


def _histc(values: F32, bins: int, low: np.float32, high: np.float32) -> I64:
    """Return counts in equal bins from low to high; a value outside has a position beyond the outermost bins."""

    def locate(block: F32, positions: F32) -> None:
        with np.errstate(over="ignore"):  # of values far outside
            np.subtract(block, low, out=positions)
            positions /= high - low
            positions *= np.float32(bins)
        np.clip(positions, 0, bins - 1, out=positions)

    return counted(values, bins, locate)


def _around(value: np.float32, margin: np.float32) -> tuple[np.float32, np.float32]:
    """Return the range about a single value, or, for one so large that the margin is lost, the range to zero.

    AIMET fails in the second case.
    """
    if value - margin < value + margin:
        return value - margin, value + margin
    return min(value, np.float32(0)), max(value, np.float32(0))


def _bin_of(values: F32, low: np.float32, width: np.float32, bins: int) -> I64:
    with np.errstate(all="ignore"):
        position = np.nan_to_num((values - low) / width)
    return np.asarray(np.clip(position, 0, bins - 1).astype(np.int64))
