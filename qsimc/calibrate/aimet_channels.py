"""AIMET's histograms of the channels of a weight, all of them together: the numbers are those of each alone.

A weight may have a thousand channels of nine values, which NumPy is not asked about one by one.  What is unusual about
a channel (no values, equal ones, huge ones) is left to the functions for one (`aimet_buckets`, `aimet_search`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.aimet_buckets import BUCKETS, LARGEST, MINIMUM_WIDTH, SPREAD, Buckets
from qsimc.calibrate.aimet_search import SYMMETRIC_FRACTIONS, bucket_of, centre_of, least_error
from qsimc.calibrate.arithmetic import F32, F64, I64
from qsimc.calibrate.grid import CELLS, EXACT
from qsimc.calibrate.levels import Levels
from qsimc.native.aimet_search import firsts_of_least_cost

_Candidates: TypeAlias = "tuple[F32, F32, I64, I64, F64, F64]"
"""Of k candidates for each of C channels, shape (C, k): what `aimet_search._Grids` has of one channel's."""

_VALUES = 1 << 20
"""Values that are counted at a time, and counts that are kept of them, more or less."""


def extended(channels: Sequence[Buckets], values: F32) -> tuple[Buckets, ...]:
    """Return each channel's histogram with its row of one batch, shape (C, n), counted in."""
    found: list[Buckets] = []
    step = max(1, _VALUES // max(CELLS, values.shape[1]))
    for start in range(0, len(channels), step):
        some, rows = channels[start : start + step], values[start : start + step]
        first = [place for place, buckets in enumerate(some) if buckets.batches == 0 and buckets.width == 0]
        counted = dict(zip(first, _first_batches(rows[first]), strict=True)) if rows.shape[1] and first else {}
        found += (counted.get(k) or b.extended(row) for k, (b, row) in enumerate(zip(some, rows, strict=True)))
    return tuple(found)


def _first_batches(values: F32) -> list[Buckets | None]:
    """Return the histograms of the rows, shape (C, n); None of those that are unusual."""
    low, high = (np.clip(ends, -LARGEST, LARGEST) for ends in (values.min(axis=1), values.max(axis=1)))
    with np.errstate(all="ignore"):
        centre = (high + low) / np.float32(2)
        lowest = centre - SPREAD * (centre - low)
        highest = centre + SPREAD * (high - centre)
        width = (highest.astype(np.float64) - lowest) / BUCKETS
        reciprocal = (1 / width).astype(np.float32)
        first = np.floor(lowest / width)
        usual = (low < high) & np.isfinite(reciprocal) & (np.abs(first) < EXACT - BUCKETS)
        before = first - 1
        ends = [np.floor(bound * reciprocal).astype(np.float64) - before for bound in (-LARGEST, LARGEST)]
        cells = np.floor(values * reciprocal[:, None])
        cells -= before.astype(np.float32)[:, None]
        bounds = (np.clip(end, 0, BUCKETS + 1).astype(np.float32)[:, None] for end in ends)
        np.clip(cells, *bounds, out=cells)
    numbers = np.where(usual[:, None], cells, 0).astype(np.intp) + np.arange(len(cells))[:, None] * CELLS
    counts = np.bincount(numbers.ravel(), minlength=len(cells) * CELLS).reshape(-1, CELLS)
    shares = counts[:, 1:-1] / values.shape[1]
    return [Buckets(float(width[k]), int(first[k]), shares[k], 1) if usual[k] else None for k in range(len(values))]


def least_errors(channels: Sequence[Buckets], levels: Levels) -> list[tuple[float, int]]:
    """Return `aimet_search.least_error` of each channel, all of which have buckets."""
    shares = np.array([buckets.shares for buckets in channels])
    used = shares > 0
    if not levels.symmetric or not used.any(axis=1).all():
        return [least_error(buckets, levels) for buckets in channels]
    first = np.array([buckets.first for buckets in channels], np.float64)
    width = np.array([buckets.width for buckets in channels])
    candidates = _symmetric(first, width, used, levels)
    best = firsts_of_least_cost(shares, first, width, candidates)
    if best is None:
        return [least_error(buckets, levels) for buckets in channels]
    rows = np.arange(len(channels))
    scales, offsets = candidates[0][rows, best], candidates[1][rows, best]
    return list(zip(scales.astype(float).tolist(), offsets.astype(np.int64).tolist(), strict=True))


def _symmetric(first: F64, width: F64, used: NDArray[np.bool_], levels: Levels) -> _Candidates:
    """Return the candidates: scales, offsets, the buckets of the ends of their grids, and these buckets' centres.

    Args:
        first, width: of the buckets, shape (C,).
        used: which buckets hold something, shape (C, BUCKETS).
    """
    left, right = used.argmax(axis=1), BUCKETS - 1 - used[:, ::-1].argmax(axis=1)
    right = np.where(right == 0, BUCKETS - 1, right)  # C++ takes a last index of 0 for "none found"
    zero = np.float32(0)
    low = np.minimum(((first + left) * width).astype(np.float32), zero)
    high = np.maximum(((first + right) * width).astype(np.float32), zero)
    high = np.maximum(high, low + np.float32(MINIMUM_WIDTH))
    widest = (np.maximum(high, -low).astype(np.float64) / (levels.steps / 2)).astype(np.float32)
    offset = np.full(len(first), -levels.below, np.float32)
    if levels.unsigned:
        widest = np.where(low == 0, high / np.float32(levels.steps), widest)
        offset = np.where(low == 0, zero, offset)
    scales = SYMMETRIC_FRACTIONS * widest[:, None]
    offsets = np.broadcast_to(offset[:, None], scales.shape)
    edge, step = first * width, (first + 1) * width - first * width
    start, step = edge.astype(np.float32)[:, None], step[:, None]
    lowest, highest = scales * offsets, scales * (offsets + np.float32(2**levels.bits - 1))
    buckets = bucket_of(lowest, start, step), bucket_of(highest, start, step)
    return scales, offsets, *buckets, centre_of(buckets[0], start, step), centre_of(buckets[1], start, step)
