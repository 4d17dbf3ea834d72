"""Drawings as SVG path data: pure functions from numbers to terse strings.

Every drawing has its own box, stretched to its place by the page; coordinates are integers, because a
thousand histograms must fit into one file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qsimc.report.data import Grid, Histogram

WIDTH = 960
HEIGHT = 96
BARS = 120
"""Most strokes of a channel strip; more channels share one."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A histogram in a WIDTH x HEIGHT box, and where the chosen range and zero stand in it.

    `left` and `right` are the edges of the chosen range, None without one; `zero` is None when zero is
    outside the box.
    """

    bars: str
    left: int | None
    right: int | None
    zero: int | None


@dataclass(frozen=True, slots=True)
class Strokes:
    """Path data to be stroked, `width` units wide."""

    path: str
    width: int


def draw(histogram: Histogram, grid: Grid | None) -> Drawing:
    """Return a histogram's drawing, counts on a logarithmic scale."""
    low, high = (None, None) if grid is None else grid.range
    return Drawing(
        bars=steps(histogram.counts),
        left=None if low is None else position(low, histogram.low, histogram.high),
        right=None if high is None else position(high, histogram.low, histogram.high),
        zero=position(0.0, histogram.low, histogram.high) if histogram.low <= 0.0 <= histogram.high else None,
    )


def position(value: float, low: float, high: float, length: int = WIDTH) -> int:
    """Return where `value` stands on an axis from low to high, between 0 and `length`."""
    return round(length * min(1.0, max(0.0, (value - low) / (high - low))))


def steps(counts: Sequence[float]) -> str:
    """Return the outline of a bar chart of log(1 + count), as path data closed along the bottom.

    A bar with any count is at least two units high: a lonely outlier must be seen.  Runs of equal height are
    one segment; empty charts have no outline.
    """
    tallest = math.log1p(max(counts, default=0.0))
    if tallest <= 0.0:
        return ""
    heights = [max(2, round(HEIGHT * math.log1p(n) / tallest)) if n > 0 else 0 for n in counts]
    edges = [round(WIDTH * i / len(counts)) for i in range(len(counts) + 1)]
    path = [f"M0 {HEIGHT}"]
    before = 0
    for edge, height in zip(edges, heights, strict=False):
        if height != before:
            path.append(f"H{edge}V{HEIGHT - height}")
            before = height
    path.append(f"H{WIDTH}V{HEIGHT}Z")
    return "".join(path)


def channels(grid: Grid) -> Strokes:
    """Return one vertical stroke per channel, from its smallest to its largest representable value.

    All share one scale, so channels that waste the range of the widest show as short ones.  Beyond BARS
    channels a stroke is the union of its neighbours.
    """
    low, high = grid.range
    count = min(len(grid.low), BARS)
    path: list[str] = []
    for bar in range(count):
        own = slice(len(grid.low) * bar // count, len(grid.low) * (bar + 1) // count)
        top = HEIGHT - position(max(grid.high[own]), low, high, HEIGHT)
        bottom = HEIGHT - position(min(grid.low[own]), low, high, HEIGHT)
        path.append(f"M{round(WIDTH * (bar + 0.5) / count)} {top}V{max(bottom, top + 1)}")
    # A fifth of each place stays free.
    return Strokes("".join(path), max(1, WIDTH * 4 // (5 * count)))


def ticks(values: Sequence[float], low: float, high: float) -> str:
    """Return one vertical stroke the height of the box per value on an axis from low to high."""
    return "".join(f"M{position(value, low, high)} 0V{HEIGHT}" for value in sorted(values))
