"""A share of the batches: batch i of the data, counted from 0, is in shard i % n + 1 of n."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_SPELLED = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `number` of `of`, counted from 1.

    Whole batches are dealt out in turn.  So a batch is the same in every sharding, which is what makes the
    result the same, and data whose length nobody knows can be sharded as well.

    Raises:
        ValueError: there is no such shard.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        """Refuse what is not between 1 and `of`."""
        if not 1 <= self.number <= self.of:
            raise ValueError(f"no shard {self.number} of {self.of}: shards are counted from 1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that `2/4` spells: the second of four.

        Raises:
            ValueError: the text spells none.
        """
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise ValueError(f"`{text}` is no shard; the second of four is 2/4")
        return cls(int(match[1]), int(match[2]))

    def takes(self, batch: int) -> bool:
        """Return whether a batch, counted from 0, is in the shard."""
        return batch % self.of == self.number - 1

    def batch(self, turn: int) -> int:
        """Return which batch the shard takes at its own `turn`, both counted from 0."""
        return turn * self.of + self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
