"""Source text broken into lines as `ruff format` breaks it, so that a formatter leaves generated files alone.

Only what generated code consists of is known: assignments of names and of calls whose arguments are calls, lists and
what fits on a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

WIDTH = 120
INDENT = "    "

_HEAD = re.compile(r"[\w.\[\]]+")
_OPENING, _CLOSING = "([{", ")]}"


def statement(text: str, depth: int, *, comment: str = "") -> list[str]:
    """Return the lines of a statement at a depth of indentation, its comment behind it or else above it."""
    indent = INDENT * depth
    behind = f"{indent}{text}  # {comment}"
    if comment and len(behind) <= WIDTH:
        return [behind]
    above = [f"{indent}# {shortened(comment, WIDTH - len(indent) - 2)}"] if comment else []
    target, equals, value = text.partition(" = ") if _assigns(text) else ("", "", text)
    return above + _broken(f"{indent}{target}{equals}", value, "", indent)


def fits(text: str, depth: int) -> bool:
    """Return whether a statement needs no more than a line."""
    return len(INDENT) * depth + len(text) <= WIDTH


def is_call(text: str) -> bool:
    """Return whether an expression is a call that can be broken inside its brackets."""
    return text.endswith(")") and _bracketed(text) is not None


def signature(name: str, parameters: Sequence[str], returns: str, depth: int) -> list[str]:
    """Return the lines of the head of a function."""
    indent = INDENT * depth
    whole = f"{indent}def {name}({', '.join(parameters)}) -> {returns}:"
    if len(whole) <= WIDTH:
        return [whole]
    return [f"{indent}def {name}(", *(f"{indent}{INDENT}{p}," for p in parameters), f"{indent}) -> {returns}:"]


def shortened(text: str, width: int) -> str:
    """Return the beginning of a text that is too long."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _assigns(text: str) -> bool:
    return re.match(r"[\w., ]+ = ", text) is not None


def _broken(prefix: str, value: str, suffix: str, indent: str) -> list[str]:
    """Return the lines of `prefix value suffix`, broken inside the last brackets of the value if it is too long."""
    whole = f"{prefix}{value}{suffix}"
    parts = _bracketed(value)
    if len(whole) <= WIDTH or parts is None:
        return [whole]
    head, inside, closing = parts
    deeper = indent + INDENT
    opening = f"{prefix}{head}{value[len(head)]}"
    ending = f"{indent}{closing}{suffix}"
    arguments = list(_split(inside))
    if closing == ")" and len(deeper) + len(inside) <= WIDTH:
        return [opening, f"{deeper}{inside}", ending]
    comma = "" if closing == ")" and len(arguments) == 1 else ","
    lines = [opening]
    for argument in arguments:
        keyword, equals, rest = argument.partition("=") if re.match(r"\w+=", argument) else ("", "", argument)
        lines += _broken(f"{deeper}{keyword}{equals}", rest, comma, deeper)
    return [*lines, ending]


def _bracketed(value: str) -> tuple[str, str, str] | None:
    """Return what stands before and in the brackets that a call or a list ends with, and the last of them."""
    closing = value[-1:]
    depth, start = 0, -1
    for position, char in _code(value):
        if char in _OPENING and depth == 0:
            start = position
        depth += (char in _OPENING) - (char in _CLOSING)
    head, inside = value[: max(start, 0)], value[start + 1 : -1]
    called = (closing == ")" and _HEAD.fullmatch(head)) or (closing == "]" and not head)
    return (head, inside, closing) if called and inside and start >= 0 else None


def _split(inside: str) -> Iterator[str]:
    """Yield the parts of what stands inside brackets."""
    depth, start = 0, 0
    for position, char in _code(inside):
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth == 0 and char == ",":
            yield inside[start:position].strip()
            start = position + 1
    if inside[start:].strip():
        yield inside[start:].strip()


def _code(text: str) -> Iterator[tuple[int, str]]:
    """Yield the characters of an expression that are not in a string literal; those hold no quotes."""
    quoted = False
    for position, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted:
            yield position, char
