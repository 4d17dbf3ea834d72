"""The search for the grid of least squared error, over the histograms of many tensors and channels at once.

A grid is a scale and a number of levels below zero.  Which number is best for a scale follows from the data without
trying (see `_best_above`), so scales are all that is searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F64, SMALLEST_NORMAL
from qsimc.calibrate.levels import Levels
from qsimc.calibrate.ranges import WIDEST, encode_range
from qsimc.calibrate.sides import Sides
from qsimc.ir.quant import QuantSpec, ScaleKind

_OCTAVES = 8
"""How far, in octaves, the scale may fall below that of the observed range: for rare outliers 200 times the rest."""

_BESIDE = np.array([0, *range(1, 8), *range(-1, -8, -1)])
"""In eighths of a step of the round before.  The best so far is first, so that it stays where nothing is better."""

# Factors of the best scale so far: the first round is in quarters of an octave, the last in steps of 0.3 %.
_ROUNDS = (2.0 ** -(np.arange(4 * _OCTAVES - 1) / 4), 2.0 ** (_BESIDE / 32), 2.0 ** (_BESIDE / 256))
_POWERS_OF_TWO = (2.0 ** -np.arange(_OCTAVES),)

_BLOCK = 256
"""Rows searched at a time: their tables take some 10 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class Signed:
    """The histograms of a tensor's channels, by sign.

    Attributes:
        counts: shape (C, 2, m): how many positive and negative values are in each bin, by ascending magnitude.
        low, high: shape (C,): the observed ranges.
    """

    counts: NDArray[Any]
    low: F64
    high: F64


def least_squares(asked: Sequence[tuple[Signed, QuantSpec]], bounds: F64) -> list[tuple[F64, F64]]:
    """Return the ends of the grids of least mean squared error, which have the highest SQNR, shape (C,) each.

    Scales are at most that of the observed range widened to contain zero.  A channel's result does not depend on the
    others, which only make the search faster.  Values are taken to spread evenly over their bins: by that the root of
    the mean squared error is misjudged by at most that of the bins' widths.

    Args:
        bounds: shape (m + 1,): the edges of the bins, ascending from 0 and as many in each octave of normal floats.
    """
    alike: dict[QuantSpec, list[int]] = {}
    for index, (tensor, spec) in enumerate(asked):
        alike.setdefault(_rules(tensor, spec), []).append(index)
    found: dict[int, tuple[F64, F64]] = {}
    for rules, members in alike.items():
        tensors = [asked[index][0] for index in members]
        lows, highs = _searched(tensors, bounds, rules)
        ends = np.cumsum([len(tensor.low) for tensor in tensors])[:-1]
        found.update(zip(members, zip(np.split(lows, ends), np.split(highs, ends), strict=True), strict=True))
    return [found[index] for index in range(len(asked))]


def _rules(tensor: Signed, spec: QuantSpec) -> QuantSpec:
    """Return what decides which grids there are.

    ONNX has one integer type for all channels, so one with negative values denies all of them the unsigned grid.
    """
    return QuantSpec(
        bits=spec.bits,
        symmetric=spec.symmetric,
        narrow_range=spec.narrow_range,
        unsigned_symmetric=bool(spec.unsigned_symmetric) and bool((tensor.low >= 0).all()),
        scale=spec.scale,
    )


def _searched(tensors: Sequence[Signed], bounds: F64, spec: QuantSpec) -> tuple[F64, F64]:
    """Return the ends of the best grids of all channels of some tensors, one after the other."""
    counts = [channel for tensor in tensors for channel in tensor.counts]
    low, high = np.concatenate([t.low for t in tensors]), np.concatenate([t.high for t in tensors])
    lows, highs = np.empty(len(low)), np.empty(len(low))
    for start in range(0, len(low), _BLOCK):
        block = slice(start, start + _BLOCK)
        lows[block], highs[block] = _Block(counts[block], bounds, low[block], high[block], spec).search()
    return lows, highs


class _Block:
    """Rows that are searched together.

    Attributes:
        low, high: shape (n,): the observed ranges widened to contain zero, as far as a grid can reach.
        widest: shape (n, 1): the scales of these ranges.
        above: shape (n, 1): the levels above zero that a symmetric grid has.
        sides: values above zero and below, and of which rows: those that have any.
    """

    def __init__(self, counts: Sequence[NDArray[Any]], bounds: F64, low: F64, high: F64, spec: QuantSpec) -> None:
        self.spec, self.steps = spec, Levels.of(spec).steps
        self.low, self.high = np.clip(low, -WIDEST, 0.0), np.clip(high, 0.0, WIDEST)
        whole = encode_range(self.low, self.high, spec, "onnx", axis=0)
        self.widest, self.above = whole.scale[:, None], (whole.qmax - whole.zero_point)[:, None]
        per_octave = int(np.searchsorted(bounds, 2.0) - np.searchsorted(bounds, 1.0))
        # Octaves from the greatest magnitude down to half of the smallest scale; one more, as bins do not begin there.
        bins = per_octave * (self.steps.bit_length() + _OCTAVES + 2)
        self.sides: list[tuple[NDArray[np.intp], Sides]] = []
        for side, (near, far) in enumerate(((low, high), (-high, -low))):
            rows = np.flatnonzero(far > 0)
            own = [counts[row][side] for row in rows.tolist()]
            self.sides.append((rows, Sides.of(own, bounds, np.maximum(near[rows], 0), far[rows], bins)))

    def search(self) -> tuple[F64, F64]:
        """Return the ends of the best grids, shape (n,) each; they are exact multiples of a float32 scale."""
        scale = self.widest
        for factors in _POWERS_OF_TWO if self.spec.scale == ScaleKind.POW2 else _ROUNDS:
            scales = self._usable(scale * factors)
            above = self._best_above(scales)
            best = self._squared_errors(scales, above).argmin(axis=1)[:, None]
            scale = np.take_along_axis(scales, best, axis=1)
        levels = np.take_along_axis(above, best, axis=1)
        return ((levels - self.steps) * scale)[:, 0], (levels * scale)[:, 0]

    def _usable(self, scales: F64) -> F64:
        """Return the nearest scales that an encoding may have, none wider than the observed range needs."""
        return np.minimum(np.maximum(scales.astype(np.float32), SMALLEST_NORMAL), self.widest)

    def _squared_errors(self, scales: F64, above: F64) -> F64:
        """Return the squared errors of grids, shape (n, k)."""
        errors = np.zeros(scales.shape)
        for (rows, side), levels in zip(self.sides, (above, self.steps - above), strict=True):
            errors[rows] += side.squared_errors(scales[rows], levels[rows])
        return errors

    def _best_above(self, scales: F64) -> F64:
        """Return how many levels of a grid are best above zero, shape (n, k).

        The n-th level of a side, at scale s, takes 2s off the squared error for every unit by which values lie beyond
        (n - 1/2)s, where they begin to round to it.  So each level of a side saves less than the one before, and the
        split is best where the last level above saves no less than the one that is left out below.
        """
        if self.spec.symmetric:
            return np.broadcast_to(self.above, scales.shape).astype(np.float64)
        # No more levels on a side than reach its end; where there are enough for both, it is as in min-max.
        most = self.steps - np.minimum(np.rint(-self.low[:, None] / scales), self.steps)
        least, most = most, np.maximum(np.minimum(np.rint(self.high[:, None] / scales), self.steps), most)
        while (least < most).any():
            middle = np.ceil((least + most) / 2)
            saves = self._beyond(0, (middle - 0.5) * scales) >= self._beyond(1, (self.steps - middle + 0.5) * scales)
            least, most = np.where(saves, middle, least), np.where(saves, most, np.maximum(middle - 1, least))
        return least

    def _beyond(self, side: int, magnitudes: F64) -> F64:
        """Return the sum of how far values lie beyond magnitudes on one side, shape (n, k)."""
        rows, values = self.sides[side]
        found = np.zeros(magnitudes.shape)
        found[rows] = values.beyond(magnitudes[rows])
        return found
