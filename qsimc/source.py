"""Text that diagnostics can point into: sources, spans, lines and columns."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Source:
    """One input file: its path as the user wrote it, and its text."""

    path: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of character offsets in one source; lines and columns count from 1."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return _position(self.source.text, self.start)[0]

    @property
    def column(self) -> int:
        return _position(self.source.text, self.start)[1]

    @property
    def end_line(self) -> int:
        return _position(self.source.text, self.end)[0]

    @property
    def end_column(self) -> int:
        return _position(self.source.text, self.end)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]


@lru_cache(maxsize=8)
def line_starts(text: str) -> tuple[int, ...]:
    """Return the offset at which each line of `text` begins; only `\\n` ends a line."""
    starts = [0]
    while (newline := text.find("\n", starts[-1])) >= 0:
        starts.append(newline + 1)
    return tuple(starts)


def _position(text: str, offset: int) -> tuple[int, int]:
    starts = line_starts(text)
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1
