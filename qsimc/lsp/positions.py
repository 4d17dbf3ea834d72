"""Offsets in a text, and the lines and columns that an editor counts instead."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache

from lsprotocol.types import Position, PositionEncodingKind, Range


@dataclass(frozen=True, slots=True)
class View:
    """A text as the editor sees it: its names for editors and for us, and the code unit that columns count."""

    uri: str
    path: str
    text: str = field(repr=False)
    encoding: PositionEncodingKind | str = PositionEncodingKind.Utf16


def position(view: View, offset: int) -> Position:
    """Return the place of a character; both its numbers count from 0."""
    starts = _line_starts(view.text)
    line = bisect_right(starts, offset) - 1
    return Position(line, _units(view.text[starts[line] : offset], view.encoding))


def offset(view: View, place: Position) -> int:
    """Return the offset of the character at a place; behind a line's end that of its end."""
    starts = _line_starts(view.text)
    if place.line >= len(starts):
        return len(view.text)
    start = starts[place.line]
    end = starts[place.line + 1] if place.line + 1 < len(starts) else len(view.text)
    line = view.text[start:end].rstrip("\r\n")
    passed = 0
    for index, char in enumerate(line):
        if passed >= place.character:
            return start + index
        passed += _units(char, view.encoding)
    return start + len(line)


def extent(view: View, start: int, end: int) -> Range:
    """Return the range between two offsets."""
    return Range(position(view, start), position(view, end))


def _units(text: str, encoding: PositionEncodingKind | str) -> int:
    if encoding == PositionEncodingKind.Utf32:
        return len(text)
    # An editor may send half of a surrogate pair, which no strict codec writes.
    if encoding == PositionEncodingKind.Utf8:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@lru_cache(maxsize=8)
def _line_starts(text: str) -> tuple[int, ...]:
    """Return the offset at which each line begins; the protocol knows three line ends, qsimc.source only one."""
    return (0, *(end.end() for end in re.finditer(r"\r\n?|\n", text)))
