"""The integers that a spec asks for, before any data is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from qsimc.calibrate.arithmetic import F64, I64
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.ir.quant import Numeric, QuantSpec


@dataclass(frozen=True, slots=True)
class Levels:
    """What a spec says of the integer grid, with nothing left open.

    Attributes:
        bits: width of the integer.
        symmetric: zero stands at the middle of the grid.
        narrow: symmetric, and the most negative integer is unused.
        unsigned: symmetric, but data without negative values may use the whole grid above zero.
    """

    bits: int
    symmetric: bool
    narrow: bool = False
    unsigned: bool = False

    @classmethod
    def of(cls, spec: QuantSpec) -> Self:
        """Return the levels of `spec`; `narrow_range` and `unsigned_symmetric` mean nothing unless it is symmetric.

        Raises:
            ValueError: the type is not `int` (a cast has no encoding), or `bits` is missing or not 2 to 32.
        """
        if spec.type not in (None, Numeric.INT):
            raise ValueError(f"type `{spec.type}` is a cast and has no encoding; only `int` has one")
        if spec.bits is None or not 2 <= spec.bits <= 32:
            raise ValueError(f"bits must be 2 to 32, not {spec.bits}")
        symmetric = bool(spec.symmetric)
        return cls(
            spec.bits,
            symmetric,
            narrow=symmetric and bool(spec.narrow_range),
            unsigned=symmetric and bool(spec.unsigned_symmetric),
        )

    @property
    def steps(self) -> int:
        """Number of steps from the smallest integer to the largest."""
        return (1 << self.bits) - 1 - int(self.narrow)

    @property
    def below(self) -> int:
        """Steps below the middle of the grid."""
        return self.steps - self.above

    @property
    def above(self) -> int:
        """Steps above the middle of the grid."""
        return self.steps // 2

    def centred(self, offset: I64) -> bool:
        """Return whether every channel, offset of shape (C,), has zero at the middle of the grid."""
        return self.symmetric and bool(np.all(offset == -self.below))

    def encoding(self, scale: F64, offset: I64, *, signed: bool, numerics: Numerics, axis: int | None) -> Encoding:
        """Return the encoding real = (u + offset) * scale, where u counts from 0 to `steps`, as AIMET writes it.

        Args:
            scale, offset: shape (C,).
            signed: number the integers from `-below`, not from 0.
        """
        qmin = -self.below if signed else 0
        return Encoding(
            scale=scale,
            zero_point=qmin - offset,
            qmin=qmin,
            qmax=qmin + self.steps,
            bits=self.bits,
            symmetric=self.symmetric,
            axis=axis,
            numerics=numerics,
        )
