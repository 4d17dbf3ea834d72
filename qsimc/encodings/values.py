"""Taking JSON values for what an encodings file must hold: numbers, flags, lists of numbers, nested lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from qsimc.encodings.entry import Path

DEEPEST = 8
"""Dimensions that a nested list may have; the tensors of real models have five at most."""

FLOATS = frozenset({float})
NUMBERS = frozenset({int, float})
"""Types of numbers; not that of `true`, which Python takes for one too."""


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
    return _floats(value, where, (len(value),))


def wholes(values: Sequence[float], where: Path, low: int, high: int) -> tuple[int, ...]:
    """Return integers within bounds, as `record` does; a wrong one stands at its position below `where`."""
    if all(low <= value <= high for value in (min(values), max(values))) and all(map(float.is_integer, values)):
        return tuple(map(int, values))
    return tuple(whole(value, (*where, position), low, high) for position, value in enumerate(values))


def nested(value: object, where: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the shape and the numbers, in row-major order, of a number (shape ()) or of lists of lists.

    Raises:
        MalformedError: lists of one level differ in length, or one is empty.
    """
    shape: tuple[int, ...] = ()
    level: tuple[Any, ...] = (value,)
    while isinstance(level[0], list):
        length = len(level[0])
        if length == 0 or len(shape) == DEEPEST:
            place = _place(where, 0, shape)
            raise MalformedError(f"`{where[-1]}` holds an empty list, or lists nested too deep", place)
        for position, items in enumerate(level):
            if not isinstance(items, list) or len(items) != length:
                raise MalformedError(f"the lists of `{where[-1]}` differ in length", _place(where, position, shape))
        level = tuple(chain.from_iterable(level))
        shape = (*shape, length)
    return shape, _floats(level, where, shape)


def _floats(values: Sequence[Any], where: Path, shape: tuple[int, ...]) -> tuple[float, ...]:
    """Return numbers as floats, as `record` does.  Files hold millions: what is no plain number is looked for last."""
    if FLOATS.issuperset(map(type, values)):
        return tuple(values)
    if NUMBERS.issuperset(map(type, values)):
        with suppress(OverflowError):  # of an integer beyond every float
            return tuple(map(float, values))
    return tuple(number(value, _place(where, position, shape)) for position, value in enumerate(values))


def _place(where: Path, position: int, shape: tuple[int, ...]) -> Path:
    """Return where the value at a row-major position of nested lists stands."""
    steps: list[int] = []
    for length in reversed(shape):
        position, step = divmod(position, length)
        steps.append(step)
    return (*where, *reversed(steps))


def unknown(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields that are not known."""
    return {key: value for key, value in fields.items() if key not in known}
