"""aimet_onnx's observer for tf_enhanced and percentile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate import aimet_channels, aimet_ranges
from qsimc.calibrate.aimet_buckets import Buckets
from qsimc.calibrate.aimet_search import percentile_range, unseen
from qsimc.calibrate.arithmetic import I64, checked
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.grid import Grid
from qsimc.calibrate.levels import Levels
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.ranges import within_stated
from qsimc.ir.quant import Calib, QuantSpec


@dataclass(frozen=True, slots=True, eq=False)
class AimetHistogram:
    """One C++ histogram per channel.  The first batch lays out the buckets, so the order of batches counts."""

    wants: ClassVar[Wants] = Wants.GRID
    channels: tuple[Buckets, ...]
    observed: bool = False

    @classmethod
    def empty(cls, channels: int = 1) -> Self:
        """Return the observer that has seen nothing."""
        return cls((Buckets.empty(),) * channels)

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the histograms extended by one batch, shape (C, n)."""
        batch = checked(values)
        channels = aimet_channels.extended(self.channels, batch)
        return replace(self, channels=channels, observed=self.observed or batch.size > 0)

    def grid(self, low: float, high: float) -> Grid | None:
        """Return the buckets of the only channel, as a batch of values from low to high finds them."""
        (buckets,) = self.channels
        buckets = buckets.laid_out(np.float32(low), np.float32(high))
        return buckets.grid() if buckets.width > 0 else None

    def observe_counts(self, counts: I64, low: float, high: float) -> Self:
        """Return the histogram of the only channel with a batch of values from low to high in it, already counted."""
        (buckets,) = self.channels
        if low > high:  # nothing
            return self
        buckets = buckets.laid_out(np.float32(low), np.float32(high))
        if buckets.width > 0:
            buckets = buckets.averaged(counts[1:-1], int(counts.sum()))
        return replace(self, channels=(buckets,), observed=True)

    def merge(self, other: Self) -> Self:
        """Return the other observer if one of them has seen nothing.

        Raises:
            ValueError: both have observed: AIMET's histogram is of one stream in one order.
        """
        if self.observed and other.observed:
            raise ValueError("AIMET's histograms depend on the order of batches and cannot be merged")
        return self if self.observed else other

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding that `spec.calib`, `sqnr` or `percentile`, finds.

        Raises:
            ValueError: nothing was observed.
        """

        def search() -> Encoding:
            if not self.observed:
                raise ValueError("no values were observed")
            by_error = spec.calib == Calib.SQNR
            return self._least_error(spec, axis) if by_error else self._percentile(spec, axis)

        return within_stated(spec, "aimet", axis, len(self.channels), search)

    def _least_error(self, spec: QuantSpec, axis: int | None) -> Encoding:
        levels = Levels.of(spec)
        # For zeros AIMET forgets that the range is narrow, and uses every level.
        whole = replace(levels, narrow=False)
        seen = [buckets for buckets in self.channels if buckets.width > 0]
        searched = iter(aimet_channels.least_errors(seen, levels) if seen else ())
        found = [next(searched) if b.width > 0 else unseen(whole) for b in self.channels]
        if not any(buckets.width > 0 for buckets in self.channels):
            levels = whole
        scale, offset = np.array([s for s, _ in found]), np.array([o for _, o in found], np.int64)
        if levels.narrow:  # zeros beside other channels: one grid for all
            offset = np.maximum(offset, -levels.below)
        return aimet_ranges.from_offset(scale, offset, levels, axis)

    def _percentile(self, spec: QuantSpec, axis: int | None) -> Encoding:
        levels = Levels.of(spec)
        percentile = 100.0 if spec.percentile is None else spec.percentile
        used = np.array([buckets.width > 0 for buckets in self.channels])
        ends = [percentile_range(b, percentile) if b.width > 0 else (0.0, 0.0) for b in self.channels]
        ranges = np.array(ends, np.float64)
        found = aimet_ranges.encode_range(ranges[:, 0], ranges[:, 1], levels, axis)
        scale, offset = unseen(levels)
        return aimet_ranges.from_offset(
            np.where(used, found.scale, scale), np.where(used, found.qmin - found.zero_point, offset), levels, axis
        )
