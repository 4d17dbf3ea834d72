"""What a pass over some data leaves: one statistic per quantizer, one sketch per activation; shards of it merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from qsimc.calibrate.observer import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The observers of the quantizers that depend on data.

    Attributes:
        observers: quantizer owner -> its statistic; one that saw infinity is missing.
        sketches: activation -> a sample of its values.
    """

    observers: Mapping[str, Observer]
    sketches: Mapping[str, Observer] = field(default_factory=dict)

    def merge(self, other: Self) -> Self:
        """Return what both passes leave; what one of them lacks saw infinity there, so both lack it."""
        return type(self)(
            observers=_merged(self.observers, other.observers), sketches=_merged(self.sketches, other.sketches)
        )


def _merged(ours: Mapping[str, Observer], theirs: Mapping[str, Observer]) -> dict[str, Observer]:
    return {name: observer.merge(theirs[name]) for name, observer in ours.items() if name in theirs}
