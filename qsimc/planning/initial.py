"""The decisions with which every quantizer begins, before any rule of a configuration."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.ir.quant import Calib, Round, ScaleKind, precision
from qsimc.planning.plan import Decision, Reason
from qsimc.planning.rules import DEFAULT


def initial(
    option: str,
    word: str,
    calib: Calib,
    percentile: float | None,
    rounding: tuple[Round, Reason] = (Round.HALF_EVEN, DEFAULT),
) -> tuple[Decision, ...]:
    """Return what is decided for a quantizer of activations or of parameters that nobody spoke about.

    Args:
        option, word: the command's option, `act` or `param`, and the precision it was given.
        calib, percentile: how ranges are estimated.
        rounding: how ties are rounded, and why.

    Raises:
        ValueError: the word is not a precision.
    """
    return (*_precision(option, word), *_common(calib, percentile, rounding))


def _precision(option: str, word: str) -> Iterator[Decision]:
    family, bits = precision(word)
    reason = Reason(f"--{option} {word}")
    yield Decision("type", family, reason)
    yield Decision("bits", bits, reason)


def _common(calib: Calib, percentile: float | None, rounding: tuple[Round, Reason]) -> Iterator[Decision]:
    for name in ("enabled", "symmetric", "narrow_range", "unsigned_symmetric", "per_channel"):
        yield Decision(name, False, DEFAULT)
    for name in ("range", "reduce"):
        yield Decision(name, None, DEFAULT)
    yield Decision("scale", ScaleKind.FLOAT, DEFAULT)
    yield Decision("round", *rounding)
    yield Decision("calib", calib, Reason(f"--calib {calib.value}"))
    yield Decision("percentile", percentile, DEFAULT if percentile is None else Reason(f"--percentile {percentile:g}"))
