"""Rows -> rows of the page's tables, worded and drawn."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.planning.plan import Kind
from qsimc.report import svg
from qsimc.report.bands import band
from qsimc.report.data import Decided, Grid, Histogram, Row, Ruling
from qsimc.report.text import counted, decibels, extent, number, share
from qsimc.report.view import Fact, Figure, Picture, Piece, Quantizer, Region, Rule, Strip, Unquantized

KINDS = {
    Kind.INPUT: "input",
    Kind.ACTIVATION: "activation",
    Kind.PARAM: "parameter",
    Kind.CONSTANT: "constant",
}
SYMMETRY = {True: "symmetric", False: "asymmetric", None: ""}
BEST_METER = 60.0
"""dB at which the small SQNR bar is full."""
NO_RULE = Rule((), "", "", (Piece("no rule asks for a quantizer", ""),), "won")


def quantizer(index: int, row: Row) -> Quantizer:
    """Return the row of one quantized tensor, `index` being its place in the table."""
    grid, histogram = row.grid, row.histogram
    return Quantizer(
        id=f"q{index}",
        tensor=row.tensor,
        place=_place(row),
        kind=KINDS[row.kind],
        kind_css=row.kind.value,
        precision=row.precision,
        scheme=_scheme(row),
        calib=row.calib or "",
        range=extent(*grid.range) if grid is not None else "",
        range_key=_key(grid.range[1] - grid.range[0]) if grid is not None else "",
        pictures=(_picture(histogram, grid),) if histogram is not None else (),
        sqnr=decibels(row.sqnr),
        sqnr_key=_key(row.sqnr) if row.sqnr is not None else "",
        meter=round(100 * min(1.0, max(0.0, (row.sqnr or 0.0) / BEST_METER))),
        band=band(row.sqnr),
        facts=tuple(_facts(row)),
        figures=(_figure(histogram, grid),) if histogram is not None else (),
        strips=(_strip(grid),) if grid is not None and len(grid.scale) > 1 else (),
        rules=tuple(_rules(row.decided)),
    )


def unquantized(row: Row) -> Unquantized:
    """Return the row of one tensor that stays in float."""
    return Unquantized(
        tensor=row.tensor,
        place=_place(row),
        kind=KINDS[row.kind],
        kind_css=row.kind.value,
        rules=tuple(_rules(row.decided)) or (NO_RULE,),
    )


def _key(value: float) -> str:
    """Return a number as JavaScript's Number() reads it."""
    return {"inf": "Infinity", "-inf": "-Infinity"}.get(text := f"{value:.6g}", text)


def _place(row: Row) -> str:
    """Return who makes or reads the tensor: `Conv[weight] /conv1/Conv`."""
    role = f"{row.op}[{row.role}]" if row.op else ""
    return " ".join(part for part in (role, row.node) if part)


def _scheme(row: Row) -> str:
    symmetry = SYMMETRY[row.symmetric]
    channels = f"\N{MULTIPLICATION SIGN}{len(row.grid.scale)}" if row.grid and len(row.grid.scale) > 1 else ""
    shared = "shared" if row.shares is not None else ""
    return " ".join(part for part in (symmetry, channels, shared) if part)


def _facts(row: Row) -> Iterator[Fact]:
    """Yield the numbers of a quantizer, in the order in which one reads an encoding."""
    yield Fact("Type", ", ".join(part for part in (row.precision, _scheme_in_words(row)) if part))
    if row.grid is not None:
        yield Fact("Scale", extent(min(row.grid.scale), max(row.grid.scale)))
        yield Fact("Zero point", extent(min(row.grid.zero_point), max(row.grid.zero_point)))
        yield Fact("Integers", extent(row.grid.qmin, row.grid.qmax))
        yield Fact("Range", extent(*row.grid.range))
    if row.histogram is not None:
        yield Fact("Observed", extent(*row.histogram.observed))
        if row.grid is not None:
            yield Fact("Clipped", _clipped(row.histogram))
    if row.calib is not None:
        yield Fact("Calibration", row.calib)
    if row.round is not None:
        yield Fact("Rounding", row.round)
    if row.shares is not None:
        yield Fact("Shares the quantizer of", row.shares, "name")


def _scheme_in_words(row: Row) -> str:
    symmetry = SYMMETRY[row.symmetric]
    if row.grid is None or row.axis is None or not row.per_channel:
        return symmetry
    channels = f"per channel ({len(row.grid.scale)} on axis {row.axis})"
    return f"{symmetry}, {channels}" if symmetry else channels


def _clipped(histogram: Histogram) -> str:
    below, above = histogram.clipped
    if below == above == 0.0:
        return "nothing"
    return f"{share(below)} below, {share(above)} above"


def _picture(histogram: Histogram, grid: Grid | None) -> Picture:
    drawing = svg.draw(histogram, grid)
    edges = [x for x in (drawing.left, drawing.right) if x is not None]
    return Picture(
        bars=drawing.bars,
        clipped=tuple(_outside(drawing)),
        edges="".join(_line(x) for x in edges),
        zero=_line(drawing.zero) if drawing.zero is not None else "",
    )


def _outside(drawing: svg.Drawing) -> Iterator[Region]:
    """Yield what lies left and right of the chosen range."""
    if drawing.left:
        yield Region(0, drawing.left)
    if drawing.right is not None and drawing.right < svg.WIDTH:
        yield Region(drawing.right, svg.WIDTH - drawing.right)


def _line(x: int) -> str:
    return f"M{x} 0V{svg.HEIGHT}"


def _figure(histogram: Histogram, grid: Grid | None) -> Figure:
    words = "Counts of values on a logarithmic scale"
    if grid is not None:
        words += "; lines mark the chosen range"
        words += ", what is shaded is clipped" if any(histogram.clipped) else ""
    return Figure(number(histogram.low), number(histogram.high), words)


def _strip(grid: Grid) -> Strip:
    low, high = grid.range
    narrowest = min(top - bottom for bottom, top in zip(grid.low, grid.high, strict=True)) / (high - low)
    words = f"{counted(len(grid.scale), 'channel')}, each from its smallest to its largest representable value"
    if narrowest < 1.0:
        words += f"; the narrowest spans {share(narrowest)} of the widest range"
    strokes = svg.channels(grid)
    zero = svg.HEIGHT - svg.position(0.0, low, high, svg.HEIGHT)
    return Strip(strokes.path, strokes.width, f"M0 {zero}H{svg.WIDTH}", number(low), number(high), words)


def _rules(decided: tuple[Decided, ...]) -> Iterator[Rule]:
    for decision in decided:
        yield _rule(decision.winner, "won")
        for loser in decision.losers:
            yield _rule(loser, "lost")


def _rule(ruling: Ruling, css: str) -> Rule:
    nowhere = "option" if ruling.rule.startswith("--") else "built in"
    return Rule(ruling.settings, ruling.rule, ruling.where or nowhere, _pieces(ruling.detail), css)


def _pieces(sentence: str) -> tuple[Piece, ...]:
    """Return a sentence in pieces, what stands in backticks as names."""
    parts = enumerate(sentence.split("`"))
    return tuple(Piece(part, "name" if index % 2 else "") for index, part in parts if part)
