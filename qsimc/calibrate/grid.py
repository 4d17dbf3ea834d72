"""Counting the values of one batch on grids that observers lay out, in place, as `tally` does by leading bits.

A row begins with the range of the batch as ordered bits, then says where its grid is: the bits of `reciprocal`,
`before`, `lowest` and `highest`.  The counts follow.  A row without grid has lowest > highest, and counts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsimc import native
from qsimc.calibrate.arithmetic import F32, I64
from qsimc.calibrate.counting import counted
from qsimc.calibrate.tally import EMPTY, HIGH, LOW, holds_nan, ordered, values_of

CELLS = 1538
"""Cells of a grid: AIMET's 1536 buckets, and what lies before and after them."""

_RECIPROCAL, _BEFORE, _LOWEST, _HIGHEST, _COUNTS = 2, 3, 4, 5, 6

EXACT = 2**23
"""Bound of the number of a cell up to which float32 holds the numbers of cells exactly."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal cells: a value x falls in number clip(floor(x * reciprocal) - before, lowest, highest).

    The product is made in float32, the difference is exact.
    """

    reciprocal: np.float32
    before: int
    lowest: int
    highest: int

    def counts(self, values: F32) -> I64:
        """Return how many values, shape (n,), fall in each cell, shape (CELLS,)."""

        def locate(block: F32, cells: F32) -> None:
            with np.errstate(over="ignore"):
                np.multiply(block, self.reciprocal, out=cells)
            np.floor(cells, out=cells)
            if abs(self.before) < EXACT:
                cells -= self.before
                np.clip(cells, self.lowest, self.highest, out=cells)
            else:
                cells[:] = np.clip(cells.astype(np.float64) - self.before, self.lowest, self.highest)

        return counted(values, CELLS, locate)


class GridTally:
    """Counts of the batches of many streams, each on a grid of its own.

    Attributes:
        rows: shape (streams, 6 + CELLS).
    """

    def __init__(self, streams: int) -> None:
        self.rows: I64 = np.zeros((streams, _COUNTS + CELLS), np.int64)
        self.rows[:, _LOWEST] = 1
        self._grids: list[Grid | None] = [None] * streams
        self.clear()

    def clear(self, streams: int | slice = slice(None)) -> None:
        """Forget the last batch, of one stream or of all; grids stay."""
        self.rows[streams, LOW], self.rows[streams, HIGH] = EMPTY
        self.rows[streams, _COUNTS:] = 0

    def lay_out(self, stream: int, grid: Grid) -> None:
        """Give a stream its grid."""
        self._grids[stream] = grid
        bits = int(np.array([grid.reciprocal], np.float32).view(np.int32)[0])
        self.rows[stream, _RECIPROCAL:_COUNTS] = bits, grid.before, grid.lowest, grid.highest

    def laid_out(self, stream: int) -> bool:
        """Return whether a stream has its grid."""
        return self._grids[stream] is not None

    def count(self, stream: int, values: F32) -> None:
        """Count values, shape (n,), contiguous; with NaN among them only the range means anything."""
        library = native.kernels()
        if library is not None:
            native.tally_on_grid(library, values, self.rows[stream])
            return
        row, grid = self.rows[stream], self._grids[stream]
        if values.size:
            row[LOW] = min(row[LOW], int(ordered(values.min(keepdims=True))[0]))
            row[HIGH] = max(row[HIGH], int(ordered(values.max(keepdims=True))[0]))
        if grid is not None and not holds_nan(row):
            row[_COUNTS:] += grid.counts(values)

    def counts(self, stream: int) -> I64:
        """Return the counts of a stream's batch, shape (CELLS,)."""
        return self.rows[stream, _COUNTS:]

    def ranges(self) -> list[tuple[float, float]]:
        """Return the smallest and the largest value of each stream's batch; inf and -inf of one that has none."""
        low, high = self.rows[:, LOW], self.rows[:, HIGH]
        empty = low > high
        lows = np.where(empty, np.float32(np.inf), values_of(low))
        highs = np.where(empty, np.float32(-np.inf), values_of(high))
        return list(zip(lows.tolist(), highs.tolist(), strict=True))

    def range(self, stream: int) -> tuple[float, float]:
        """Return the smallest and the largest value of one stream's batch, as `ranges` does."""
        low, high = self.rows[stream, (LOW, HIGH)]
        if low > high:
            return float("inf"), float("-inf")
        return float(values_of(low[None])[0]), float(values_of(high[None])[0])
