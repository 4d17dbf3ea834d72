"""From the tensors of a batch to the observers: who counts what, in which row, and in which order observers see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.derive import Clipped
from qsimc.calibrate.grid import Grid, GridTally
from qsimc.calibrate.observer import GridObserver, HistogramObserver, Observer, Wants
from qsimc.calibrate.observers import channels_first
from qsimc.calibrate.tally import Tally, holds_infinity, holds_nan
from qsimc.diagnostics import Diagnostic, InputError, Severity

Observers: TypeAlias = "Mapping[str, Sequence[Observer]]"


@dataclass(frozen=True, slots=True)
class Stream:
    """An activation to observe: the tensor that owns its quantizer, and the channel axis of that, if it has one."""

    tensor: str
    owner: str
    axis: int | None = None


@dataclass(slots=True)
class _Feed:
    """What one stream extends: the observers of its owner, which others may extend as well, and its own sketches."""

    stream: Stream
    extended: Sequence[list[Observer]]
    grid_rows: list[tuple[list[Observer], int, int]] = field(default_factory=list)

    def places(self) -> Iterator[tuple[list[Observer], int, Wants]]:
        """Yield each observer as a list, its place in that, and what it must see.

        A histogram is of all values together, so what is kept per channel must see them.
        """
        for observers in self.extended:
            for place, observer in enumerate(observers):
                yield observers, place, Wants.VALUES if self.stream.axis is not None else observer.wants


class Feeds:
    """The streams of a pass over some data, counted in place, and the observers that they extend.

    The histogram of a stream that another one gives (`qsimc.calibrate.derive`) is not counted.

    Each batch is either shown tensor by tensor (`show`), or counted by others into `tally` and `grids` and then
    taken as a whole (`take`); the numbers are the same.

    Attributes:
        counted: the tensors to count at all, in the order of the streams.
        rows: tensor -> its row in `tally`; those whose histogram another one gives have none.
        grid_rows: tensor -> its rows in `grids`.
        valued: the tensors that some observer must see all values of.
        tally: counts of all batches.
        grids: counts of the last batch, on the grids of observers that have one.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        observers: Observers,
        sketches: Observers,
        derived: Mapping[str, Clipped],
        path: str,
    ) -> None:
        self._path = path
        self._observers = {owner: list(sequence) for owner, sequence in observers.items()}
        self._sketches = {tensor: list(sequence) for tensor, sequence in sketches.items()}
        self._owners = {stream.tensor: stream.owner for stream in streams}
        self._feeds = {}
        for stream in streams:
            extended = [self._observers.get(stream.owner, []), self._sketches.get(stream.tensor, [])]
            if any(extended):
                self._feeds[stream.tensor] = _Feed(stream, extended)
        self._derived = {tensor: derived[tensor] for tensor in self._feeds if self._is_given(tensor, derived)}
        grids = 0
        for feed in self._feeds.values():
            for observed, place, wants in feed.places():
                if wants is Wants.GRID:
                    feed.grid_rows.append((observed, place, grids))
                    grids += 1
        self.rows = {t: row for row, t in enumerate(t for t in self._feeds if t not in self._derived)}
        self.counted = [t for t, feed in self._feeds.items() if t in self.rows or feed.grid_rows]
        self.grid_rows = {tensor: [row for _, _, row in feed.grid_rows] for tensor, feed in self._feeds.items()}
        self.valued = {t for t, feed in self._feeds.items() if any(w is Wants.VALUES for _, _, w in feed.places())}
        self.tally, self.grids = Tally(len(self.rows)), GridTally(grids)
        self._each_batch = [(t, feed) for t, feed in self._feeds.items() if feed.grid_rows or t in self.valued]

    def show(self, tensor: str, values: NDArray[Any]) -> None:
        """Take one tensor of a batch; tensors come in the order of the streams.

        Raises:
            InputError: it holds NaN (Q0607).
        """
        feed = self._feeds.get(tensor)
        if feed is None:
            return
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        if tensor in self.rows:
            seen = self.tally.rows[self.rows[tensor]]
            self.tally.count(self.rows[tensor], flat)
            if holds_nan(seen):
                raise InputError([_not_finite(tensor, self._path)])
            if holds_infinity(seen):
                return
        for observed, place, stream in feed.grid_rows:
            self.grids.clear(stream)
            self.grids.count(stream, flat)
            low, high = self.grids.range(stream)
            if not self.grids.laid_out(stream) and (grid := _grid_of(observed[place], low, high)) is not None:
                self.grids.lay_out(stream, grid)
                self.grids.clear(stream)
                self.grids.count(stream, flat)
            self._observe_counts(observed, place, stream, low, high)
        self._observe_values(feed, values)

    def lay_out(self) -> bool:
        """Lay out the grids that a batch, counted without them, asks for; whether there are any: then count it again.

        Streams that extend one observer have one grid, that of the first to ask for one.
        """
        asked: dict[tuple[int, int], Grid] = {}
        laid_out = False
        for _, feed in self._each_batch:
            for observed, place, stream in feed.grid_rows:
                if self.grids.laid_out(stream):
                    continue
                grid = asked.get((id(observed), place)) or _grid_of(observed[place], *self.grids.range(stream))
                if grid is not None:
                    asked[id(observed), place] = grid
                    self.grids.lay_out(stream, grid)
                    laid_out = True
        return laid_out

    def take(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Take a batch that was counted into `tally` and `grids`.

        Args:
            values: tensor -> its values, at least of those in `valued`.

        Raises:
            InputError: a tensor holds NaN (Q0607); the first one is named.
        """
        nan = self.tally.nan
        if nan.any():
            raise InputError([_not_finite([*self.rows][int(nan.argmax())], self._path)])
        if not self._each_batch:
            return
        infinite, ranges = self.tally.infinite, self.grids.ranges()
        for tensor, feed in self._each_batch:
            if tensor in self.rows and infinite[self.rows[tensor]]:
                continue
            for observed, place, stream in feed.grid_rows:
                self._observe_counts(observed, place, stream, *ranges[stream])
            if tensor in self.valued:
                self._observe_values(feed, values[tensor])

    def finish(self) -> tuple[Observers, Observers]:
        """Return the observers, and the sketches, extended by all batches, without those that saw infinity."""
        histograms: dict[str, BitHistogram] = {}
        infinite: set[str] = set()
        lows, highs = self.tally.low, self.tally.high
        for tensor, feed in self._feeds.items():
            histogram = self._histogram(tensor, histograms)
            histograms[tensor] = histogram
            if self._is_infinite(tensor, lows, highs):
                infinite.add(feed.stream.owner)
                continue
            for observed, place, wants in feed.places():
                if wants is Wants.HISTOGRAM:
                    observed[place] = cast(HistogramObserver, observed[place]).observe_histogram(histogram)
        return (
            {owner: sequence for owner, sequence in self._observers.items() if owner not in infinite},
            {t: sequence for t, sequence in self._sketches.items() if self._owners.get(t) not in infinite},
        )

    def _is_given(self, tensor: str, derived: Mapping[str, Clipped]) -> bool:
        """Return whether another stream's histogram gives all that is to be known of a tensor."""
        if tensor not in derived or derived[tensor].source not in self._feeds:
            return False
        return all(wants is not Wants.VALUES for _, _, wants in self._feeds[tensor].places())

    def _histogram(self, tensor: str, before: Mapping[str, BitHistogram]) -> BitHistogram:
        """Return the histogram of a tensor, that of whose source may be needed."""
        if tensor in self._derived:
            clipped = self._derived[tensor]
            return before[clipped.source].clipped(clipped.low, clipped.high)
        row = self.rows[tensor]
        return BitHistogram.of(self.tally, slice(row, row + 1))

    def _is_infinite(self, tensor: str, lows: F32, highs: F32) -> bool:
        """Return whether a tensor holds infinity: it, or what it is clipped from, and no clip takes that away."""
        floor, ceiling = -np.inf, np.inf
        while tensor in self._derived:
            clipped = self._derived[tensor]
            tensor, floor, ceiling = clipped.source, max(floor, clipped.low), min(ceiling, clipped.high)
        low, high = lows[self.rows[tensor]], highs[self.rows[tensor]]
        return bool(low <= high and (max(low, floor) == -np.inf or min(high, ceiling) == np.inf))

    def _observe_counts(self, observed: list[Observer], place: int, stream: int, low: float, high: float) -> None:
        if low > high or (isfinite(low) and isfinite(high)):
            observer = cast(GridObserver, observed[place])
            observed[place] = observer.observe_counts(self.grids.counts(stream), low, high)

    def _observe_values(self, feed: _Feed, values: NDArray[Any]) -> None:
        by_channel = channels_first(values.astype(np.float32, copy=False), feed.stream.axis)
        for observed, place, wants in feed.places():
            if wants is Wants.VALUES:
                observed[place] = observed[place].observe(by_channel)


def _grid_of(observer: Observer, low: float, high: float) -> Grid | None:
    """Return the grid that an observer has for a batch from low to high, if it is one of finite values."""
    return cast(GridObserver, observer).grid(low, high) if -np.inf < low <= high < np.inf else None


def _not_finite(tensor: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0607",
        name="not-finite-tensor",
        severity=Severity.ERROR,
        message=f"the activation `{tensor}` is NaN: the model makes it of the data",
        helps=("check the scaling of the calibration data, and the float model on it",),
        path=path,
    )
