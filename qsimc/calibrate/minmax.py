"""The smallest and the largest value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32, checked
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.ranges import encode_range, within_stated
from qsimc.ir.quant import QuantSpec


@dataclass(frozen=True, slots=True, eq=False)
class MinMax:
    """The range of everything observed; exact.

    Attributes:
        low, high: shape (C,); +inf and -inf before the first value.
    """

    wants: ClassVar[Wants] = Wants.HISTOGRAM
    low: F32
    high: F32
    numerics: Numerics = "onnx"

    @classmethod
    def empty(cls, channels: int = 1, numerics: Numerics = "onnx") -> Self:
        """Return the observer that has seen nothing."""
        nothing = np.full(channels, np.inf, np.float32)
        return cls(nothing, -nothing, numerics)

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the range extended by one batch, shape (C, n); infinities count as values."""
        batch = checked(values)
        low = np.minimum(self.low, batch.min(axis=1, initial=np.inf))
        high = np.maximum(self.high, batch.max(axis=1, initial=-np.inf))
        return replace(self, low=low, high=high)

    def observe_histogram(self, histogram: BitHistogram) -> Self:
        """Return the range extended by that of what was counted elsewhere."""
        return replace(self, low=np.minimum(self.low, histogram.low), high=np.maximum(self.high, histogram.high))

    def merge(self, other: Self) -> Self:
        """Return the range of both streams."""
        return replace(self, low=np.minimum(self.low, other.low), high=np.maximum(self.high, other.high))

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding of the range.

        Raises:
            ValueError: nothing was observed.
        """

        def search() -> Encoding:
            return encode_range(self.low, self.high, spec, self.numerics, axis)

        return within_stated(spec, self.numerics, axis, len(self.low), search)
