"""Taking JSON values for what an encodings file must hold: numbers, flags, lists of numbers, nested lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsimc.encodings.entry import Path

DEEPEST = 8
"""Dimensions that a nested list may have; the tensors of real models have five at most."""


class MalformedError(Exception):
    """A value is not what its place asks for.  The message is the finding's; `where` is the value's place."""

    def __init__(self, message: str, where: Path) -> None:
        super().__init__(message)
        self.where = where


def record(value: object, where: Path) -> Mapping[str, Any]:
    """Return an object.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(value, dict):
        raise MalformedError("an encoding is an object", where)
    return value


def required(fields: Mapping[str, Any], key: str, where: Path) -> Any:
    """Return the value of a key.

    Raises:
        MalformedError: the object has no such key.
    """
    if key not in fields:
        raise MalformedError(f"the encoding has no `{key}`", where)
    return fields[key]


def text(value: object, where: Path) -> str:
    """Return a string, as `record` does."""
    if not isinstance(value, str) or not value:
        raise MalformedError(f"`{where[-1]}` is not a name", where)
    return value


def number(value: object, where: Path) -> float:
    """Return a number, infinities and NaN included, as `record` does."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MalformedError(f"`{where[-1]}` is not a number", where)
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def whole(value: object, where: Path, low: int, high: int) -> int:
    """Return an integer within bounds, as `record` does."""
    found = number(value, where)
    if not (low <= found <= high and found.is_integer()):
        raise MalformedError(f"`{where[-1]}` is not a whole number from {low} to {high}", where)
    return int(found)


def flag(value: object, where: Path) -> bool:
    """Return a truth value, which older versions write as a string, as `record` does."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    raise MalformedError(f"`{where[-1]}` is neither true nor false", where)


def numbers(value: object, where: Path) -> tuple[float, ...]:
    """Return a list of numbers, as `record` does."""
    if not isinstance(value, list) or not value:
        raise MalformedError(f"`{where[-1]}` is not a list of numbers", where)
    return tuple(number(item, (*where, position)) for position, item in enumerate(value))


def nested(value: object, where: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the shape and the numbers, in row-major order, of a number (shape ()) or of lists of lists.

    Raises:
        MalformedError: lists of one level differ in length, or one is empty.
    """
    shape: list[int] = []
    level = [(value, where)]
    while level and isinstance(level[0][0], list):
        length = len(level[0][0])
        if length == 0 or len(shape) == DEEPEST:
            raise MalformedError(f"`{where[-1]}` holds an empty list, or lists nested too deep", level[0][1])
        for items, place in level:
            if not isinstance(items, list) or len(items) != length:
                raise MalformedError(f"the lists of `{where[-1]}` differ in length", place)
        level = [
            (item, (*place, i)) for items, place in level if isinstance(items, list) for i, item in enumerate(items)
        ]
        shape.append(length)
    return tuple(shape), tuple(number(item, place) for item, place in level)


def unknown(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields that are not known."""
    return {key: value for key, value in fields.items() if key not in known}
