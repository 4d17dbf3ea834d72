"""What a spec says to vai_q_pytorch, with nothing left open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from qsimc.calibrate.encoding import Numerics
from qsimc.calibrate.levels import Levels
from qsimc.ir.quant import Calib, Numeric, QuantSpec, Round, ScaleKind

DEFAULTS = QuantSpec(
    type=Numeric.INT,
    bits=8,
    signed=True,
    symmetric=True,
    narrow_range=False,
    round=Round.STD,
    calib=Calib.DIFFS,
    scale=ScaleKind.POW2,
    percentile=99.99,
)
"""vai_q_pytorch's own defaults; only its activations differ, which round `half_up`."""

POW2_CALIBRATIONS = (Calib.MINMAX, Calib.DIFFS)
FLOAT_CALIBRATIONS = (Calib.MINMAX, Calib.PERCENTILE, Calib.MSE, Calib.ENTROPY)

REDUCTIONS = ("modal", "max", "mean", "median")
"""How the scales of several batches become one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How one tensor is calibrated.

    Attributes:
        numerics: `vitis-dpu` (fix positions) or `vitis-cpu` (scales).
        bits: width of the integer.
        calib: for a power-of-two scale `minmax` or `diffs`, else all but `diffs`.
        rounding: how ties are rounded; `diffs` searches with it.
        pow2: the scale is a power of two.
        reduce: one of `REDUCTIONS`.
        percentile: in percent.
        symmetric: the zero point is 0.
        signed: symmetric, and the grid is signed.
        narrow: signed, and the most negative integer is unused.
    """

    numerics: Numerics
    bits: int
    calib: Calib
    rounding: Round
    pow2: bool
    reduce: str
    percentile: float
    symmetric: bool = True
    signed: bool = True
    narrow: bool = False

    @classmethod
    def of(cls, spec: QuantSpec, numerics: Numerics, *, per_channel: bool) -> Self:
        """Return what vai_q_pytorch makes of `spec`; fields that nobody said are `DEFAULTS`.

        The DPU's scales are powers of two, its grid is the full signed one and its statistic is the
        mode, whatever the spec says: there the original does not read those settings.

        Raises:
            ValueError: it is no integer spec of 2 to 32 bits, or the original refuses or crashes on
                the combination; the message says which.
        """
        spec = spec.over(DEFAULTS)
        bits = Levels.of(spec).bits
        dpu = numerics == "vitis-dpu"
        pow2 = dpu or spec.scale == ScaleKind.POW2
        symmetric = dpu or bool(spec.symmetric)
        signed = symmetric and (dpu or bool(spec.signed))
        rules = cls(
            numerics=numerics,
            bits=bits,
            calib=Calib(spec.calib or Calib.DIFFS),
            rounding=Round(spec.round or Round.STD),
            pow2=pow2,
            reduce="modal" if dpu else spec.reduce or ("modal" if pow2 else "max"),
            percentile=99.99 if spec.percentile is None else spec.percentile,
            symmetric=symmetric,
            signed=signed,
            narrow=signed and not dpu and bool(spec.narrow_range),
        )
        rules._refuse_what_the_original_cannot(per_channel)
        return rules

    @property
    def grid(self) -> tuple[int, int]:
        """Smallest and greatest integer: unsigned for every asymmetric tensor."""
        if not self.signed:
            return 0, (1 << self.bits) - 1
        half = 1 << (self.bits - 1)
        return int(self.narrow) - half, half - 1

    def _refuse_what_the_original_cannot(self, per_channel: bool) -> None:
        kind, choices = ("pow2", POW2_CALIBRATIONS) if self.pow2 else ("float", FLOAT_CALIBRATIONS)
        if self.calib not in choices:
            raise ValueError(
                f"calibration `{self.calib}` is not for a `{kind}` scale; choose from {', '.join(choices)}"
            )
        if self.reduce not in REDUCTIONS:
            raise ValueError(f"no reduction is called `{self.reduce}`; there are: {', '.join(REDUCTIONS)}")
        if self.pow2 and not self.signed:
            raise ValueError("a tensor with a power-of-two scale is signed and symmetric under Vitis AI's numerics")
        if self.calib in POW2_CALIBRATIONS:
            return
        if not self.symmetric:
            raise ValueError(f"calibration `{self.calib}` is for symmetric tensors only under Vitis AI's numerics")
        if per_channel:
            raise ValueError("float scales per channel are calibrated by `minmax` only under Vitis AI's numerics")
        if self.calib == Calib.MSE and self.rounding != Round.HALF_EVEN:
            raise ValueError("calibration `mse` rounds `half_even` only under Vitis AI's numerics")
        if not 0 < self.percentile <= 100:
            raise ValueError(f"a percentile is more than 0 and at most 100, not {self.percentile}")
