"""The searches of aimet_torch over its histogram: tf_enhanced (SQNR) and percentile; float32 throughout.

Source: AIMET 2.42, `encoding_analyzer.py`, `SqnrEncodingAnalyzer` and `PercentileEncodingAnalyzer`.
"""

from __future__ import annotations

import math

import numpy as np

from qsimc.calibrate.aimet_ranges import minimum_scale
from qsimc.calibrate.aimet_torch_bins import Bins
from qsimc.calibrate.arithmetic import F32, F64, parts
from qsimc.calibrate.levels import Levels

CLIPPING_COST = np.float32(3)
"""How much dearer (gamma) an error is that clipping makes than one that rounding makes."""

_SYMMETRIC_SCALES, _SCALES, _OFFSETS = 101, 17, 21


def percentile_range(bins: Bins, percentile: float) -> tuple[np.float32, np.float32]:
    """Return the range between the (100 - p)th and the pth percentile, lower edges of the bins that hold them."""
    edges, cumulative = bins.edges(), np.cumsum(bins.counts, dtype=np.float32)
    if percentile == 100:
        return edges[0], edges[-1]
    total = cumulative[-1]
    upper = total * np.float32(percentile) / np.float32(100)
    lower = total * np.float32(1 - percentile / 100)
    return edges[np.searchsorted(cumulative, lower)], edges[np.searchsorted(cumulative, upper)]


def least_error(bins: Bins, levels: Levels) -> tuple[np.float32, np.float32]:
    """Return the range of least cost; of equals the first."""
    scales, offsets = _symmetric(bins, levels) if levels.symmetric else _asymmetric(bins, levels)
    best = int(np.argmin(_costs(bins, scales, offsets, levels)))
    low = offsets[best] * scales[best]
    return low, low + np.float32(levels.steps) * scales[best]


def _observed(bins: Bins, levels: Levels) -> tuple[np.float32, np.float32]:
    """Return the range of the histogram with zero in it, at least as wide as the least scale makes it."""
    low = min(bins.low, np.float32(0))
    return low, max(bins.high, np.float32(0), low + np.float32(minimum_scale(levels.steps) * levels.steps))


def _symmetric(bins: Bins, levels: Levels) -> tuple[F32, F32]:
    low, high = _observed(bins, levels)
    widest = np.float32(2) * max(high, -low) / np.float32(levels.steps)
    scales = widest * np.arange(1, _SYMMETRIC_SCALES + 1, dtype=np.float32) / np.float32(100)
    scales = np.maximum(scales, np.float32(minimum_scale(levels.steps)))
    return scales, np.full(_SYMMETRIC_SCALES, -levels.below, np.float32)


def _asymmetric(bins: Bins, levels: Levels) -> tuple[F32, F32]:
    """Return candidates: 17 scales by up to 21 offsets, and that of the observed grid, all cut to that grid."""
    low, high = _observed(bins, levels)
    steps = np.float32(levels.steps)
    widest = (high - low) / steps
    observed = np.rint(low / widest)
    lowest = widest * observed
    highest = lowest + widest * steps
    scales = (widest * np.arange(1, _SCALES + 1, dtype=np.float32) / np.float32(16))[:, None]
    lows = scales * np.append(_offset_candidates(levels), observed)
    highs = np.minimum(lows + scales * steps, highest)
    lows = np.maximum(lows, lowest)
    cut = np.maximum((highs - lows) / steps, np.float32(minimum_scale(levels.steps)))
    return cut.ravel(), np.rint(lows / cut).ravel()


def _offset_candidates(levels: Levels) -> F32:
    """Return `torch.arange(-steps, step, step).round()`, which ends at the first value not below zero."""
    count = min(levels.steps + 2, _OFFSETS)
    step = levels.steps / (count - 2)
    length = math.ceil((step + levels.steps) / step)
    return np.rint((-levels.steps + np.arange(length) * step).astype(np.float32))


def _costs(bins: Bins, scales: F32, offsets: F32, levels: Levels) -> F64:
    """Return the cost of k candidates, shape (k,): squared error of every bin's centre, times its count.

    Squares overflow for values beyond 1e19.  The empty bins then make the cost NaN, and the first
    NaN is the least: so they are visited too.
    """
    edges = bins.edges()
    width = edges[1] - edges[0]
    centres = (edges[0] + width / np.float32(2)) + width * np.arange(len(bins.counts), dtype=np.float32)
    costs = np.empty(len(scales))
    for some in parts(len(scales), len(centres)):
        costs[some] = _part_costs(
            centres, bins.counts, scales[some, None], offsets[some, None], np.float32(levels.steps)
        )
    return costs


def _part_costs(centres: F32, counts: F32, scale: F32, offset: F32, top: np.float32) -> F64:
    with np.errstate(over="ignore", invalid="ignore"):
        indices = np.rint(centres / scale - offset)
        quantized = (np.clip(indices, 0, top) + offset) * scale
        errors = np.square(quantized - centres) * counts
        errors = np.where((indices < 0) | (indices > top), errors * CLIPPING_COST, errors)
    return np.asarray(errors.sum(axis=1, dtype=np.float64))
