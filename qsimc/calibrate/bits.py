"""A histogram whose bins are the leading bits of float32: no range to choose, no range to outgrow.

A bin holds the values that share sign, exponent and the first 4 bits of the mantissa.  So a bin
is at most 1/16 as wide as its end nearest to zero is far from zero (2^-130 wide among denormals),
every histogram has the same 2^13 bins, and merging is addition of integers, hence exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32, F64, FLOAT_MAX, I64, checked
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.entropy import ENTROPY_BINS, MOST_CLIPPED, least_divergence
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.ranges import encode_range, within_stated
from qsimc.calibrate.search import Signed, least_squares
from qsimc.calibrate.tally import BINS, MANTISSA_BITS, SHIFT, Tally
from qsimc.ir.quant import Calib, QuantSpec

_BY_SQUARES = (Calib.SQNR, Calib.MSE)
"""What has the highest ratio of signal to noise has the least squared error."""

RELATIVE_WIDTH = 2.0**-MANTISSA_BITS
"""Greatest width of a bin, over the distance from zero of its nearer end; normal floats."""

_BOUND = np.float32(FLOAT_MAX)
_INFINITE = np.array([np.inf, -np.inf], np.float32).view(np.uint32) >> SHIFT
_LARGEST = _INFINITE - 1
"""The bins of the infinities, and of the largest finite values: beside them, towards zero."""


def _edges() -> tuple[F64, F64]:
    """Return the lower and upper edges of every bin, shape (BINS,), by leading bits; infinity as FLOAT_MAX."""
    leading = np.arange(BINS // 2 + 1, dtype=np.uint32)
    near = np.nan_to_num((leading << SHIFT).view(np.float32), nan=FLOAT_MAX, posinf=FLOAT_MAX).astype(np.float64)
    near, far = near[:-1], near[1:]
    return np.concatenate([near, -far]), np.concatenate([far, -near])


LOWER, UPPER = _edges()
MAGNITUDES = np.append(0.0, UPPER[: BINS // 2])
"""The edges between the bins of one sign, shape (BINS / 2 + 1,), ascending."""

_HOLDS_ZERO = np.minimum(np.abs(LOWER), np.abs(UPPER)) == 0
"""Which bins hold zero, shape (BINS,): both signs, up to 2^-130."""

ASCENDING = np.concatenate([np.arange(BINS - 1, BINS // 2 - 1, -1), np.arange(BINS // 2)])
"""The bins from the most negative values to the most positive."""

_RANKS = np.argsort(ASCENDING)
"""Where each bin stands in ASCENDING."""


def _bin_of(value: float) -> int:
    """Return the bin of a value, which may be infinite: that counts as the largest float32."""
    return int(np.clip(np.array([value + 0.0], np.float32), -_BOUND, _BOUND).view(np.uint32)[0] >> SHIFT)


@dataclass(frozen=True, slots=True, eq=False)
class BitHistogram:
    """Counts of float32 values by their leading bits, with the exact range; qsimc's own searches run on it.

    Attributes:
        counts: shape (C, BINS).
        low, high: shape (C,); +inf and -inf before the first value.
    """

    wants: ClassVar[Wants] = Wants.HISTOGRAM
    counts: I64
    low: F32
    high: F32

    @classmethod
    def empty(cls, channels: int = 1) -> Self:
        """Return the histogram of nothing."""
        nothing = np.full(channels, np.inf, np.float32)
        return cls(np.zeros((channels, BINS), np.int64), nothing, -nothing)

    @classmethod
    def of(cls, tally: Tally, streams: slice) -> Self:
        """Return what a tally, which is not counted on, has of the streams that are a tensor's channels.

        Infinities count as the largest float32.
        """
        counts = tally.counts(streams)
        if tally.infinite[streams].any():
            counts = counts.copy()
            counts[:, _LARGEST] += counts[:, _INFINITE]
            counts[:, _INFINITE] = 0
        empty, low, high = tally.empty[streams], tally.low[streams], tally.high[streams]
        return cls(
            counts,
            np.where(empty, low, np.clip(low, -_BOUND, _BOUND)),
            np.where(empty, high, np.clip(high, -_BOUND, _BOUND)),
        )

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the histogram extended by one batch, shape (C, n); infinities count as the largest float32."""
        batch = checked(values)
        tally = Tally(len(batch))
        for channel, row in enumerate(batch):
            tally.count(channel, row)
        return self.observe_histogram(self.of(tally, slice(None)))

    def clipped(self, low: float, high: float) -> Self:
        """Return the histogram of the values clipped to [low, high], exactly."""
        first, last = (int(_RANKS[_bin_of(bound)]) for bound in (low, high))
        counts = self.counts[:, ASCENDING]
        below, above = counts[:, :first].sum(axis=1), counts[:, last + 1 :].sum(axis=1)
        counts[:, :first] = counts[:, last + 1 :] = 0
        counts[:, first] += below
        counts[:, last] += above
        empty = self.low > self.high
        return replace(
            self,
            counts=counts[:, _RANKS],
            low=np.where(empty, self.low, np.clip(self.low, low, high).astype(np.float32)),
            high=np.where(empty, self.high, np.clip(self.high, low, high).astype(np.float32)),
        )

    def observe_histogram(self, histogram: BitHistogram) -> Self:
        """Return the histogram extended by what was counted elsewhere."""
        # Most streams come in one histogram.  Adding it to nothing would fill the pages of empty bins with zeros.
        if (self.low > self.high).all():
            return replace(self, counts=histogram.counts, low=histogram.low, high=histogram.high)
        low, high = np.minimum(self.low, histogram.low), np.maximum(self.high, histogram.high)
        return replace(self, counts=self.counts + histogram.counts, low=low, high=high)

    def merge(self, other: Self) -> Self:
        """Return the histogram of both streams."""
        return self.observe_histogram(other)

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding that `spec.calib` finds, under `onnx` numerics.

        Raises:
            ValueError: nothing was observed.
        """
        return encodings([(self, spec, axis)])[0]

    def occupied(self, channel: int) -> tuple[F64, F64, F64]:
        """Return lower edges, upper edges and counts of the bins in use, ascending, cut to the exact range."""
        bins = ASCENDING[self.counts[channel, ASCENDING] > 0]
        lower = np.maximum(LOWER[bins], self.low[channel])
        upper = np.minimum(UPPER[bins], self.high[channel])
        return lower, upper, self.counts[channel, bins].astype(np.float64)

    def points(self, channel: int, per_bin: int = 4) -> tuple[F32, F64]:
        """Return values that stand for the data, and how many each stands for: `per_bin` in every bin."""
        lower, upper, counts = self.occupied(channel)
        inside = (np.arange(per_bin) + 0.5) / per_bin
        values = lower[:, None] + (upper - lower)[:, None] * inside
        return values.astype(np.float32).ravel(), np.repeat(counts / per_bin, per_bin)

    def quantiles(self, channel: int, shares: F64) -> F64:
        """Return the values below which the given shares (0 to 1) of the data lie.

        Off by at most the width of a bin: a value is interpolated within the bin that holds it.
        """
        edges, ranks = self._distribution(channel)
        return np.asarray(np.interp(shares * ranks[-1], ranks, edges))

    def _signed(self) -> Signed:
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        return Signed(self.counts.reshape(len(low), 2, -1), low, high)

    def _ranges(self, spec: QuantSpec) -> tuple[F64, F64]:
        """Return the range of each channel, shape (C,), by a calibration that looks at one after the other."""
        ranges = np.array([self._range(channel, spec) for channel in range(len(self.low))])
        return ranges[:, 0], ranges[:, 1]

    def _range(self, channel: int, spec: QuantSpec) -> tuple[float, float]:
        low, high = float(self.low[channel]), float(self.high[channel])
        if spec.calib == Calib.PERCENTILE:
            share = (100.0 if spec.percentile is None else spec.percentile) / 100
            tails = self.quantiles(channel, np.array([1 - share, share]))
            return float(tails.min()), float(tails.max())
        if spec.calib == Calib.ENTROPY:
            return self._least_divergence(channel, spec)
        return low, high

    def _least_divergence(self, channel: int, spec: QuantSpec) -> tuple[float, float]:
        low, high = min(float(self.low[channel]), 0.0), max(float(self.high[channel]), 0.0)
        nonzero = self._without_zeros(channel)
        if not nonzero.counts.any():
            return low, high
        unclipped = nonzero._magnitude_of_share(1 - MOST_CLIPPED)
        return least_divergence(nonzero.density(0, low, high, ENTROPY_BINS), low, high, unclipped, spec)

    def _without_zeros(self, channel: int) -> Self:
        """Return the histogram of one channel, without zeros and what is as small."""
        own = slice(channel, channel + 1)
        counts = np.where(_HOLDS_ZERO, 0, self.counts[own])
        return replace(self, counts=counts, low=self.low[own], high=self.high[own])

    def _magnitude_of_share(self, share: float) -> float:
        """Return a magnitude, an edge of a bin, that at least this share of a single channel's values do not exceed."""
        lower, upper, counts = self.occupied(0)
        magnitudes = np.maximum(np.abs(lower), np.abs(upper))
        ascending = np.argsort(magnitudes)
        enough = np.cumsum(counts[ascending]) >= share * counts.sum()
        return float(magnitudes[ascending][enough.argmax()])

    def density(self, channel: int, low: float, high: float, bins: int) -> F64:
        """Return counts in `bins` equal bins from low to high; values spread evenly over the bin that held them."""
        edges, ranks = self._distribution(channel)
        borders = np.linspace(low, high, bins + 1)
        # A first bin cut to a single value is a step in the distribution: that value belongs above it.
        return np.asarray(np.diff(np.where(borders <= edges[0], 0.0, np.interp(borders, edges, ranks))))

    def _distribution(self, channel: int) -> tuple[F64, F64]:
        """Return ascending values and how many observed ones lie below each; linear between them."""
        lower, upper, counts = self.occupied(channel)
        after = np.cumsum(counts)
        return np.stack([lower, upper], axis=1).ravel(), np.stack([after - counts, after], axis=1).ravel()


def encodings(asked: Sequence[tuple[BitHistogram, QuantSpec, int | None]]) -> list[Encoding]:
    """Return the encodings that histograms have for the spec and channel axis beside each, as `encoding` does.

    Searching for all at once is faster, and finds the same.

    Raises:
        ValueError: nothing was observed.
    """
    searched = [(histogram, spec) for histogram, spec, _ in asked if spec.range is None or None in spec.range]
    if any((histogram.low > histogram.high).any() for histogram, _ in searched):
        raise ValueError("no values were observed")
    by_squares = [(histogram._signed(), spec) for histogram, spec in searched if spec.calib in _BY_SQUARES]
    found = iter(least_squares(by_squares, MAGNITUDES))

    def encoded(histogram: BitHistogram, spec: QuantSpec, axis: int | None) -> Encoding:
        low, high = next(found) if spec.calib in _BY_SQUARES else histogram._ranges(spec)
        return encode_range(low, high, spec, "onnx", axis)

    # What is asked for here, and in this order, are the ranges of `searched`: the others are stated in full.
    return [
        within_stated(spec, "onnx", axis, len(histogram.low), partial(encoded, histogram, spec, axis))
        for histogram, spec, axis in asked
    ]
