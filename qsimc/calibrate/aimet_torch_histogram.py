"""aimet_torch's observer for tf_enhanced and percentile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.aimet_torch_bins import Bins
from qsimc.calibrate.aimet_torch_ranges import encode_state, stored_range
from qsimc.calibrate.aimet_torch_search import least_error, percentile_range
from qsimc.calibrate.arithmetic import checked
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.levels import Levels
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.ranges import within_stated
from qsimc.ir.quant import Calib, QuantSpec


@dataclass(frozen=True, slots=True, eq=False)
class AimetTorchHistogram:
    """One histogram per channel; which values fall outside depends on the order of batches.

    Attributes:
        calib: `sqnr` or `percentile`; AIMET's two analyzers count differently.
        channels: empty before the first batch.
    """

    wants: ClassVar[Wants] = Wants.VALUES
    calib: Calib
    channels: tuple[Bins, ...] = ()

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the histograms extended by one batch, shape (C, n)."""
        batch = checked(values)
        if batch.size == 0:
            return self
        if self.channels:
            extended = tuple(bins.extended(row) for bins, row in zip(self.channels, batch, strict=True))
            return replace(self, channels=extended)
        bins, growth = (512, 3.0) if self.calib == Calib.SQNR else (2048, np.inf)
        return replace(self, channels=tuple(Bins.of(row, bins, growth) for row in batch))

    def merge(self, other: Self) -> Self:
        """Return the other observer if one of them has seen nothing.

        Raises:
            ValueError: both have observed: AIMET's histogram is of one stream in one order.
        """
        if self.channels and other.channels:
            raise ValueError("AIMET's histograms depend on the order of batches and cannot be merged")
        return self if self.channels else other

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding that `calib` finds.

        Raises:
            ValueError: nothing was observed.
        """

        def search() -> Encoding:
            if not self.channels:
                raise ValueError("no values were observed")
            levels = Levels.of(spec)
            if self.calib == Calib.SQNR:
                ranges = np.array([least_error(bins, levels) for bins in self.channels], np.float32)
                return encode_state(ranges[:, 0], ranges[:, 1], levels, axis)
            percentile = 100.0 if spec.percentile is None else spec.percentile
            ranges = np.array([percentile_range(bins, percentile) for bins in self.channels], np.float32)
            stored = stored_range(ranges[:, 0], ranges[:, 1], levels, two_bit_rule=False)
            return encode_state(*stored, levels, axis)

        return within_stated(spec, "aimet-torch", axis, max(len(self.channels), 1), search)
