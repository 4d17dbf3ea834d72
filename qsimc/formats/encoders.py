"""How neutral values are spelled in vendors' files: what codecs read, written back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from qsimc.ir.config import Value
from qsimc.ir.quant import precision
from qsimc.spec.keymap import KeyTable

Encoder: TypeAlias = Callable[[KeyTable, Value], Any]


class NoWordError(ValueError):
    """The format has no word for a value; the message says so."""


def encode(table: KeyTable, codec: str, value: Value) -> Any:
    """Return a neutral value as JSON of a vendor's file.

    Raises:
        NoWordError: the format cannot say it.
    """
    if codec in table.words:
        return _word(table, codec, value)
    return _ENCODERS[codec](value)


def nearest(table: KeyTable, codec: str, value: Value) -> str | None:
    """Return the vendor's word that stands nearest to a value which it has none for, if one does."""
    return table.instead.get(codec, {}).get(str(value))


def _word(table: KeyTable, codec: str, value: Value) -> str:
    found = next((word for word, neutral in table.words[codec].items() if neutral == value), None)
    if found is None:
        raise NoWordError(f"has no `{value}`; there are {', '.join(f'`{w}`' for w in table.words[codec])}")
    return found


def _boolean(value: Value) -> str:
    return "True" if value else "False"


def _same(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _truth(value: Value) -> bool:
    return bool(value)


def _real(value: Value) -> float:
    if not isinstance(value, (int, float)):
        raise NoWordError("takes a number")
    return float(value)


def _limits(value: Value) -> dict[str, Any]:
    if not isinstance(value, tuple) or value[0] is None:
        raise NoWordError("has no range without a lower bound")
    low, high = value
    return {"min": low} if high is None else {"min": low, "max": high}


def _kernels(value: Value) -> list[dict[str, Any]]:
    """Return pairs of activation and param precision; one of another shape cannot be said."""
    if not isinstance(value, tuple):
        raise NoWordError("takes a list of kernels")
    pairs = (kernel if isinstance(kernel, tuple) else (kernel,) for kernel in value)
    return [dict(zip(("activation", "param"), map(_kernel, pair), strict=False)) for pair in pairs]


def _kernel(word: Value) -> dict[str, Any]:
    try:
        family, bits = precision(str(word))
    except ValueError:
        raise NoWordError(f"has no kernel of `{word}`") from None
    if family not in ("int", "float") or bits not in (4, 8, 16, 32):
        raise NoWordError(f"has no kernel of `{word}`")
    return {"bitwidth": bits, "dtype": str(family)}


_ENCODERS: dict[str, Callable[[Value], Any]] = {
    "bool": _boolean,
    "text": _same,
    "texts": _same,
    "chain": _same,
    "range": _limits,
    "kernels": _kernels,
    "op_kernels": _kernels,
    "true_or_false": _truth,
    "switch": _truth,
    "integer": _same,
    "bit_width": _same,
    "percentage": _real,
    "text_or_null": _same,
    "device": _same,
}
