"""Where samples come from: the interface of files and of Python iterables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from qsimc.data.layout import Chunk


class Source(Protocol):
    """Something that gives samples in order, as often as it is asked (unless it says otherwise)."""

    @property
    def path(self) -> str:
        """The source in the user's words."""
        ...

    @property
    def samples(self) -> int | None:
        """How many there are, None when only reading them all would tell."""
        ...

    def chunks(self, size: int | None) -> Iterator[Chunk]:
        """Give all samples, about `size` at a time where the source is free to choose (None: as it likes).

        Raises:
            InputError: the source fails half-way.
        """
        ...

    @property
    def digest(self) -> Callable[[], str] | None:
        """Gives the SHA-256 of the source's bytes in hexadecimal; None when it has no bytes of its own."""
        ...
