"""Activations counted together: one increment for several tensors, of which each rises or falls with the first.

A sum with a number and a product with one, rounded, keep the order of all values or turn it around.  So where one
tensor is made of another in such steps, the bins of both in the order of values (the other's backwards if the order
is turned around) only ever grow along the values of the first, and so does the sum of their numbers, strictly where
either changes.  The sum therefore says which bins they are.  qsimc/native/chain.c counts these sums; here they are
told apart again, by a value that has each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from qsimc.calibrate.arithmetic import F32, I64
from qsimc.calibrate.tally import BINS, COUNTS, HIGH, LOW, SHIFT, ordered

Step: TypeAlias = "tuple[Literal['Add', 'Mul'], np.float32]"
"""A sum or product with a number, which is finite, and not zero if it is a factor."""

_HALF = BINS // 2


@dataclass(frozen=True, slots=True)
class Group:
    """Streams of a tally that are counted together, until `tell_apart`.

    Attributes:
        rows: those of the members.  One after the other they hold how often each sum occurred, in their counts.
        steps: what makes each member of the one before; of the first, which is the values as they come, nothing.
    """

    rows: Sequence[int]
    steps: Sequence[Sequence[Step]]

    def falls(self) -> list[bool]:
        """Return of each member whether it falls when the first one rises."""
        fall, found = False, []
        for steps in self.steps:
            for op, number in steps:
                fall ^= op == "Mul" and bool(number < 0)
            found.append(fall)
        return found

    def members(self, first: F32) -> Iterator[F32]:
        """Yield the values of each member, from those of the first."""
        values = first
        for steps in self.steps:
            for op, number in steps:
                values = values + number if op == "Add" else values * number
            yield values

    def sums(self, first: F32) -> I64:
        """Return where each value of the first member is counted."""
        total = np.full(first.shape, _HALF * len(self.rows), np.int64)
        for values, falls in zip(self.members(first), self.falls(), strict=True):
            total += (ordered(values) ^ -int(falls)) >> SHIFT
        return total


def tell_apart(rows: I64, group: Group) -> None:
    """Turn the counts of sums in the rows of a group into those of its members, in place."""
    counts = rows[list(group.rows), COUNTS:].reshape(-1)
    sums = np.flatnonzero(counts)
    for member, row in enumerate(group.rows):
        # Not all of the row: what was never counted takes no memory.
        rows[row, COUNTS + sums[sums // BINS == member] % BINS] = 0
    low, high = (rows[group.rows[0], end] for end in (LOW, HIGH))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for row, values in zip(group.rows, group.members(_firsts(group, sums, low, high)), strict=True):
            np.add.at(rows[row, COUNTS:], values.view(np.uint32) >> SHIFT, counts[sums])


def _firsts(group: Group, sums: I64, low: int, high: int) -> F32:
    """Return the smallest value of the first member, from low to high as ordered bits, that has each of the sums."""
    start, end = np.full_like(sums, low), np.full_like(sums, high)
    while (start < end).any():
        middle = (start + end) >> 1
        below = group.sums(_values(middle)) < sums
        start, end = np.where(below, middle + 1, start), np.where(below, end, middle)
    return _values(start)


def _values(ordered_bits: I64) -> F32:
    """Return the values of ordered bits; zero keeps its sign, which decides on its bin."""
    bits = ordered_bits.astype(np.int32)
    return np.asarray((bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.float32))
