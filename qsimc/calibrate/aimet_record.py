"""AIMET's histogram in shards: what each batch adds is kept apart, so that all can be averaged in their order.

An average of many rounded averages depends on the order of batches in its last bits, and a search may turn on
these.  What a batch adds to buckets that are laid out already is whole numbers, and does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.aimet_buckets import BUCKETS, Buckets
from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.arithmetic import I64, checked
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.grid import Grid
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.shard import Shard
from qsimc.ir.quant import QuantSpec


@dataclass(frozen=True, slots=True, eq=False)
class AimetRecord:
    """The batches of one shard.  It grows with them: by 6 KiB for each, per channel and tensor.

    Attributes:
        base: the histograms after the first batch of the data, which is the same in all shards and lays out the
            buckets; that batch is not recorded again.
        shard: whose turns these are.
        tensors: how many tensors are observed of each batch, always in the same order.
        turns: how many arrays were observed.
        late: whether a batch brought values to a channel of nothing but zeros, whose buckets nobody has laid out.
        places: shape (n,), ascending by batch, and in a batch by tensor: where a record stands in the whole stream.
        sizes: shape (n,), how many values a channel of it has.
        counts: how many of them fell in each bucket, shape (C, BUCKETS) each.
    """

    wants: ClassVar[Wants] = Wants.GRID
    base: AimetHistogram
    shard: Shard
    tensors: int
    turns: int
    late: bool
    places: I64
    sizes: I64
    counts: tuple[NDArray[np.uint32], ...]

    @classmethod
    def after(cls, base: AimetHistogram, shard: Shard, tensors: int) -> Self:
        """Return the record of a shard that has observed nothing; `base` has, in the same order, the first batch."""
        nothing = np.zeros(0, np.int64)
        return cls(base, shard, tensors, 0, False, nothing, nothing, ())

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the record extended by one tensor of the shard's next batch, shape (C, n)."""
        batch = checked(values)
        turned, place = self._turned()
        if place < self.tensors or batch.size == 0:
            return turned
        channels = self.base.channels
        late = any(_late(b, row.min(), row.max()) for b, row in zip(channels, batch, strict=True))
        counts = np.zeros((len(channels), BUCKETS), np.uint32)
        for buckets, row, into in zip(channels, batch, counts, strict=True):
            if buckets.width > 0:
                into[:] = buckets.counts(row)
        return turned._recorded(place, batch.shape[1], counts, late)

    def grid(self, low: float, high: float) -> Grid | None:
        """Return the buckets of the only channel; None if the first batch did not lay them out."""
        (buckets,) = self.base.channels
        return buckets.grid() if buckets.width > 0 else None

    def observe_counts(self, counts: I64, low: float, high: float) -> Self:
        """Return the record with a tensor of one channel and values from low to high in it, already counted."""
        turned, place = self._turned()
        if place < self.tensors or low > high:
            return turned
        (buckets,) = self.base.channels
        inside = counts[None, 1:-1].astype(np.uint32) if buckets.width > 0 else np.zeros((1, BUCKETS), np.uint32)
        late = _late(buckets, np.float32(low), np.float32(high))
        return turned._recorded(place, int(counts.sum()), inside, late)

    def _turned(self) -> tuple[Self, int]:
        """Return the record after its next turn, and the place in the whole stream that the turn has."""
        turn, tensor = divmod(self.turns, self.tensors)
        return replace(self, turns=self.turns + 1), self.shard.batch(turn) * self.tensors + tensor

    def _recorded(self, place: int, size: int, counts: NDArray[np.uint32], late: bool) -> Self:
        return replace(
            self,
            late=self.late or late,
            places=np.append(self.places, place),
            sizes=np.append(self.sizes, size),
            counts=(*self.counts, counts),
        )

    def merge(self, other: Self) -> Self:
        """Return the record of both shards.

        Raises:
            ValueError: they do not go on from the same first batch.
        """
        if not _same(self.base, other.base):
            raise ValueError("the histograms of AIMET were laid out by different first batches")
        return replace(
            self,
            turns=self.turns + other.turns,
            late=self.late or other.late,
            places=np.concatenate([self.places, other.places]),
            sizes=np.concatenate([self.sizes, other.sizes]),
            counts=self.counts + other.counts,
        )

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding of all batches in their order, exactly that of one process.

        Raises:
            ValueError: nothing was observed.
        """
        return self.replayed().encoding(spec, axis)

    def replayed(self) -> AimetHistogram:
        """Return the histograms that one process would have."""
        order = np.argsort(self.places)
        channels = tuple(self._replayed(c, buckets, order) for c, buckets in enumerate(self.base.channels))
        return AimetHistogram(channels, self.base.observed or bool(len(order)))

    def _replayed(self, channel: int, buckets: Buckets, order: NDArray[np.intp]) -> Buckets:
        if buckets.width == 0:
            return buckets
        for i in order:
            buckets = buckets.averaged(self.counts[i][channel], int(self.sizes[i]))
        return buckets


def _late(buckets: Buckets, low: np.float32, high: np.float32) -> bool:
    """Return whether values from low to high would lay out buckets only now."""
    return buckets.width == 0 and buckets.laid_out(low, high).width > 0


def _same(one: AimetHistogram, other: AimetHistogram) -> bool:
    return len(one.channels) == len(other.channels) and all(
        (a.width, a.first, a.batches) == (b.width, b.first, b.batches) and np.array_equal(a.shares, b.shares)
        for a, b in zip(one.channels, other.channels, strict=True)
    )
