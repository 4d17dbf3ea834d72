"""Counting values into histograms in place: the work of calibration, natively where the kernels are installed.

A tally has a row of int64 for each stream of values.  A row begins with the smallest and the largest value so far, as
ordered bits: the bits of a float32 as an integer, with the magnitude bits of negative values inverted, so that the
integers have the order of the values.  NaN lies beyond the infinity of its sign.  The counts of leading bits follow:
a bin holds the values that share sign, exponent and the first 4 bits of the mantissa.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc import native
from qsimc.calibrate.arithmetic import F32, I64
from qsimc.calibrate.counting import BLOCK, counted

MANTISSA_BITS = 4
SHIFT = 23 - MANTISSA_BITS
BINS = 2 ** (1 + 8 + MANTISSA_BITS)

LOW, HIGH, COUNTS = 0, 1, 2
"""Where a row has its smallest and its largest value, and from where on its counts."""

EMPTY = (np.iinfo(np.int32).max, np.iinfo(np.int32).min)
"""The ordered bits of the range of nothing."""


def ordered(values: F32) -> I64:
    """Return ordered bits: integers that compare as the values do."""
    bits = values.view(np.int32)
    return np.asarray(bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF)), np.int64)


def values_of(ordered_bits: I64) -> F32:
    """Return the values whose ordered bits are given; zero has no sign."""
    bits = ordered_bits.astype(np.int32)
    return np.asarray((bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.float32) + np.float32(0))


_INFINITY = int(ordered(np.array([np.inf], np.float32))[0])
_MINUS_INFINITY = int(ordered(np.array([-np.inf], np.float32))[0])


class Tally:
    """Histograms of many streams of float32 values by their leading bits, with exact ranges.

    Attributes:
        rows: shape (streams, COUNTS + BINS).  Pages of bins that no value falls into take no memory.
    """

    def __init__(self, streams: int) -> None:
        self.rows: I64 = np.zeros((streams, COUNTS + BINS), np.int64)
        self.rows[:, (LOW, HIGH)] = EMPTY

    def count(self, stream: int, values: NDArray[Any]) -> None:
        """Extend a stream by values of any shape, float32."""
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        library = native.kernels()
        if library is not None:
            native.tally(library, flat, self.rows[stream])
        elif flat.size:
            _count(flat, self.rows[stream])

    def add(self, other: Tally) -> None:
        """Extend every stream by what another tally has of it."""
        np.minimum(self.rows[:, LOW], other.rows[:, LOW], out=self.rows[:, LOW])
        np.maximum(self.rows[:, HIGH], other.rows[:, HIGH], out=self.rows[:, HIGH])
        self.rows[:, COUNTS:] += other.rows[:, COUNTS:]

    @property
    def low(self) -> F32:
        """Smallest value of each stream, shape (streams,); +inf before the first."""
        return np.where(self.empty, np.float32(np.inf), values_of(self.rows[:, LOW]))

    @property
    def high(self) -> F32:
        """Largest value of each stream, shape (streams,); -inf before the first."""
        return np.where(self.empty, np.float32(-np.inf), values_of(self.rows[:, HIGH]))

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which streams have no values."""
        return np.asarray(self.rows[:, LOW] > self.rows[:, HIGH])

    @property
    def nan(self) -> NDArray[np.bool_]:
        """Which streams hold NaN."""
        return holds_nan(self.rows)

    @property
    def infinite(self) -> NDArray[np.bool_]:
        """Which streams hold infinity, or NaN."""
        return holds_infinity(self.rows)

    def counts(self, streams: slice) -> I64:
        """Return the counts of some streams by leading bits, shape (streams, BINS)."""
        return self.rows[streams, COUNTS:]


def holds_nan(rows: I64) -> NDArray[np.bool_]:
    """Return which rows, of shape (..., LOW, HIGH, ...) along the last axis, have seen NaN."""
    return np.asarray((rows[..., HIGH] > _INFINITY) | (rows[..., LOW] < _MINUS_INFINITY) & ~_nothing(rows))


def holds_infinity(rows: I64) -> NDArray[np.bool_]:
    """Return which rows have seen infinity, or NaN."""
    return np.asarray((rows[..., HIGH] >= _INFINITY) | (rows[..., LOW] <= _MINUS_INFINITY) & ~_nothing(rows))


def _nothing(rows: I64) -> NDArray[np.bool_]:
    return np.asarray(rows[..., LOW] > rows[..., HIGH])


def _count(values: F32, row: I64) -> None:
    """Extend a row by values, shape (n,), n > 0, in blocks that stay in cache between the range and the count."""
    low, high = values[:1].copy(), values[:1].copy()
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        # The minimum of values with NaN among them is NaN, and so is the maximum.
        np.minimum(low, block.min(), out=low)
        np.maximum(high, block.max(), out=high)
    row[LOW] = min(row[LOW], int(ordered(low)[0]))
    row[HIGH] = max(row[HIGH], int(ordered(high)[0]))
    row[COUNTS:] += counted(values.view(np.uint32), BINS, _write_bins)


def _write_bins(floats: NDArray[np.uint32], bins: NDArray[np.uint32]) -> None:
    np.right_shift(floats, SHIFT, out=bins)
