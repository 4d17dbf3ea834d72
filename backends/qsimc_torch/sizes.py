"""Sizes of tensors as integers of a module: numbers where the model states them, formulas over shapes elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Item: TypeAlias = "int | float | bool | Size | Formula"
Value: TypeAlias = "NDArray[np.object_]"
"""Items in the shape of the tensor that they are the values of."""


class Undecided(Exception):  # noqa: N818 - it is an answer, not a failure
    """It depends on what the model is fed, and not by its shape alone."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long a tensor is along an axis."""

    tensor: str
    axis: int


@dataclass(frozen=True, slots=True)
class Formula:
    """An integer made of two by `+`, `-`, `*`, `//`, `%`, `max`, `min`, or by `/`, which divides towards zero."""

    operator: str
    left: Item
    right: Item


def plus(a: Item, b: Item) -> Item:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a + b
    if a == 0 or b == 0:
        return b if a == 0 else a
    return Formula("+", _whole(a), _whole(b))


def minus(a: Item, b: Item) -> Item:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a - b
    if a == b:
        return 0
    return a if b == 0 else Formula("-", _whole(a), _whole(b))


def times(a: Item, b: Item) -> Item:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a * b
    if a == 1 or b == 1:
        return b if a == 1 else a
    return Formula("*", _whole(a), _whole(b))


def quotient(a: Item, b: Item) -> Item:
    """Divide as C does: towards zero."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        whole = abs(int(a)) // abs(int(b))
        return whole if (a < 0) == (b < 0) else -whole
    if b == 0:
        raise Undecided
    if b == 1:
        return a
    return Formula("//" if lowest(a) >= 0 and lowest(b) >= 0 else "/", _whole(a), _whole(b))


def remainder(a: Item, b: Item) -> Item:
    """Divide as Python does, and ONNX's `Mod` of integers: what is left has the sign of the divisor."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a % b
    if b == 0:
        raise Undecided
    return 0 if b == 1 else Formula("%", _whole(a), _whole(b))


def largest(a: Item, b: Item) -> Item:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return max(a, b)
    return a if a == b else Formula("max", _whole(a), _whole(b))


def smallest(a: Item, b: Item) -> Item:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return min(a, b)
    return a if a == b else Formula("min", _whole(a), _whole(b))


def equal(a: Item, b: Item) -> bool:
    """Return whether two are the same; no size is negative, and so none is -1.

    Raises:
        Undecided: it depends on the sizes.
    """
    if a == b:
        return True
    if isinstance(a, int | float) and isinstance(b, int | float):
        return False
    if (isinstance(b, int | float) and lowest(a) > b) or (isinstance(a, int | float) and lowest(b) > a):
        return False
    raise Undecided


def less(a: Item, b: Item) -> bool:
    """Return whether one is less than another.

    Raises:
        Undecided: it depends on the sizes.
    """
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a < b
    if a == b or (isinstance(b, int | float) and lowest(a) >= b):
        return False
    if isinstance(a, int | float) and lowest(b) > a:
        return True
    raise Undecided


def lowest(item: Item) -> float:
    """Return what an item is at least."""
    if isinstance(item, int | float):
        return item
    if isinstance(item, Size):
        return 0
    left, right = lowest(item.left), lowest(item.right)
    match item.operator:
        case "+":
            return left + right
        case "*":
            return left * right if left >= 0 and right >= 0 else -inf
        case "//":
            return 0
        case "%":
            return 0 if right >= 0 else -inf
        case "max":
            return max(left, right)
        case "min":
            return min(left, right)
    return -inf


def parts(item: Item) -> Iterator[Size | Formula]:
    """Yield the sizes and formulas in an item, itself included."""
    if isinstance(item, Formula):
        yield from parts(item.left)
        yield from parts(item.right)
    if isinstance(item, Size | Formula):
        yield item


_LEVELS = {"+": 1, "-": 1, "*": 2, "//": 2, "%": 2}
ATOM = 3
"""The level of names, calls and literals, which need no brackets anywhere."""


def written(item: Item, text: Callable[[Item, int], str], level: int = 0) -> str:
    """Return an item as source text, in brackets if it binds less than `level`.

    Args:
        text: returns the text of what a formula is made of, at the level at which it stands.
    """
    if not isinstance(item, Formula):
        return repr(item)
    left, right, own = item.left, item.right, _LEVELS.get(item.operator, ATOM)
    if item.operator == "/":
        return f"int({text(left, 2)} / {text(right, ATOM)})"
    if own == ATOM:
        return f"{item.operator}({text(left, 0)}, {text(right, 0)})"
    whole = f"{text(left, own)} {item.operator} {text(right, own + 1)}"
    return f"({whole})" if own < level else whole


def _whole(item: Item) -> Item:
    """Return an item for a formula, which is about integers; of floats only those that are whole are."""
    if isinstance(item, float):
        if not item.is_integer():
            raise Undecided
        return int(item)
    return item
