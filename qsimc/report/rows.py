"""Plan, encodings and sketches -> the rows of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qsimc.calibrate.encoding import Encoding
from qsimc.ir.config import Value, show_setting
from qsimc.ir.quant import FIELDS, QuantSpec
from qsimc.planning.plan import Plan, Reason, TensorPlan
from qsimc.report.data import About, Decided, Grid, Histogram, Metric, ReportData, Row, Ruling, Sizes, Sketch

BINS = 96
"""Parts of a drawn histogram: about one pixel each in the table."""


def report_data(
    plan: Plan,
    encodings: Mapping[str, Encoding],
    sketches: Mapping[str, Sketch],
    about: About,
    *,
    sizes: Sizes | None = None,
    metrics: Sequence[Metric] = (),
) -> ReportData:
    """Return all a report says of a plan and of what calibration made of it.

    Args:
        encodings: by tensor; a tensor that shares a quantizer may be absent, its owner's is used.
        sketches: by tensor; a tensor without one gets neither histogram nor SQNR.
    """
    rows: list[Row] = []
    for tensor in plan.tensors.values():
        encoding = encodings.get(tensor.tensor) or encodings.get(tensor.shares or "")
        rows.append(_row(tensor, encoding, sketches.get(tensor.tensor)))
    return ReportData(
        about=about,
        mode=plan.mode,
        dialect=plan.dialect,
        target=plan.target,
        rows=tuple(rows),
        sizes=sizes,
        metrics=tuple(metrics),
    )


def _row(tensor: TensorPlan, encoding: Encoding | None, sketch: Sketch | None) -> Row:
    spec = tensor.spec
    quantized = bool(spec.enabled)
    grid = _grid(encoding) if encoding is not None and quantized else None
    return Row(
        tensor=tensor.tensor,
        kind=tensor.kind,
        role=tensor.role,
        node=tensor.node,
        op=tensor.op,
        quantized=quantized,
        precision=_precision(spec),
        symmetric=spec.symmetric,
        per_channel=spec.per_channel,
        axis=tensor.axis,
        calib=spec.calib,
        round=spec.round,
        shares=tensor.shares,
        grid=grid,
        sqnr=_sqnr(sketch, encoding) if quantized else None,
        histogram=_histogram(sketch, grid) if quantized else None,
        decided=_decided(tensor, tensor.because if quantized else ["enabled"]),
    )


def _precision(spec: QuantSpec) -> str:
    return "" if spec.type is None or spec.bits is None else f"{spec.type}{spec.bits}"


def _grid(encoding: Encoding) -> Grid:
    return Grid(
        qmin=encoding.qmin,
        qmax=encoding.qmax,
        scale=tuple(encoding.scale.tolist()),
        zero_point=tuple(encoding.zero_point.tolist()),
        low=tuple(encoding.min.tolist()),
        high=tuple(encoding.max.tolist()),
    )


def _sqnr(sketch: Sketch | None, encoding: Encoding | None) -> float | None:
    """Return dB, None when it was not or cannot be measured (a tensor of zeros has no signal)."""
    if sketch is None or encoding is None:
        return None
    decibels = float(sketch.sqnr(encoding))
    return None if math.isnan(decibels) else decibels


def _histogram(sketch: Sketch | None, grid: Grid | None) -> Histogram | None:
    """Return the histogram over the observed and the chosen range together; None when nothing finite was seen."""
    if sketch is None:
        return None
    observed = float(sketch.low), float(sketch.high)
    chosen = grid.range if grid is not None else observed
    low, high = min(observed[0], chosen[0]), max(observed[1], chosen[1])
    # Nothing observed is low = inf, high = -inf: an empty range, like one that overflows.
    if not (observed[0] <= observed[1] and low < high and math.isfinite(high - low)):
        return None
    counts = tuple(np.asarray(sketch.density(low, high, BINS), np.float64).tolist())
    clipped = (0.0, 0.0) if grid is None else _clipped(counts, low, high, observed, grid)
    return Histogram(counts, low, high, observed, clipped)


def _clipped(
    counts: Sequence[float], low: float, high: float, observed: tuple[float, float], grid: Grid
) -> tuple[float, float]:
    """Return the shares of values below and above the chosen range.

    Half a step outside still rounds to the last integer: that is not clipping.  A part that the edge of the
    range cuts counts by its length outside.
    """
    below, above = grid.range
    slack = max(grid.scale) / 2
    total = math.fsum(counts) or 1.0
    width = (high - low) / len(counts)
    under = math.fsum(n * _share_below(below, low + i * width, width) for i, n in enumerate(counts)) / total
    within = math.fsum(n * _share_below(above, low + i * width, width) for i, n in enumerate(counts)) / total
    return (
        under if observed[0] < below - slack else 0.0,
        max(0.0, 1.0 - within) if observed[1] > above + slack else 0.0,
    )


def _share_below(edge: float, start: float, width: float) -> float:
    """Return the share of [start, start + width] that lies below `edge`."""
    return min(1.0, max(0.0, (edge - start) / width))


def _decided(tensor: TensorPlan, fields: Iterable[str]) -> tuple[Decided, ...]:
    """Return who decided `fields`, one entry per deciding rule, in the order of their first field.

    Fields without a value (no percentile, no stated range) are settings that do not apply: nobody asks why.
    """
    decided: dict[Reason, list[str]] = {}
    for field in fields:
        if field in tensor.because and _value(tensor, field) is not None:
            decided.setdefault(tensor.because[field], []).append(field)
    return tuple(
        Decided(
            winner=_ruling(because, [show_setting(field, _value(tensor, field)) for field in won]),
            losers=_losers(tensor, won),
        )
        for because, won in decided.items()
    )


def _value(tensor: TensorPlan, field: str) -> Value:
    """Return what was decided: a field of the spec, or of the plan itself (`shares`, `axis`)."""
    value: Value = getattr(tensor.spec if field in FIELDS else tensor, field)
    return value


def _losers(tensor: TensorPlan, fields: Sequence[str]) -> tuple[Ruling, ...]:
    """Return the rules that had wanted something else for `fields`, last first: the overruled."""
    overruled: dict[Reason, list[str]] = {}
    for decision in reversed(tensor.history):
        if decision.field in fields and decision.value not in (None, _value(tensor, decision.field)):
            words = overruled.setdefault(decision.reason, [])
            word = show_setting(decision.field, decision.value)
            if word not in words:
                words.append(word)
    return tuple(_ruling(because, words) for because, words in overruled.items())


def _ruling(because: Reason, settings: Iterable[str]) -> Ruling:
    span = because.span
    where = f"{span.source.path}:{span.line}:{span.column}" if span is not None else ""
    return Ruling(settings=tuple(settings), rule=because.rule, where=where, detail=because.detail)
