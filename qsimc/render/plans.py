"""A plan for people: aligned columns for a terminal, or Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len

from qsimc.planning.plan import Plan, Reason, TensorPlan
from qsimc.render.text import printable

_HEAD = ("tensor", "role", "op", "type", "scheme", "per channel", "range", "shares", "decided by")


def table(plan: Plan, *, color: bool) -> str:
    """Return the plan in aligned columns; tensors that are not quantized come last, with the reason.

    Columns, not a drawn table: the lines can be searched and cut, and ten thousand of them take no time.
    """
    rows = [_HEAD, *(tuple(map(printable, row)) for row in _rows(plan))]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if color:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "\n".join([*lines, _summary(plan), ""])


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))


def markdown(plan: Plan) -> str:
    """Return the plan as a Markdown table."""
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in _rows(plan)]
    return "\n".join([*lines, "", _summary(plan), ""])


def _rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    yield from (_row(t) for t in plan.tensors.values() if t.spec.enabled)
    yield from (_row(t) for t in plan.tensors.values() if not t.spec.enabled)


def _row(t: TensorPlan) -> tuple[str, ...]:
    head = (t.tensor, t.role, t.op or "")
    by = _by(t.because.get("enabled"))
    if not t.spec.enabled:
        return (*head, "-", "", "", "", "", by)
    spec = t.spec
    scheme = "symmetric" if spec.symmetric else "asymmetric"
    fixed = "" if spec.range is None else f"{_bound(spec.range[0])}..{_bound(spec.range[1])}"
    axis = "" if t.axis is None else f"axis {t.axis}"
    return (*head, f"{spec.type}{spec.bits}", scheme, axis, fixed, t.shares or "", by)


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _by(reason: Reason | None) -> str:
    if reason is None:
        return ""
    return reason.rule if reason.span is None else f"{reason.rule} (line {reason.span.line})"


def _summary(plan: Plan) -> str:
    enabled = len(plan.enabled())
    return f"{enabled} of {len(plan.tensors)} tensors are quantized; `qsimc why` explains each"


def _cell(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
