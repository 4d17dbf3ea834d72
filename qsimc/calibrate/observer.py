"""What is remembered of a stream of values: small, mergeable, immutable."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import I64
from qsimc.calibrate.encoding import Encoding
from qsimc.ir.quant import QuantSpec

if TYPE_CHECKING:
    from qsimc.calibrate.bits import BitHistogram
    from qsimc.calibrate.grid import Grid


class Wants(StrEnum):
    """What an observer must see of each batch; the less, the cheaper calibration is.

    HISTOGRAM: counts by leading bits and the exact range, of all batches together (`HistogramObserver`).
    GRID: counts on a grid of the observer's own, batch by batch in order (`GridObserver`).
    VALUES: all values, batch by batch in order.
    """

    HISTOGRAM = "histogram"
    GRID = "grid"
    VALUES = "values"


class Observer(Protocol):
    """A statistic of a stream of values: calibration shards in any order.

    Laws (tests/props/test_observers.py): merge is associative and commutative, and observing two
    batches equals merging two observers of one batch each.  Observers that imitate a vendor whose
    statistic depends on the order of batches say so and are exempt.
    """

    wants: ClassVar[Wants]

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the statistic extended by one batch: float32, shape (C, n), C channels."""
        ...

    def merge(self, other: Self) -> Self:
        """Return the statistic of both streams."""
        ...

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding of everything observed, for a complete spec."""
        ...


class HistogramObserver(Observer, Protocol):
    """A statistic that a histogram of the stream gives as well as the stream itself."""

    def observe_histogram(self, histogram: BitHistogram) -> Self:
        """Return the statistic extended by what was counted elsewhere, per channel."""
        ...


class GridObserver(Observer, Protocol):
    """A statistic of what each batch has in the cells of a grid."""

    def grid(self, low: float, high: float) -> Grid | None:
        """Return the grid for a batch of values from low to high; None as long as nothing has laid it out."""
        ...

    def observe_counts(self, counts: I64, low: float, high: float) -> Self:
        """Return the statistic extended by one batch of values from low to high.

        Args:
            counts: how many fell in each cell of `grid(low, high)`, shape (CELLS,); without grid, of anything.
        """
        ...
