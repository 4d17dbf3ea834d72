"""How names, strings and numbers are spelled in .qsim, such that reading gives back the same."""

from __future__ import annotations

import json
import math
import re

KEYWORDS = frozenset(
    {
        "and", "as", "dialect", "extends", "forbid", "fuse", "in", "let", "model", "not", "option", "or", "require",
        "target",
    }
)  # fmt: skip
"""Names that mean something to the grammar somewhere; a test holds them to grammar/qsim.lark."""

_NAME = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|-)\w+)*")
_EXPONENT = re.compile(r"e\+?(-?)0*(?=\d)")
_MAX_DIGITS = 400  # of one integer; the longest float64 needs 309, and int() is quadratic


def is_name(text: str) -> bool:
    """Say whether a text is a name of the grammar and none of its keywords."""
    return text not in KEYWORDS and _NAME.fullmatch(text) is not None


def name(text: str) -> str:
    """Return a name of an operator or a tensor: bare where it is one of the grammar's, else in backticks."""
    return text if is_name(text) else _quoted(text, "`")


def string(text: str) -> str:
    """Return a string in double quotes."""
    return _quoted(text, '"')


def word(text: str) -> str:
    """Return a value that is a text: bare where it then reads as a text, else in double quotes.

    `true` is a boolean, and in a restriction `bias.bits` is the field of a neighbour.
    """
    return text if is_name(text) and "." not in text and text not in ("true", "false") else string(text)


def number(value: float) -> str:
    """Return the shortest text that reads as the same number, an integer as an integer and a real as a real."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return _EXPONENT.sub(r"e\1", repr(value))


def read_name(token: str) -> str:
    """Return the name that a token spells, bare or in backticks."""
    return _unescaped(token[1:-1].replace('"', '\\"')) if token.startswith("`") else token


def read_string(token: str) -> str:
    """Return the text that stands in double quotes."""
    return _unescaped(token[1:-1])


def read_number(token: str) -> int | float:
    """Return the number that a token spells; an integer that no real could hold is infinite."""
    return int(token) if len(token) <= _MAX_DIGITS and token.lstrip("-").isdigit() else float(token)


def _quoted(text: str, quote: str) -> str:
    """Return a text between quotes, with JSON's escapes for quotes, backslashes, and what cannot be seen."""
    return f"{quote}{''.join(_escaped(character, quote) for character in text)}{quote}"


def _escaped(character: str, quote: str) -> str:
    if character == quote == "`":
        return "\\u0060"  # JSON has no shorter escape for it
    if character.isprintable() and character not in ("\\", quote):
        return character
    return json.dumps(character)[1:-1]


def _unescaped(text: str) -> str:
    return str(json.loads(f'"{text}"', strict=False))  # a tab may stand for itself
