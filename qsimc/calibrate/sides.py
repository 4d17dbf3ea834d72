"""Counted values as a density on either side of zero, and what a grid loses of it.

Zero is on every grid of ours, so values above and below it are quantized apart: to magnitudes 0, s, 2s ... ns, with a
scale s and n levels on that side.  Where values are spread evenly, the integral of the squared error has a closed
form, so a grid costs one term for each edge between densities, however many levels it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F64, I64, parts

_POINT = 1 + 2.0**-23
"""Where a bin holds a single value, it is as wide as float32 numbers are apart, so that densities stay finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Magnitudes of the values on one side of zero, for each of n rows (tensors or channels).

    Attributes:
        edges: shape (n, b + 1), ascending; the last is the greatest magnitude.
        density: shape (n, b): values per unit between two edges.
        mass, excess: shape (n, b + 1): how many values lie beyond an edge, and the sum of how far beyond.
        bounds: shape (m + 1,): the edges of all bins, of which each row has some.
        first: shape (n,): where a row's begin among them; negative where the row has more than there are below.
    """

    edges: F64
    density: F64
    mass: F64
    excess: F64
    bounds: F64
    first: I64

    @classmethod
    def of(cls, counts: Sequence[NDArray[Any]], bounds: F64, near: F64, far: F64, bins: int) -> Self:
        """Return the sides that counts are of.

        Args:
            counts: n of shape (m,): values in each bin, by ascending magnitude.
            bounds: shape (m + 1,): the edges of the bins; the first is 0.
            near, far: shape (n,): the least and the greatest magnitude; far is not 0.
            bins: how many bins to keep, down from the one of the greatest magnitude.  What lies in lower bins is
                left out: it must round to zero on every grid that is tried, which costs them all the same.
        """
        end = np.minimum(np.searchsorted(bounds, far, side="right"), len(bounds) - 1)
        first = end - bins
        edges = np.clip(bounds[np.maximum(first[:, None] + np.arange(bins + 1), 0)], near[:, None], far[:, None])
        edges[:, -1] = far * _POINT
        widths = np.diff(edges, axis=1)
        held = np.zeros(widths.shape)
        for into, row, start, stop in zip(held, counts, np.maximum(first, 0), end, strict=True):
            into[bins - (stop - start) :] = row[start:stop]
        density = np.divide(held, widths, out=np.zeros(held.shape), where=widths > 0)
        mass = _from_each_on(held)
        return cls(edges, density, mass, _from_each_on(widths * (mass[:, 1:] + held / 2)), bounds, first)

    def beyond(self, magnitudes: F64) -> F64:
        """Return the sum of how far values lie beyond each of k magnitudes, both of shape (n, k)."""
        own = np.searchsorted(self.bounds, magnitudes, side="right") - self.first[:, None]
        following = np.clip(own, 1, self.density.shape[1])
        edge, mass, excess = (
            np.take_along_axis(table, following, axis=1) for table in (self.edges, self.mass, self.excess)
        )
        density = np.take_along_axis(self.density, following - 1, axis=1)
        inside = np.maximum(edge - magnitudes, 0)
        return np.asarray(excess + inside * (mass + inside * density / 2))

    def squared_errors(self, scales: F64, levels: F64) -> F64:
        """Return the sum of the squared errors of each row's values on each of k grids, shape (n, k).

        In units of the scale, x rounds to M = min(round(x), n), and the integral of the squared error from 0 to x is
        M/12 + (x - M)^3 / 3: M whole steps, and what is left of the next one or lies beyond the last.

        Args:
            scales, levels: shape (n, k): how far levels are apart, and how many there are on this side.
        """
        sums = np.empty(scales.shape)
        for rows in parts(*self.edges.shape):
            for some in parts(scales.shape[1], self.edges[rows].size):
                sums[rows, some] = self._integrals(rows, scales[rows, some, None], levels[rows, some, None])
        return np.asarray(scales**3 / 12 * sums)

    def _integrals(self, rows: slice, scales: F64, levels: F64) -> F64:
        """Return 12 times the integrals, in units of the scales, shape (r, k); scales and levels are (r, k, 1)."""
        rest = self.edges[rows, None, :] / scales
        whole = np.minimum(np.rint(rest), levels)
        rest -= whole
        integrals = np.square(rest)
        integrals *= rest
        integrals *= 4
        integrals += whole
        lost = np.diff(integrals, axis=2)
        lost *= self.density[rows, None, :]
        return np.asarray(lost.sum(axis=2))


def _from_each_on(terms: F64) -> F64:
    """Return the sums of all terms from each one on, and 0 after the last; shapes (n, b) and (n, b + 1)."""
    sums = np.zeros((terms.shape[0], terms.shape[1] + 1))
    np.cumsum(terms[:, ::-1], axis=1, out=sums[:, -2::-1])
    return sums
