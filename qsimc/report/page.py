"""ReportData -> Page: the header, the summary and the overview around the rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from qsimc.planning.plan import Kind
from qsimc.report import svg
from qsimc.report.bands import FAIR, POOR, band, worst_first
from qsimc.report.data import Metric, ReportData, Row, Sizes
from qsimc.report.rowview import KINDS, quantizer, unquantized
from qsimc.report.text import MINUS, counted, decibels, number, size
from qsimc.report.view import Card, Fact, Lane, Matrix, Page, Rug

FLOAT = "float"
TICK = 10
"""dB between the marks of the SQNR axis."""
HIGHEST = 80.0
"""dB; the SQNR axis ends here at the latest, and better quantizers stand at its end."""


def page(data: ReportData) -> Page:
    """Return what the page of a report prints; quantizers worst first, the others in graph order."""
    quantized = worst_first(row for row in data.rows if row.quantized)
    left = [row for row in data.rows if not row.quantized]
    present = _kinds(data.rows)
    return Page(
        title=data.about.title,
        verdict=_verdict(quantized),
        band=_overall(quantized),
        facts=tuple(_facts(data)),
        cards=tuple(_cards(data, quantized)),
        rugs=tuple(_rug(quantized)),
        matrix=_matrix(data.rows),
        kinds=tuple(Fact(KINDS[kind], kind.value) for kind in present if any(r.kind is kind for r in quantized)),
        quantizers=tuple(quantizer(index, row) for index, row in enumerate(quantized)),
        quantizers_title=counted(len(quantized), "quantized tensor"),
        unquantized=tuple(unquantized(row) for row in left),
        unquantized_title=f"{counted(len(left), 'tensor')} left in float",
        footer=" \N{MIDDLE DOT} ".join(part for part in (f"qsimc {data.about.version}", data.about.created_by) if part),
    )


def _kinds(rows: Sequence[Row]) -> list[Kind]:
    return [kind for kind in Kind if any(row.kind is kind for row in rows)]


def _overall(quantized: Sequence[Row]) -> str:
    """Return the band of the worst quantizer."""
    return band(quantized[0].sqnr) if quantized else "unknown"


def _verdict(quantized: Sequence[Row]) -> str:
    """Return the sentence that a reader in a hurry takes away.  `quantized` is sorted worst first."""
    if not quantized:
        return "No tensor is quantized."
    measured = [row.sqnr for row in quantized if row.sqnr is not None]
    everything = counted(len(quantized), "quantized tensor")
    if not measured:
        return f"{everything}; no values were seen, so nothing is known of their quality."
    poor = sum(value < POOR for value in measured)
    if poor:
        return f"{poor:,} of {everything} below {POOR:g} dB, where noise has over a tenth of the signal's power."
    fair = sum(value < FAIR for value in measured)
    if fair:
        return f"{fair:,} of {everything} between {POOR:g} and {FAIR:g} dB, none below."
    if len(measured) < len(quantized):
        return f"{len(measured):,} of {everything} measured, all at {FAIR:g} dB or better."
    return f"{everything}, all at {FAIR:g} dB or better."


def _facts(data: ReportData) -> Iterator[Fact]:
    yield Fact("Model", data.about.model, "name")
    yield Fact("Configuration", data.about.config, "name")
    yield Fact("Format", data.dialect)
    if data.target is not None:
        yield Fact("Target", data.target)
    yield Fact("Mode", data.mode.value)
    yield Fact("Calibrated on", counted(data.about.samples, "sample"))


def _cards(data: ReportData, quantized: Sequence[Row]) -> Iterator[Card]:
    yield from map(_metric, data.metrics)
    if data.sizes is not None:
        yield _size(data.sizes)
    measured = [row for row in quantized if row.sqnr is not None]
    if measured:
        middle = median(row.sqnr for row in measured if row.sqnr is not None)
        yield Card("Worst SQNR", f"{decibels(measured[0].sqnr)} dB", measured[0].tensor, band(measured[0].sqnr))
        yield Card("Median SQNR", f"{decibels(middle)} dB", f"of {counted(len(measured), 'tensor')}", band(middle))
    own = sum(row.shares is None for row in quantized)
    yield Card(
        "Quantized", f"{len(quantized):,}", f"of {counted(len(data.rows), 'tensor')}, {counted(own, 'quantizer')}"
    )
    if quantized:
        ((most, count), *others) = Counter(row.precision for row in quantized).most_common()
        rest = ", ".join(f"{n:,} {precision}" for precision, n in others)
        yield Card("Precision", most, f"{count:,} tensors; {rest}" if rest else "every quantized tensor")


def _metric(metric: Metric) -> Card:
    def shown(value: float) -> str:
        return f"{number(value)} {metric.unit}".rstrip()

    change = metric.quantized - metric.original
    sign = MINUS if change < 0 else "+"
    note = f"float {shown(metric.original)}, {sign}{number(abs(change), 2)}"
    return Card(metric.name, shown(metric.quantized), note)


def _size(sizes: Sizes) -> Card:
    part = f"{100 * sizes.quantized / sizes.original:.0f} % of " if sizes.original else ""
    return Card("Model size", size(sizes.quantized), f"{part}{size(sizes.original)}")


def _rug(quantized: Sequence[Row]) -> Iterator[Rug]:
    """Yield the axis of all measured quantizers, when there are any."""
    measured = [(row.kind, min(max(row.sqnr, 0.0), HIGHEST)) for row in quantized if row.sqnr is not None]
    if not measured:
        return
    end = max(FAIR, math.ceil(max(value for _, value in measured) / TICK) * TICK)
    lanes: list[Lane] = []
    for kind in Kind:
        values = [value for k, value in measured if k is kind]
        if values:
            lanes.append(Lane(KINDS[kind], kind.value, f"{len(values):,}", svg.ticks(values, 0.0, end)))
    marks = tuple(str(at) for at in range(0, int(end) + 1, TICK))
    yield Rug(tuple(lanes), marks, svg.position(POOR, 0.0, end), svg.position(FAIR, 0.0, end))


def _matrix(rows: Sequence[Row]) -> Matrix:
    """Return kinds by types, the types that few tensors have last, float at the very end."""
    counts = Counter((row.kind, row.precision if row.quantized else FLOAT) for row in rows)
    totals = Counter(row.precision for row in rows if row.quantized)
    types = [precision for precision, _ in totals.most_common()]
    if any(not row.quantized for row in rows):
        types.append(FLOAT)
    return Matrix(
        types=tuple(types),
        rows=tuple(
            (KINDS[kind], tuple(f"{counts[kind, t]:,}" if counts[kind, t] else "" for t in types))
            for kind in _kinds(rows)
        ),
    )
