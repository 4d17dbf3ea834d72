"""The values of a tensor, kept for the report: how well an encoding fits them, and their shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F64
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Wants
from qsimc.ir.quant import QuantSpec


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """A float-bit histogram that estimates; it does not calibrate."""

    wants: ClassVar[Wants] = Wants.HISTOGRAM
    histogram: BitHistogram

    @classmethod
    def empty(cls, channels: int = 1) -> Self:
        """Return the sketch of nothing."""
        return cls(BitHistogram.empty(channels))

    @property
    def low(self) -> float:
        """Smallest value; +inf before the first."""
        return float(self.histogram.low.min())

    @property
    def high(self) -> float:
        """Largest value; -inf before the first."""
        return float(self.histogram.high.max())

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the sketch extended by one batch, shape (C, n)."""
        return replace(self, histogram=self.histogram.observe(values))

    def observe_histogram(self, histogram: BitHistogram) -> Self:
        """Return the sketch extended by what was counted elsewhere."""
        return replace(self, histogram=self.histogram.observe_histogram(histogram))

    def merge(self, other: Self) -> Self:
        """Return the sketch of both streams; exact."""
        return replace(self, histogram=self.histogram.merge(other.histogram))

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding that the histogram gives, under `onnx` numerics."""
        return self.histogram.encoding(spec, axis)

    def sqnr(self, encoding: Encoding) -> float:
        """Return signal power over quantization error power in dB: infinite if exact, NaN without data.

        Estimated from four values in every bin, which are as good as the data while a step of the
        encoding is wider than a bin or the data smooth: data that lies on the grid exactly looks worse.

        Raises:
            ValueError: the encoding has channels that the sketch does not tell apart.
        """
        channels = len(self.histogram.low)
        if len(encoding.scale) not in (1, channels):
            raise ValueError(f"the encoding has {len(encoding.scale)} channels, the sketch {channels}")
        powers = np.array([self._powers(channel, encoding) for channel in range(channels)])
        signal, noise = powers.sum(axis=0)
        if not self.histogram.counts.any():
            return float("nan")
        if noise == 0:
            return float("inf")
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(signal / noise))

    def density(self, low: float, high: float, bins: int) -> F64:
        """Return how many values lie in each of `bins` equal bins from low to high, all channels together."""
        used = np.flatnonzero(self.histogram.counts.any(axis=1))
        return sum((self.histogram.density(int(c), low, high, bins) for c in used), np.zeros(bins))

    def _powers(self, channel: int, encoding: Encoding) -> tuple[float, float]:
        """Return the energy of one channel's values and of their quantization errors."""
        values, weights = self.histogram.points(channel)
        own = slice(None) if len(encoding.scale) == 1 else slice(channel, channel + 1)
        single = replace(encoding, scale=encoding.scale[own], zero_point=encoding.zero_point[own], axis=None)
        signal = values.astype(np.float64)
        noise = single.fake_quantize(values).astype(np.float64) - signal
        return float(np.square(signal) @ weights), float(np.square(noise) @ weights)
