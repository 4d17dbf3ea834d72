"""Tensors that are counted together are told apart again."""

from __future__ import annotations

from typing import Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from qsimc.calibrate.tally import BINS, COUNTS, Tally
from qsimc.calibrate.together import Group, Step, tell_apart

NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32, allow_nan=False))
ORDINARY = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-8, 8, width=32))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    op: Literal["Add", "Mul"] = draw(st.sampled_from(("Add", "Mul")))
    number = draw(st.floats(-4, 4, width=32) | NUMBER)
    return op, np.float32(number or 1)


GROUPS = st.lists(st.lists(steps(), max_size=3), max_size=3)


def count_together(group: Group, values: NDArray[np.float32], tally: Tally) -> None:
    """Count as the kernels do: sums in the rows of the members, one after the other, and ranges of each."""
    sums = group.sums(values)
    for sum_ in sums:
        row = group.rows[sum_ // BINS]
        tally.rows[row, COUNTS + sum_ % BINS] += 1
    for row, made in zip(group.rows, group.members(values), strict=True):
        alone = Tally(1)
        alone.count(0, made)
        tally.rows[row, 0] = min(tally.rows[row, 0], alone.rows[0, 0])
        tally.rows[row, 1] = max(tally.rows[row, 1], alone.rows[0, 1])


@given(GROUPS, VALUES | ORDINARY)
def test_each_member_has_the_counts_it_would_have_alone(between: list[list[Step]], values: NDArray[np.float32]) -> None:
    group = Group([3, 0, 2, 1][: len(between) + 1], [[], *between])
    together, alone = Tally(4), Tally(4)
    with np.errstate(all="ignore"):
        count_together(group, values, together)
        tell_apart(together.rows, group)
        for row, made in zip(group.rows, group.members(values), strict=True):
            alone.count(row, made)
    np.testing.assert_array_equal(together.rows, alone.rows)


@given(GROUPS, VALUES | ORDINARY)
def test_a_sum_says_in_which_bins_the_members_are(between: list[list[Step]], values: NDArray[np.float32]) -> None:
    group = Group(range(len(between) + 1), [[], *between])
    with np.errstate(all="ignore"):
        sums = group.sums(values)
        bins = np.stack([made.view(np.uint32) >> 19 for made in group.members(values)])
    for sum_ in np.unique(sums):
        assert len(np.unique(bins[:, sums == sum_], axis=1).T) == 1
    assert ((sums >= 0) & (sums < BINS * len(group.rows))).all()


def test_falls_follow_the_signs_of_the_factors() -> None:
    two, minus = np.float32(2), np.float32(-1)
    group = Group(range(4), [[], [("Mul", minus)], [("Add", minus)], [("Mul", two), ("Mul", minus)]])
    assert group.falls() == [False, True, True, False]


def test_a_group_that_saw_nothing_stays_empty() -> None:
    tally = Tally(2)
    tell_apart(tally.rows, Group([0, 1], [[], [("Mul", np.float32(3))]]))
    assert tally.empty.all()
    assert not tally.counts(slice(None)).any()
