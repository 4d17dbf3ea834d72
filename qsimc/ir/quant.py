"""How one tensor is quantized, as a partial record that rules fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache


class Numeric(StrEnum):
    """Number family of the quantized values; `bits` gives the width."""

    INT = "int"
    FLOAT = "float"
    BFLOAT = "bfloat"


class ScaleKind(StrEnum):
    FLOAT = "float"
    POW2 = "pow2"


class Round(StrEnum):
    """Rounding of x / scale to an integer; `STD` is C's round: ties away from zero."""

    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    HALF_DOWN = "half_down"
    STD = "std"


class Calib(StrEnum):
    """How the range of a tensor is estimated from data."""

    MINMAX = "minmax"
    SQNR = "sqnr"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"
    DIFFS = "diffs"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSpec:
    """How one tensor is quantized.  None means "nobody said"; `over` lets a more specific spec win."""

    enabled: bool | None = None
    type: Numeric | None = None
    bits: int | None = None
    signed: bool | None = None
    symmetric: bool | None = None
    narrow_range: bool | None = None
    unsigned_symmetric: bool | None = None
    per_channel: bool | None = None
    scale: ScaleKind | None = None
    round: Round | None = None
    calib: Calib | None = None
    percentile: float | None = None
    reduce: str | None = None
    range: tuple[float | None, float | None] | None = None

    def over(self, base: QuantSpec) -> QuantSpec:
        """Return `base` with every field that this spec says replaced."""
        said = {name: value for name in FIELDS if (value := getattr(self, name)) is not None}
        return replace(base, **said)


FIELDS: tuple[str, ...] = tuple(f.name for f in fields(QuantSpec))


UNSIMULATED: Mapping[str, frozenset[str | bool | int]] = {
    "per_group": frozenset(),
    "dynamic": frozenset({True}),
    "type": frozenset({"float8_e4m3", "float8_e5m2", "float4_e2m1"}),
    "scale": frozenset({"e8m0"}),
}
"""Settings that are read, checked and translated, and that no backend simulates: field -> values, none for all."""


@cache
def precision(word: str) -> tuple[Numeric, int]:
    """Split a precision such as `int8`, `float16` or `bfloat16` into family and width.

    Raises:
        ValueError: not a precision; the message says what one looks like.
    """
    match = re.fullmatch(r"(int|float|bfloat)(\d{1,2})", word)
    widths = {"int": range(2, 33), "float": (8, 16, 32), "bfloat": (16,)}
    if match is None or int(match[2]) not in widths[match[1]]:
        raise ValueError(f"`{word}` is not a precision: int2 to int32, float16, float32 or bfloat16")
    return Numeric(match[1]), int(match[2])
