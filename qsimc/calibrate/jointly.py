"""What is done to the observers of many tensors together, where that is faster than one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, cast

import numpy as np

from qsimc.calibrate.aimet_buckets import BUCKETS, Buckets, average_in
from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.bits import BitHistogram, encodings
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.grid import Grid, GridTally
from qsimc.calibrate.observer import GridObserver, Observer
from qsimc.ir.quant import QuantSpec


def encode_all(asked: Sequence[tuple[Observer, QuantSpec, int | None]]) -> list[Encoding]:
    """Return what `encoding` of each observer returns for the spec and channel axis beside it.

    The observers that imitate a vendor are asked one by one.

    Raises:
        ValueError: an observer has no encoding for its spec.
    """
    together = iter(encodings([(o, spec, axis) for o, spec, axis in asked if isinstance(o, BitHistogram)]))
    return [next(together) if isinstance(o, BitHistogram) else o.encoding(spec, axis) for o, spec, axis in asked]


GridRow: TypeAlias = "tuple[int, int]"
"""The place of a grid observer, and a stream of the counts on grids, which it has laid out."""

Ends: TypeAlias = "Mapping[int, tuple[float, float]] | Sequence[tuple[float, float]]"
"""The smallest and the largest value of each stream's batch; inf and -inf of an empty one."""


class GridObservers:
    """Grid observers that batches extend: AIMET's histograms of one channel together, others one by one."""

    def __init__(self, observers: Iterable[GridObserver]) -> None:
        """Hold observers, which are known by their places from now on."""
        self._observers = list(observers)
        self._numbers: dict[int, int] = {}
        for place, observer in enumerate(self._observers):
            if isinstance(observer, AimetHistogram):
                self._numbers[place] = len(self._numbers)
        buckets = [self._buckets(place) for place in self._numbers]
        self._shares = np.array([one.shares for one in buckets], np.float64).reshape(-1, BUCKETS)
        self._batches = np.array([one.batches for one in buckets], np.float64)

    def grid(self, place: int, low: float, high: float) -> Grid | None:
        """Return the grid that an observer has for a batch from low to high."""
        return self._observers[place].grid(low, high)

    def observe_counts(self, rows: Iterable[GridRow], grids: GridTally, ends: Ends) -> None:
        """Extend observers, in order, by the streams of `grids` beside them, whose values lie between their `ends`."""
        averaged: list[tuple[int, int]] = []
        for place, stream in rows:
            low, high = ends[stream]
            number = self._numbers.get(place)
            if number is None:
                self._observers[place] = self._observers[place].observe_counts(grids.counts(stream), low, high)
            elif low <= high and (self._batches[number] or self._is_laid_out(place, low, high)):
                averaged.append((number, stream))
        average_in(self._shares, self._batches, grids, averaged)

    def _buckets(self, place: int) -> Buckets:
        (buckets,) = cast(AimetHistogram, self._observers[place]).channels
        return buckets

    def _is_laid_out(self, place: int, low: float, high: float) -> bool:
        """Return whether a histogram has buckets once it has seen a batch of values from low to high."""
        buckets = self._buckets(place).laid_out(np.float32(low), np.float32(high))
        observer = cast(AimetHistogram, self._observers[place])
        self._observers[place] = replace(observer, channels=(buckets,), observed=True)
        return buckets.width > 0

    def finish(self) -> list[GridObserver]:
        """Return the observers, extended, in their places."""
        for place, number in self._numbers.items():
            shares, batches = self._shares[number], int(self._batches[number])
            buckets = replace(self._buckets(place), shares=shares, batches=batches)
            self._observers[place] = replace(cast(AimetHistogram, self._observers[place]), channels=(buckets,))
        return self._observers
