"""What is done to the observers of many tensors together, where that is faster than one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from qsimc.calibrate.aimet_buckets import BUCKETS, Buckets, average_in
from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.arithmetic import I64
from qsimc.calibrate.bits import BitHistogram, encodings
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.grid import Grid
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


class GridObservers:
    """Grid observers that batches extend: AIMET's histograms of one channel together, others one by one."""

    def __init__(self, observers: Iterable[GridObserver]) -> None:
        """Hold observers, which are known by their places from now on."""
        self._observers = list(observers)
        self._rows: dict[int, int] = {}
        for place, observer in enumerate(self._observers):
            if isinstance(observer, AimetHistogram):
                self._rows[place] = len(self._rows)
        buckets = [self._buckets(place) for place in self._rows]
        self._shares = np.array([one.shares for one in buckets], np.float64).reshape(-1, BUCKETS)
        self._batches = np.array([one.batches for one in buckets], np.float64).reshape(-1, 1)

    def grid(self, place: int, low: float, high: float) -> Grid | None:
        """Return the grid that an observer has for a batch from low to high."""
        return self._observers[place].grid(low, high)

    def observe_counts(self, places: Sequence[int], counts: I64, ends: Sequence[tuple[float, float]]) -> None:
        """Extend observers, none of them given twice, each by a row of `counts`, shape (len(places), CELLS)."""
        filled: list[int] = []
        for number, (place, (low, high)) in enumerate(zip(places, ends, strict=True)):
            if place not in self._rows:
                self._observers[place] = self._observers[place].observe_counts(counts[number], low, high)
            elif low <= high and self._is_laid_out(place, low, high):
                filled.append(number)
        if not filled:
            return
        sizes = counts.sum(axis=1, keepdims=True)
        if len(filled) == len(places) == len(self._rows) and [*places] == [*self._rows]:
            average_in(self._shares, self._batches, counts[:, 1:-1], sizes)
            return
        rows = [self._rows[places[number]] for number in filled]
        shares, batches = self._shares[rows], self._batches[rows]
        average_in(shares, batches, counts[filled, 1:-1], sizes[filled])
        self._shares[rows], self._batches[rows] = shares, batches

    def _buckets(self, place: int) -> Buckets:
        (buckets,) = cast(AimetHistogram, self._observers[place]).channels
        return buckets

    def _is_laid_out(self, place: int, low: float, high: float) -> bool:
        """Return whether a histogram has buckets once it has seen a batch of values from low to high."""
        observer = cast(AimetHistogram, self._observers[place])
        buckets = self._buckets(place)
        if not observer.observed or buckets.width == 0:
            buckets = buckets.laid_out(np.float32(low), np.float32(high))
            self._observers[place] = replace(observer, channels=(buckets,), observed=True)
        return buckets.width > 0

    def finish(self) -> list[GridObserver]:
        """Return the observers, extended, in their places."""
        for place, row in self._rows.items():
            buckets = replace(self._buckets(place), shares=self._shares[row], batches=int(self._batches[row, 0]))
            self._observers[place] = replace(cast(AimetHistogram, self._observers[place]), channels=(buckets,))
        return self._observers
