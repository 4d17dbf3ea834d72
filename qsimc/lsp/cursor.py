"""Where a cursor stands in JSON that is being typed, and so is most often broken."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|\#[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>"(?:[^"\\\n]|\\.)*"?)
      | (?P<word>[\w.+-]+)
      | (?P<mark>[{}\[\],:])""",
    re.X | re.S,
)
_WHOLE = re.compile(r'"[^",:{}\[\]]*"|[^"]+')
_REST = re.compile(r'[\w.]*"?')


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a JSON text.

    `path` holds the keys above it, `[]` for an item of an array: above a key those of its object, above a value
    its own key too.  `start` and `end` are the offsets of the word at the place, `before` are the keys that its
    object already has, and `top` those of the whole text.
    """

    path: tuple[str, ...]
    is_key: bool
    start: int
    end: int
    before: tuple[str, ...]
    top: tuple[str, ...] = ()


@dataclass(slots=True)
class _Level:
    """An object or array that is still open."""

    opening: str
    keys: list[str] = field(default_factory=list)
    after_colon: bool = False

    @property
    def wants_key(self) -> bool:
        return self.opening == "{" and not self.after_colon

    @property
    def segment(self) -> str:
        return self.keys[-1] if self.opening == "{" and self.keys else "[]"


def locate(text: str, offset: int) -> Cursor | None:
    """Return where an offset stands; None outside of every object and array, within a comment, and in other text."""
    if not text.lstrip().startswith("{"):
        return None
    levels: list[_Level] = []
    top: list[str] = []
    found: Cursor | None = None
    passed = False
    for token in _TOKEN.finditer(text):
        if not passed and _reaches(token, offset):
            passed = True
            found = _cursor(text, token, offset, levels)
        _take(token, levels, top)
    if not passed:
        found = _cursor(text, None, offset, levels)
    return None if found is None else replace(found, top=tuple(top))


def _reaches(token: re.Match[str], offset: int) -> bool:
    """Say whether an offset stands before a token, or in or at the end of one that has an inside."""
    return token.start() >= offset or (token.lastgroup != "mark" and offset <= token.end())


def _cursor(text: str, token: re.Match[str] | None, offset: int, levels: list[_Level]) -> Cursor | None:
    """Return a place by the objects and arrays open there and the token that it stands in or before, if any."""
    inside = token if token is not None and token.start() <= offset else None
    if not levels or (inside is not None and inside.lastgroup == "comment"):
        return None
    *outer, level = levels
    segments = outer if level.wants_key else levels
    start, end = (offset, offset) if inside is None or inside.lastgroup == "mark" else _word(text, inside, offset)
    return Cursor(tuple(above.segment for above in segments), level.wants_key, start, end, tuple(level.keys))


def _word(text: str, token: re.Match[str], offset: int) -> tuple[int, int]:
    """Return where the word around an offset begins and ends.

    A string that is being typed has no end yet and swallows what follows; of that, only letters belong to it.
    """
    if _WHOLE.fullmatch(token[0]):
        return token.start(), token.end()
    rest = _REST.match(text, offset)
    assert rest is not None, "the pattern also matches nothing"
    return token.start(), rest.end()


def _take(token: re.Match[str], levels: list[_Level], top: list[str]) -> None:
    """Follow one token."""
    mark = token[0] if token.lastgroup == "mark" else ""
    if mark in ("{", "["):
        levels.append(_Level(mark))
    elif not levels:
        return
    elif mark in ("}", "]"):
        levels.pop()
    elif mark in (":", ","):
        levels[-1].after_colon = mark == ":"
    elif token.lastgroup == "string" and levels[-1].wants_key:
        levels[-1].keys.append(token[0].strip('"'))
        if len(levels) == 1:
            top.append(levels[-1].keys[-1])
