"""A histogram whose bins are the leading bits of float32: no range to choose, no range to outgrow.

A bin holds the values that share sign, exponent and the first 4 bits of the mantissa.  So a bin
is at most 1/16 as wide as its end nearest to zero is far from zero (2^-130 wide among denormals),
every histogram has the same 2^13 bins, and merging is addition of integers, hence exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32, F64, FLOAT_MAX, I64, checked
from qsimc.calibrate.counting import counted
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.entropy import ENTROPY_BINS, MOST_CLIPPED, least_divergence
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.ranges import encode_range, within_stated
from qsimc.calibrate.search import least_squares
from qsimc.ir.quant import Calib, QuantSpec

MANTISSA_BITS = 4
BINS = 2 ** (1 + 8 + MANTISSA_BITS)
RELATIVE_WIDTH = 2.0**-MANTISSA_BITS
"""Greatest width of a bin, over the distance from zero of its nearer end; normal floats."""

_SHIFT = 23 - MANTISSA_BITS
_BOUND = np.float32(FLOAT_MAX)
_INFINITE = np.array([np.inf, -np.inf], np.float32).view(np.uint32) >> _SHIFT
_LARGEST = _INFINITE - 1
"""The bins of the infinities, and of the largest finite values: beside them, towards zero."""


def _edges() -> tuple[F64, F64]:
    """Return the lower and upper edges of every bin, shape (BINS,), by leading bits; infinity as FLOAT_MAX."""
    leading = np.arange(BINS // 2 + 1, dtype=np.uint32)
    near = np.nan_to_num((leading << _SHIFT).view(np.float32), nan=FLOAT_MAX, posinf=FLOAT_MAX).astype(np.float64)
    near, far = near[:-1], near[1:]
    return np.concatenate([near, -far]), np.concatenate([far, -near])


LOWER, UPPER = _edges()
_HOLDS_ZERO = np.minimum(np.abs(LOWER), np.abs(UPPER)) == 0
"""Which bins hold zero, shape (BINS,): both signs, up to 2^-130."""

ASCENDING = np.concatenate([np.arange(BINS - 1, BINS // 2 - 1, -1), np.arange(BINS // 2)])
"""The bins from the most negative values to the most positive."""


def _write_bins(floats: NDArray[np.uint32], bins: NDArray[np.uint32]) -> None:
    np.right_shift(floats, _SHIFT, out=bins)


@dataclass(frozen=True, slots=True, eq=False)
class BitHistogram:
    """Counts of float32 values by their leading bits, with the exact range; qsimc's own searches run on it.

    Attributes:
        counts: shape (C, BINS).
        low, high: shape (C,); +inf and -inf before the first value.
    """

    wants: ClassVar[Wants] = Wants.VALUES
    counts: I64
    low: F32
    high: F32

    @classmethod
    def empty(cls, channels: int = 1) -> Self:
        """Return the histogram of nothing."""
        nothing = np.full(channels, np.inf, np.float32)
        return cls(np.zeros((channels, BINS), np.int64), nothing, -nothing)

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the histogram extended by one batch, shape (C, n); infinities count as the largest float32."""
        batch = checked(values)
        if batch.size == 0:
            return self
        counts = self.counts.copy()
        for row, into in zip(batch, counts, strict=True):
            into += counted(row.view(np.uint32), BINS, _write_bins)
        counts[:, _LARGEST] += counts[:, _INFINITE]
        counts[:, _INFINITE] = 0
        low = np.minimum(self.low, np.clip(batch.min(axis=1), -_BOUND, _BOUND))
        high = np.maximum(self.high, np.clip(batch.max(axis=1), -_BOUND, _BOUND))
        return replace(self, counts=counts, low=low, high=high)

    def merge(self, other: Self) -> Self:
        """Return the histogram of both streams."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return replace(self, counts=self.counts + other.counts, low=low, high=high)

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding that `spec.calib` finds, under `onnx` numerics.

        Raises:
            ValueError: nothing was observed.
        """

        def searched() -> Encoding:
            if (self.low > self.high).any():
                raise ValueError("no values were observed")
            ranges = np.array([self._range(channel, spec) for channel in range(len(self.low))])
            return encode_range(ranges[:, 0], ranges[:, 1], spec, "onnx", axis)

        return within_stated(spec, "onnx", axis, len(self.low), searched)

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

    def _range(self, channel: int, spec: QuantSpec) -> tuple[float, float]:
        low, high = float(self.low[channel]), float(self.high[channel])
        if spec.calib == Calib.PERCENTILE:
            share = (100.0 if spec.percentile is None else spec.percentile) / 100
            tails = self.quantiles(channel, np.array([1 - share, share]))
            return float(tails.min()), float(tails.max())
        if spec.calib in (Calib.SQNR, Calib.MSE):
            return least_squares(*self.points(channel), low, high, spec)
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
