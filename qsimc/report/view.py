"""What the page prints: everything decided and worded, so that the template only has loops and names.

A field that may be missing is a tuple of none or one, which a loop prints.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and its value; a value of the class `name` is set in the fixed-width face."""

    label: str
    value: str
    css: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One number of the summary; `css` is the band of its quality."""

    label: str
    value: str
    note: str
    css: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """The quantizers of one kind on the SQNR axis."""

    label: str
    css: str
    count: str
    ticks: str


@dataclass(frozen=True, slots=True)
class Rug:
    """All measured quantizers on one axis of dB.

    `marks` are labels at equal distances from end to end; `poor` and `fair` are where those bands end.
    """

    lanes: tuple[Lane, ...]
    marks: tuple[str, ...]
    poor: int
    fair: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """How many tensors of each kind have each type."""

    types: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a sentence: plain, or a `name`."""

    text: str
    css: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of the reasons: the class `won` or `lost` tells deciding rules from overruled ones."""

    settings: tuple[str, ...]
    rule: str
    where: str
    detail: tuple[Piece, ...]
    css: str


@dataclass(frozen=True, slots=True)
class Region:
    """A horizontal stretch of a drawing."""

    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A histogram: its bars, the parts outside the chosen range, and the lines at the range's edges and at zero."""

    bars: str
    clipped: tuple[Region, ...]
    edges: str
    zero: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture enlarged: the ends of its axis, and what it shows."""

    low: str
    high: str
    caption: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The ranges of a per-channel quantizer's channels: strokes of a width, a line at zero, and the scale."""

    strokes: str
    width: int
    zero: str
    low: str
    high: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """A row of the main table and the detail below it.  The `*_key` strings are what columns sort by."""

    id: str
    tensor: str
    place: str
    kind: str
    kind_css: str
    precision: str
    scheme: str
    calib: str
    range: str
    range_key: str
    pictures: tuple[Picture, ...]
    sqnr: str
    sqnr_key: str
    meter: int
    band: str
    facts: tuple[Fact, ...]
    figures: tuple[Figure, ...]
    strips: tuple[Strip, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unquantized:
    """A row of the table of tensors that stay in float."""

    tensor: str
    place: str
    kind: str
    kind_css: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole page."""

    title: str
    verdict: str
    band: str
    facts: tuple[Fact, ...]
    cards: tuple[Card, ...]
    rugs: tuple[Rug, ...]
    matrix: Matrix
    kinds: tuple[Fact, ...]
    quantizers: tuple[Quantizer, ...]
    quantizers_title: str
    unquantized: tuple[Unquantized, ...]
    unquantized_title: str
    footer: str
