"""The range of a constant is known; nothing has to be estimated, let alone clipped."""

from __future__ import annotations

from qsimc.ir.quant import Calib
from qsimc.planning.difference import Difference
from qsimc.planning.plan import Kind
from qsimc.planning.quantizer import Resolution
from qsimc.planning.rules import KNOWN_RANGE


def known_ranges(resolution: Resolution) -> None:
    """In fixed mode, give constant operands min-max calibration, whatever activations have.

    A search clips single numbers: an exponent of 2 becomes 1.999998, and powers of negative numbers NaN.
    """
    if not resolution.differences.fixed:
        return
    for quantizer in resolution.made.values():
        if quantizer.kind is Kind.CONSTANT and quantizer.enabled and quantizer.calib is not Calib.MINMAX:
            searched = quantizer.calib
            quantizer.set("calib", Calib.MINMAX, KNOWN_RANGE)
            difference = Difference(
                code="Q0529",
                name="constant-searched",
                message=f"`--calib {searched}` would clip the constant operand `{quantizer.tensor}`",
                aimet="AIMET searches the range of constant operands as it does for activations",
                instead="qsimc takes the range that they have",
            )
            resolution.differences.differs("Q0529", difference)
