"""The shapes that nearly every entry of an encodings file has, recognized where the entry is also sound.

Each function returns how many strings an entry holds, keys included: what `quick.findings` counts.  It returns 0 for
an entry that is of another shape, or wrong, or merely unusual; 0 says nothing about it.

Values are those of a JSON decoder: of the exact types bool, int, float, str, list, dict and None.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from qsimc.encodings.lint import CLOSE, SMALLEST
from qsimc.encodings.values import FLOATS, NUMBERS

_WIDEST = 32
"""Bits; every integer of such a grid is a float."""

_OF_0 = ("bitwidth", "dtype", "is_symmetric", "scale", "offset", "min", "max")
_OF_1 = ("name", "bw", "dtype", "enc_type", "is_sym", "scale", "offset")
_OF_2 = ("name", "output_dtype", "y_scale")
_OF_NATIVE = (
    "bits", "signed", "symmetric", "scale", "zero_point", "qmin", "qmax", "min", "max", "axis", "numerics", "calib",
)  # fmt: skip
_fields_0, _fields_1, _fields_2, _fields_native = (itemgetter(*keys) for keys in (_OF_0, _OF_1, _OF_2, _OF_NATIVE))

_GRIDS = {
    word: (bits, bits_below)
    for bits in range(1, _WIDEST + 1)
    for word, bits_below in ((f"uint{bits}", 0), (f"int{bits}", 1 << bits - 1))
}
"""ONNX's integer types: their width, and how many integers are below zero."""

_FLAGS = {"True": True, "False": False}


def entry_0(value: Any) -> int:
    """Recognize a list of integer records of version 0.6.1, everything said in each."""
    if type(value) is not list or not value:
        return 0
    try:
        bitwidth, dtype, flag, scale, offset, low, high = zip(*map(_fields_0, value), strict=True)
    except (KeyError, TypeError):  # a field is missing, or an item is no object
        return 0
    many, bits, symmetric = len(value), bitwidth[0], flag[0]
    strings = 1
    if type(symmetric) is str:
        symmetric, strings = _FLAGS.get(symmetric), 2
    if (
        type(bits) is not int
        or type(symmetric) is not bool
        or dtype[0] != "int"
        or any(column.count(column[0]) != many for column in (bitwidth, dtype, flag))
        or sum(map(len, value)) != many * len(_OF_0)
        or not NUMBERS.issuperset(map(type, chain(low, high)))
        or not _sound(bits, symmetric, scale, offset)
        or not _agree(scale, offset, low, high, (1 << bits) - 1)
    ):
        return 0
    return many * (len(_OF_0) + strings)


def entry_1(value: Any) -> int:
    """Recognize an integer record of version 1.0.0 for a tensor or its channels."""
    try:
        name, bits, dtype, kind, symmetric, scale, offset = _fields_1(value)
    except (KeyError, TypeError):
        return 0
    if (
        type(name) is not str
        or not name
        or type(bits) is not int
        or type(symmetric) is not bool
        or dtype != "INT"
        or len(value) != len(_OF_1)
        or type(scale) is not list
        or type(offset) is not list
        or not (kind == "PER_CHANNEL" or (kind == "PER_TENSOR" and len(scale) == 1))
        or not _sound(bits, symmetric, scale, offset)
    ):
        return 0
    return len(_OF_1) + 3


def entry_2(value: Any) -> int:
    """Recognize an integer record of versions 2.x for a whole tensor."""
    try:
        name, dtype, scale = _fields_2(value)
        zero = value.get("y_zero_point", 0)
    except (KeyError, TypeError):
        return 0
    if (
        type(name) is not str
        or not name
        or type(dtype) is not str
        or dtype not in _GRIDS
        or type(scale) is not float
        or type(zero) is not int
        or len(value) != len(_OF_2) + ("y_zero_point" in value)
        or scale < SMALLEST
    ):
        return 0
    bits, below = _GRIDS[dtype]
    return len(value) + 2 if 0 <= zero + below < 1 << bits else 0


def entry_native(value: Any) -> int:
    """Recognize an encoding that qsimc wrote."""
    try:
        bits, signed, symmetric, scale, zero, qmin, qmax, low, high, axis, numerics, calib = _fields_native(value)
    except (KeyError, TypeError):
        return 0
    lists = (scale, zero, low, high)
    if (
        any(type(whole) is not int for whole in (bits, qmin, qmax))
        or any(type(flag) is not bool for flag in (signed, symmetric))
        or any(type(word) is not str for word in (numerics, calib))
        or any(type(numbers) is not list or len(numbers) != len(scale) for numbers in lists)
        or len(value) != len(_OF_NATIVE)
        or not (type(axis) is int and -64 <= axis < 64 if axis is not None else len(scale) == 1)
        or not 1 <= bits <= _WIDEST
        or qmax - qmin != (1 << bits) - 1
        or not -(1 << _WIDEST) <= qmin <= 0
        or not NUMBERS.issuperset(map(type, chain(zero, low, high)))
    ):
        return 0
    offset = [qmin - z for z in zero]
    sound = _sound(bits, symmetric, scale, offset) and _agree(scale, offset, low, high, qmax - qmin)
    return len(_OF_NATIVE) + 2 if sound else 0


def _sound(bits: int, symmetric: bool, scale: Sequence[Any], offset: Sequence[Any]) -> bool:
    """Say whether scales and offsets are numbers, as many as each other, and what lint lets pass."""
    if not 1 <= bits <= _WIDEST or len(scale) != len(offset):
        return False
    middle = -(1 << bits - 1)
    if len(scale) == 1:  # most entries: in a third of the time
        (s,), (o,) = scale, offset
        if type(s) is not float or s < SMALLEST or type(o) is not int:
            return False
        return o in (middle, middle + 1, 0) if symmetric else 2 * middle < o <= 0
    if not (scale and FLOATS.issuperset(map(type, scale)) and NUMBERS.issuperset(map(type, offset))):
        return False
    if symmetric:
        on_grid = {middle, middle + 1, 0}.issuperset(offset)
    else:
        on_grid = all(2 * middle < o <= 0 and o == int(o) for o in set(offset))
    return on_grid and min(scale) >= SMALLEST


def _agree(
    scale: Sequence[float], offset: Sequence[float], low: Sequence[float], high: Sequence[float], steps: int
) -> bool:
    """Say whether each stated range is that of its scale and offset, by less than lint allows."""
    for s, o, bottom, top in zip(scale, offset, low, high, strict=True):
        close = CLOSE * s
        if abs(bottom - s * o) > close or abs(top - s * (o + steps)) > close:
            return False
    return True
