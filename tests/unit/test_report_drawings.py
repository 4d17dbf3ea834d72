"""The drawings of the HTML report, and how it writes names and numbers."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.report import svg, text
from qsimc.report.data import Grid
from qsimc.report.page import page
from tests.unit.reports import channelwise, encoding, report, tensor


def test_nothing_observed_draws_nothing() -> None:
    (row,) = report(tensor("a"), encodings={"a": encoding()}, values={"a": np.array([])}).rows
    assert row.histogram is None


def test_channels_are_drawn_only_where_there_are_several() -> None:
    data = report(tensor("w"), tensor("v"), encodings={"w": channelwise(0.1, 0.2), "v": channelwise(0.1)})
    assert {q.tensor: len(q.strips) for q in page(data).quantizers} == {"w": 1, "v": 0}


def numbers(path: str) -> list[int]:
    return [int(n) for n in re.findall(r"-?\d+", path)]


counts = st.lists(st.floats(0, 1e12), max_size=200)


@given(counts)
def test_an_outline_stays_in_its_box_and_has_one_height_per_part(values: list[float]) -> None:
    path = svg.steps(values)
    if not any(values):
        assert path == ""
        return
    assert re.fullmatch(rf"M0 {svg.HEIGHT}(H\d+V\d+)+Z", path)
    assert all(0 <= n <= svg.WIDTH for n in numbers(path))
    across = [int(n) for n in re.findall(r"H(\d+)", path)]
    assert across == sorted(across)
    assert across[-1] == svg.WIDTH


@given(counts)
def test_whatever_was_seen_is_visible(values: list[float]) -> None:
    heights = [svg.HEIGHT - int(y) for y in re.findall(r"V(\d+)", svg.steps(values))]
    assert all(height == 0 or height >= 2 for height in heights)
    assert max(heights, default=0) == (svg.HEIGHT if any(values) else 0)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_positions_keep_order_and_stay_on_the_axis(a: float, b: float, width: float) -> None:
    low, high = -width, width
    first, second = svg.position(min(a, b), low, high), svg.position(max(a, b), low, high)
    assert 0 <= first <= second <= svg.WIDTH


@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=400))
def test_a_channel_strip_has_a_visible_bar_per_channel_up_to_its_limit(scales: list[float]) -> None:
    low, high = tuple(-128 * s for s in scales), tuple(127 * s for s in scales)
    grid = Grid(-128, 127, tuple(scales), (0,) * len(scales), low, high)
    strokes = svg.channels(grid)
    bars = [tuple(map(int, bar)) for bar in re.findall(r"M(\d+) (\d+)V(\d+)", strokes.path)]
    assert len(bars) == min(len(scales), svg.BARS)
    assert all(0 < x < svg.WIDTH and 0 <= top < bottom <= svg.HEIGHT + 1 for x, top, bottom in bars)
    assert all(b[0] - a[0] > strokes.width - 1 for a, b in pairwise(bars))


def test_the_chosen_range_and_zero_are_marked_where_they_are() -> None:
    (row,) = report(tensor("a"), encodings={"a": encoding()}, values={"a": np.array([-4.0, 4.0])}).rows
    assert row.histogram is not None
    drawing = svg.draw(row.histogram, row.grid)
    assert (drawing.left, drawing.zero) == (svg.WIDTH // 4, svg.WIDTH // 2)
    assert drawing.right == round(svg.WIDTH * (4 + 127 / 64) / 8)


@given(st.text())
def test_visible_text_has_nothing_invisible_and_printable_text_is_left_alone(value: str) -> None:
    shown = text.visible(value)
    assert shown.isprintable()
    assert shown == value or not value.isprintable()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.number(-0.0), "0"),
        (text.number(-1.5), "\N{MINUS SIGN}1.5"),
        (text.number(1e-7), "1e\N{MINUS SIGN}07"),
        (text.number(-2147483648), "\N{MINUS SIGN}2147483648"),
        (text.number(-math.inf), "\N{MINUS SIGN}\N{INFINITY}"),
        (text.extent(0.5, 0.5), "0.5"),
        (text.extent(0.0, 1.0), "0 \N{HORIZONTAL ELLIPSIS} 1"),
        (text.decibels(None), "\N{EN DASH}"),
        (text.decibels(31.04), "31.0"),
        (text.share(0.0), "0 %"),
        (text.share(1e-6), "< 0.01 %"),
        (text.share(0.0312), "3.1 %"),
        (text.share(0.996), "100 %"),
        (text.size(999), "999 B"),
        (text.size(106_563), "107 kB"),
        (text.size(2_500_000), "2.5 MB"),
        (text.counted(1, "sample"), "1 sample"),
        (text.counted(1200, "sample"), "1,200 samples"),
    ],
)
def test_numbers_are_written_for_people(shown: str, expected: str) -> None:
    assert shown == expected
