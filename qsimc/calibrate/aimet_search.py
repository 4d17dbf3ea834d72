"""The searches of aimet_onnx's C++ over its histogram: tf_enhanced (SQNR) and percentile.

The float32 and double steps alternate as they do in C++; where a cast looks idle, it is not.
Source: AIMET, `TfEnhancedEncodingAnalyzer.cpp`, `PercentileEncodingAnalyzer.cpp`, as recordings of 2.42 show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.aimet_buckets import BUCKETS, Buckets
from qsimc.calibrate.arithmetic import F32, F64, I64, float32, parts, round_half_away
from qsimc.calibrate.levels import Levels
from qsimc.native.aimet_search import first_of_least_cost

CLIPPING_COST = 3.0
"""How much dearer (gamma) an error is that clipping makes than one that rounding makes."""

# 1/100, 2/100 … 101/100, added up one float32 at a time.
SYMMETRIC_FRACTIONS = np.array(
    list(accumulate(repeat(0.01, 101), lambda sum_, step: float(np.float32(sum_ + step)))), np.float32
)
_FRACTIONS = np.arange(1, 18, dtype=np.float32) / np.float32(16)
_OFFSETS = 20

_SLACK = 1e-3
"""More than rounding may change a sum, as a share of its terms: centres are up to 2^33 widths away from zero, where
they are known to a 2^-20th of a width."""


def unseen(levels: Levels) -> tuple[float, int]:
    """Return AIMET's scale and offset, on the unsigned grid, for a tensor of zeros: the range [-1, 1)."""
    scale = 2.0 / levels.steps
    return scale, int(np.floor(-1 / scale))


def least_error(buckets: Buckets, levels: Levels) -> tuple[float, int]:
    """Return the scale and offset, on the unsigned grid, of least cost; of equals the first.

    AIMET computes what every candidate costs.  Most clip so much that this alone costs more than a whole better
    candidate does, and need no look.
    """
    scales, offsets = _symmetric(buckets, levels) if levels.symmetric else _asymmetric(buckets, levels)
    grids = _Grids.of(buckets, scales, offsets, levels)
    best = first_of_least_cost(
        (grids.shares[grids.used], grids.middles[grids.used], grids.used),
        (scales, grids.offsets, grids.low_bucket, grids.high_bucket, grids.low_centre, grids.high_centre),
    )
    if best is None:
        best = _first_of_least_cost(grids)
    return float(scales[best]), int(offsets[best])


def _first_of_least_cost(grids: _Grids) -> int:
    """Return the number of the first candidate of least cost, looking from the least that they may cost upwards."""
    bounds = grids.least_costs()
    promising = np.argsort(bounds, kind="stable")
    costs = np.full(len(bounds), np.inf)
    for some in parts(len(bounds), len(grids.used)):
        if bounds[promising[some][0]] > costs.min():
            break
        costs[promising[some]] = grids.costs(promising[some])
    return int(np.argmin(costs))


def percentile_range(buckets: Buckets, percentile: float) -> tuple[np.float32, np.float32]:
    """Return the range between the (100 - p)th and the pth percentile, widened to contain zero."""
    low, high = buckets.used_range()
    if np.float32(percentile) != np.float32(100):
        low, high = _between_tails(buckets, float32(percentile) / np.float32(100), high)
    return min(low, np.float32(0)), max(high, np.float32(0))


def _between_tails(buckets: Buckets, share: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
    edges, cumulative = buckets.edges(), np.cumsum(buckets.shares)
    width = edges[1] - edges[0]
    left = np.flatnonzero(cumulative >= np.float32(1) - share)
    right = np.flatnonzero((cumulative < share) & (edges < high))
    start = float32(edges[left[0]] if len(left) else edges[0])
    end = float32(edges[right[-1] if len(right) else -1] + float32(width))
    return start, end if end != start else end + float32(width)


def _symmetric(buckets: Buckets, levels: Levels) -> tuple[F32, I64]:
    """Return candidates: the scale that covers the range, in hundredths."""
    low, high = buckets.used_range()
    if low == 0 and levels.unsigned:
        widest, offset = high / np.float32(levels.steps), 0
    else:
        widest, offset = float32(float(max(high, -low)) / (levels.steps / 2)), -levels.below
    return SYMMETRIC_FRACTIONS * widest, np.full(len(SYMMETRIC_FRACTIONS), offset)


def _asymmetric(buckets: Buckets, levels: Levels) -> tuple[F32, I64]:
    """Return candidates: 17 scales by 21 offsets cut to the observed grid, and the observed grid itself, last."""
    low, high = buckets.used_range()
    steps = np.float32(levels.steps)
    widest = float32((float(high) - float(low)) / levels.steps)
    observed = round_half_away(np.asarray(low / widest))
    lowest, highest = widest * observed, widest * (observed + steps)
    scales = (_FRACTIONS * widest)[:, None]
    offsets = np.trunc(-levels.steps + levels.steps / _OFFSETS * np.arange(_OFFSETS + 1)).astype(np.float32)
    lows, highs = scales * offsets, scales * (offsets + steps)
    wider = (lows < lowest) & (highs > highest)
    lows, highs = np.maximum(lows, lowest), np.minimum(highs, highest)
    useful = ~wider & (lows != highs)
    lows, highs = lows[useful], highs[useful]
    cut = ((highs.astype(np.float64) - lows) / levels.steps).astype(np.float32)
    cut_offsets = round_half_away(lows / cut)
    return np.append(cut, widest), np.append(cut_offsets, observed).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Grids:
    """k candidates, and the n buckets in use that they are tried on: the others would add zeros.

    Attributes:
        shares: shape (BUCKETS,).
        used: shape (n,): the buckets in use, in order.
        middles: shape (BUCKETS,): the buckets' centres.
        width: of a bucket.
        scales, offsets: shape (k,).
        low_bucket, high_bucket, low_centre, high_centre: shape (k,): the buckets that hold the ends of a grid, and
            their centres, by which clipping is judged.
    """

    shares: F64
    used: NDArray[np.intp]
    middles: F64
    width: float
    scales: F32
    offsets: F32
    low_bucket: I64
    high_bucket: I64
    low_centre: F64
    high_centre: F64

    @classmethod
    def of(cls, buckets: Buckets, scales: F32, offsets: I64, levels: Levels) -> Self:
        edges = buckets.edges()
        start, width = float32(edges[0]), edges[1] - edges[0]
        offset = offsets.astype(np.float32)
        # The unused level of a narrow range takes part: the C++ loop counts 2^bits - 1 steps regardless.
        lowest, highest = scales * offset, scales * (offset + np.float32(2**levels.bits - 1))
        low_bucket, high_bucket = bucket_of(lowest, start, width), bucket_of(highest, start, width)
        return cls(
            shares=buckets.shares,
            used=np.flatnonzero(buckets.shares > 0),
            middles=edges + width / 2,
            width=width,
            scales=scales,
            offsets=offset,
            low_bucket=low_bucket,
            high_bucket=high_bucket,
            low_centre=centre_of(low_bucket, start, width),
            high_centre=centre_of(high_bucket, start, width),
        )

    def costs(self, some: NDArray[np.intp]) -> F64:
        """Return the cost of some candidates: squared error of every bucket's centre, times its share."""
        centres, shares, used = self.middles[self.used], self.shares[self.used], self.used[:, None]
        below, above = used < self.low_bucket[some], used >= self.high_bucket[some]
        errors = _rounding_errors(centres, self.scales[some], self.offsets[some])
        rounding = _added(errors, shares, ~(below | above))
        # Buckets are in order, so only the first few are below some candidate's range, and only the last few above.
        few, last = _marked_rows(below), _marked_rows(above)
        clipping = _added(centres[few, None] - self.low_centre[some], shares[few], below[few])
        clipping += _added(centres[last, None] - self.high_centre[some], shares[last], above[last])
        return CLIPPING_COST * clipping + rounding

    def least_costs(self) -> F64:
        """Return what the candidates cost at least, shape (k,): what clipping costs, but for rounding."""
        below = _clipping(self.shares, self.low_bucket, (self.low_centre - self.middles[self.low_bucket]) / self.width)
        end = BUCKETS - self.high_bucket  # counted from the last bucket down, the bucket of the end is one before it
        above = _clipping(self.shares[::-1], end, (self.middles[self.high_bucket] - self.high_centre) / self.width - 1)
        return np.asarray(CLIPPING_COST * self.width**2 * (below + above))


def _clipping(shares: F64, ends: I64, shifts: F64) -> F64:
    """Return a little less than the sum of share_i (end - i + shift)^2 over the buckets before each end, shape (k,)."""
    zeroth = np.append(0.0, np.cumsum(shares))
    first = np.append(0.0, np.cumsum(zeroth[1:]))
    second = np.append(0.0, np.cumsum(2 * first[1:] - zeroth[1:]))
    signed = 2 * shifts * first[ends]
    rest = second[ends] + shifts**2 * zeroth[ends]
    return np.asarray(rest + signed - _SLACK * (rest + np.abs(signed)))


def _marked_rows(marked: NDArray[np.bool_]) -> slice:
    """Return the rows from the first with a mark to the last; the first row if none has."""
    rows = np.flatnonzero(marked.any(axis=1))
    return slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 1)


def _rounding_errors(centres: F64, scales: F32, offsets: F32) -> F32:
    """Return what n values lose to each of k grids without ends, shape (n, k)."""
    values = centres.astype(np.float32)[:, None]
    quantized = values / scales
    quantized -= offsets
    quantized = round_half_away(quantized)
    quantized += offsets
    quantized *= scales
    return np.asarray(values - quantized)


def _added(errors: NDArray[np.floating[Any]], shares: F64, counting: NDArray[np.bool_]) -> F64:
    """Return, for each of k columns, the sum of the squared errors that count, times the shares of their n rows.

    Each column is added from first to last as a C++ loop does: NumPy adds in pairs along the
    axis that lies in one piece in memory, and only there.
    """
    terms = errors.astype(np.float64)
    terms *= terms
    terms *= shares[:, None]
    terms = np.where(counting, terms, 0.0)
    totals: F64 = terms.cumsum(axis=0)[-1] if terms.shape[1] == 1 else terms.sum(axis=0)
    return totals


def bucket_of(values: F32, start: np.float32 | F32, width: float | F64) -> I64:
    """Return the bucket that holds each value, the outermost one for values outside."""
    position = np.floor((values - start).astype(np.float64) / width)
    return np.clip(position, 0, BUCKETS - 1).astype(np.int64)


def centre_of(buckets: I64, start: np.float32 | F32, width: float | F64) -> F64:
    """Return the centres of buckets."""
    centres = (np.asarray(start, np.float64) + buckets * width + width / 2).astype(np.float32)
    return centres.astype(np.float64)
