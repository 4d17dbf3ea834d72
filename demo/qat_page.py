"""The report of demo/qat.py: accuracy along training, drawn as SVG, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qsimc import resources
from qsimc.report.svg import position

WIDTH, HEIGHT = 880, 360
LEFT, RIGHT, TOP, BOTTOM = 48, 104, 16, 40
STYLE = """
svg { width: 100%; height: auto; display: block; margin-top: 1.5rem; }
svg text { font: 13px var(--sans); fill: var(--soft); }
svg path { fill: none; stroke: var(--line); }
svg .curve { stroke-width: 2; stroke-linejoin: round; }
svg .float { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .curve-0 { stroke: var(--activation); } svg text.name-0 { fill: var(--activation); }
svg .curve-1 { stroke: var(--input); } svg text.name-1 { fill: var(--input); }
svg .curve-2 { stroke: var(--param); } svg text.name-2 { fill: var(--param); }
"""
APART = 18
"""Units from one name to the next, where curves end close together."""


@dataclass(frozen=True)
class Curve:
    """Accuracy in percent by step of training."""

    name: str
    points: Sequence[tuple[int, float]]


def page(original: float, curves: Sequence[Curve]) -> str:
    """Return the report as HTML."""
    style = resources.read("templates", "report/report.css") + STYLE
    steps = curves[0].points[-1][0]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>digits, trained with quantizers</title><style>{style}</style></head><body>",
            '<p class="brand">qsimc <span>quantization-aware training</span></p><h1>digits</h1>',
            f'<p class="verdict">{_verdict(curves)}</p><section><h2>Accuracy on 450 test images, in percent</h2>',
            *drawing(original, curves),
            f"<small>Step 0 is calibration only. {steps} steps train weights, scales and zero points together; dashed:"
            f" the float model, {original:.2f} %.</small></section></body></html>",
            "",
        ]
    )


def _verdict(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{c.name}: {c.points[0][1]:.2f} % to {c.points[-1][1]:.2f} %" for c in curves)


def drawing(original: float, curves: Sequence[Curve]) -> Iterator[str]:
    """Yield the lines of the drawing."""
    last = curves[0].points[-1][0]
    floor = 10 * int(min(value for curve in curves for _, value in curve.points) // 10)

    def x(step: float) -> int:
        return LEFT + position(step, 0, last, WIDTH - LEFT - RIGHT)

    def y(value: float) -> int:
        return HEIGHT - BOTTOM - position(value, floor, 100, HEIGHT - TOP - BOTTOM)

    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_verdict(curves)}">'
    for value in range(floor, 101, 10):
        yield f'<path d="M{x(0)} {y(value)}H{x(last)}"/>'
        yield f'<text x="{LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value}</text>'
    for step in range(0, last + 1, max(1, last // 5)):
        yield f'<text x="{x(step)}" y="{HEIGHT - BOTTOM + 22}" text-anchor="middle">{step}</text>'
    yield f'<path class="float" d="M{x(0)} {y(original)}H{x(last)}"/>'
    heights = _apart([y(curve.points[-1][1]) for curve in curves])
    for number, (curve, height) in enumerate(zip(curves, heights, strict=True)):
        line = "L".join(f"{x(step)} {y(value)}" for step, value in curve.points)
        yield f'<path class="curve curve-{number}" d="M{line}"/>'
        name = f"{curve.name} {curve.points[-1][1]:.1f}"
        yield f'<text class="name-{number}" x="{x(last) + 8}" y="{height + 4}">{name}</text>'
    yield "</svg>"


def _apart(heights: Sequence[int]) -> list[int]:
    """Return heights of names, moved down where they would cover each other."""
    moved = list(heights)
    for above, below in pairwise(sorted(range(len(heights)), key=lambda number: heights[number])):
        moved[below] = max(moved[below], moved[above] + APART)
    return moved
