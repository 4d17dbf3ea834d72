"""Where a cursor stands in .qsim that is being typed, and so is most often broken: words, split into statements."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WORD = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>~?"(?:[^"\\\n]|\\.)*"?)
      | (?P<reference>@[\w.:-]*)
      | (?P<name>[A-Za-z_]\w*(?:(?:\.|::|-)\w+)*(?:[.-](?![.>\w]))?|`[^`\n]*`?)
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
      | (?P<mark>->|=>|==|!=|<=|>=|\.\.|[^\s\w])""",
    re.X,
)
_UNBRACKETED = (":", "=", "{", "}")
"""Marks that stand in no brackets: where one does, a bracket above was never closed."""


@dataclass(frozen=True, slots=True)
class Word:
    """One token: its kind, its text and where it starts.  A name or a string may be unfinished."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text.

    `above` holds the statements that end before it, the head of a block as one of them, and `before` the words of its
    own statement.  `word` is the one that it stands in or beside, "" if there is none.
    """

    above: tuple[tuple[Word, ...], ...]
    before: tuple[Word, ...]
    word: Word
    in_block: bool

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.before)


@dataclass(slots=True)
class _Typed:
    """What is read of a text; `line` counts the words of the statement that stand on lines above the current."""

    above: list[tuple[Word, ...]] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    line: int = 0
    depth: int = 0
    in_block: bool = False


def locate(text: str, offset: int) -> Place | None:
    """Return what stands at an offset and before it, None within a comment."""
    typed = _Typed()
    found = Word("none", "", offset)
    for match in _WORD.finditer(text):
        word = Word(str(match.lastgroup), match[0], match.start())
        has_inside = word.kind not in ("newline", "mark", "comment")
        if word.start > offset or (word.start == offset and not has_inside):
            break
        if offset <= word.end and has_inside:
            found = word
            break
        if offset <= word.end and word.kind == "comment":
            return None
        _take(word, typed)
    return Place(tuple(typed.above), tuple(typed.words), found, typed.in_block)


def _take(word: Word, typed: _Typed) -> None:
    """Follow one word."""
    if word.kind == "comment":
        return
    if word.kind == "newline":
        typed.line = len(typed.words)
        if typed.depth == 0:
            _end(typed)
        return
    if typed.depth and word.text in _UNBRACKETED:
        del typed.words[: typed.line]
        typed.depth = 0
    if word.text in ("(", "["):
        typed.depth += 1
    elif word.text in (")", "]"):
        typed.depth = max(typed.depth - 1, 0)
    if word.text in ("{", "}"):
        _end(typed)
        typed.in_block = word.text == "{"
        return
    if not typed.words and word.kind in ("name", "string"):
        typed.in_block = False  # entries begin with marks: a `}` is missing above
    typed.words.append(word)


def _end(typed: _Typed) -> None:
    if typed.words:
        typed.above.append(tuple(typed.words))
    typed.words.clear()
    typed.line = 0
