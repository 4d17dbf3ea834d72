"""What is remembered of a stream of values: small, mergeable, immutable."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding
from qsimc.ir.quant import QuantSpec


class Wants(StrEnum):
    """How much of each batch an observer must see; the less, the cheaper calibration is.

    RANGE: the smallest and the largest value per channel (a backend may compute them in the graph).
    SAMPLE: at most 4096 values, evenly strided over the batch.  VALUES: all of them.
    """

    RANGE = "range"
    SAMPLE = "sample"
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
