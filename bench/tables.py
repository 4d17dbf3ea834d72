"""Measurements as Markdown tables, and their places in a document."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

Row = Mapping[str, Any]

MISSING = "-"


def shown(value: object) -> str:
    """Return a cell: three digits of a number that is no whole one, a dash for nothing."""
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value).replace("|", "\\|")


def table(rows: Sequence[Row]) -> str:
    """Return rows as they are: a column for every key, in order of appearance."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return _lines(keys, [[shown(row.get(key)) for key in keys] for row in rows])


def several(named: Mapping[str, Sequence[Row]]) -> str:
    """Return a table for every name."""
    return "\n\n".join(f"{name}:\n\n{table(rows)}" for name, rows in named.items())


def pivot(rows: Sequence[Row], down: Sequence[str], across: str, cell: Callable[[Row], str]) -> str:
    """Return a line for every combination of values of `down`, and a column for every value of `across`."""
    columns = list(dict.fromkeys(row[across] for row in rows))
    lines: dict[tuple[Any, ...], dict[Any, str]] = {}
    for row in rows:
        lines.setdefault(tuple(row[key] for key in down), {})[row[across]] = cell(row)
    body = [[*map(str, names), *(cells.get(column, MISSING) for column in columns)] for names, cells in lines.items()]
    return _lines([*down, *map(str, columns)], body)


def ratio(row: Row) -> str:
    """Return the median of several rounds, and their spread."""
    if row.get("error"):
        return "fails"
    return f"{row['ratio']:.2f} ({row['fastest']:.2f} to {row['slowest']:.2f})"


def summary(runs: Sequence[Row]) -> dict[str, Any]:
    """Return the median of what several rounds took, in plain passes, and their spread."""
    errors = [run.get("error") or run["plain"].get("error") for run in runs]
    if any(errors):
        return {"error": next(error for error in errors if error)}
    ratios = [run["seconds"] / run["plain"]["seconds"] for run in runs]
    return {
        "samples": runs[0]["samples"],
        "ratio": statistics.median(ratios),
        "fastest": min(ratios),
        "slowest": max(ratios),
        "plain": statistics.median(run["plain"]["seconds"] for run in runs),
        "build": statistics.median(run["build"] for run in runs),
    }


def times(rows: Sequence[Row]) -> str:
    """Return the tables of bench/calibration.py: passes per pass, and seconds of building before it."""
    passes = pivot(rows, ("tool", "method", "samples"), "model", ratio)
    building = pivot(rows, ("tool", "method"), "model", lambda row: shown(row.get("build")))
    return f"Plain passes per calibration:\n\n{passes}\n\nSeconds to plan and to build, before it:\n\n{building}"


def memory(rows: Sequence[Row]) -> str:
    """Return the table of bench/calibration.py --memory."""
    return pivot(rows, ("model", "tool", "method"), "samples", lambda row: shown(row["mib"]))


def machine() -> str:
    """Return the line that says on what was measured, and when."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{date.today().isoformat()}, {os.cpu_count()} cores, {system}"


def put(document: str, name: str, content: str) -> str:
    """Return a document with new content between the markers of a name.

    Raises:
        ValueError: the document has no such markers.
    """
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no `{begin}` and `{end}`")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _lines(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *body))
