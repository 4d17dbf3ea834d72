"""Trees of the qsim language: what both of its parsers return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias


class Token(str):
    """A terminal's text, and where it starts."""

    __slots__ = ("start_pos",)
    start_pos: int

    def __new__(cls, text: str, start_pos: int) -> Token:
        """Return a token; a str is made here and not in `__init__`."""
        token = super().__new__(cls, text)
        token.start_pos = start_pos
        return token


@dataclass(frozen=True, slots=True)
class Tree:
    """One rule of the grammar: its name, what it consists of, and its range of offsets.

    A part that is optional and not there is None.
    """

    data: str
    children: tuple[Child, ...]
    start: int
    end: int


Child: TypeAlias = "Tree | Token | None"


def trees(children: Iterable[Child]) -> Iterator[Tree]:
    """Yield those children that are trees themselves."""
    return (child for child in children if isinstance(child, Tree))
