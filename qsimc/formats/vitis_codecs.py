"""How Vitis AI spells values: JSON's own booleans and numbers, and words of its own.

What its program takes for absent, or takes although it means nothing, is said here; what its program prints at a
value is found by running its checks in its order (vitis_program.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from qsimc.diagnostics import Edit, Fix, did_you_mean
from qsimc.formats.decoded import Codec, Decoded, Problem
from qsimc.ir.config import Value
from qsimc.spec import keymap
from qsimc.syntax.json import Array, Json, Scalar, kind

NARROWEST, WIDEST = 2, 32
"""Bits of an integer grid.  The program also takes 1, and then divides by zero."""


def _bad(value: Json, expected: str, *helps: str, fixes: tuple[Fix, ...] = ()) -> Decoded:
    return Decoded(
        None, (Problem(f"expected {expected}, found {_shown(value)}", value.span, helps=helps, fixes=fixes),)
    )


def _absent(value: Json) -> Decoded:
    message = f"{_shown(value)} counts as absent: the key has no effect"
    return Decoded(None, (Problem(message, value.span, helps=("leave the key out, or say a value",), absent=True),))


def _shown(value: Json) -> str:
    return f"`{json.dumps(value.value)}`" if isinstance(value, Scalar) else kind(value)


def true_or_false(value: Json) -> Decoded:
    """JSON's `true` or `false`; null counts as absent."""
    if isinstance(value, Scalar) and isinstance(value.value, bool):
        return Decoded(value.value)
    if isinstance(value, Scalar) and value.value is None:
        return _absent(value)
    return _bad(value, "`true` or `false`", "write it without quotes", fixes=_as_boolean(value))


def switch(value: Json) -> Decoded:
    """A boolean of the whole file: anything else is ignored by the program without a word."""
    return true_or_false(value)


def _as_boolean(value: Json) -> tuple[Fix, ...]:
    if not isinstance(value, Scalar):
        return ()
    word = {"true": "true", "1": "true", "false": "false", "0": "false"}.get(str(value.value).strip().casefold())
    return () if word is None else (Fix(f"write `{word}`", (Edit(value.span, word),), safe=True),)


def integer(value: Json) -> Decoded:
    """A JSON integer; null counts as absent."""
    if isinstance(value, Scalar) and type(value.value) is int:
        return Decoded(value.value)
    if isinstance(value, Scalar) and value.value is None:
        return _absent(value)
    return _bad(value, "an integer")


def bit_width(value: Json) -> Decoded:
    """An integer from 2 to 32; 0, null and "" count as absent, and `true` counts as 1."""
    if _is_falsy(value):
        return _absent(value)
    said = value.value if isinstance(value, Scalar) else None
    if type(said) is int and NARROWEST <= said <= WIDEST:
        return Decoded(said)
    whole = isinstance(said, float) and said.is_integer() and NARROWEST <= said <= WIDEST
    meant = int(said) if isinstance(said, float) and whole else None
    fixes = () if meant is None else (Fix(f"write `{meant}`", (Edit(value.span, str(meant)),), safe=True),)
    problems = _bad(value, f"an integer from {NARROWEST} to {WIDEST}", fixes=fixes).problems
    # The program goes on with 1, and with true as 1; later comparisons of widths are then about that number.
    return Decoded(1 if said in (1, True) and not isinstance(said, float) else None, problems)


def percentage(value: Json) -> Decoded:
    """A number above 0 and up to 100, which must be written with a point."""
    if isinstance(value, Scalar) and value.value is None:
        return _absent(value)
    said = value.value if isinstance(value, Scalar) else None
    if isinstance(said, float) and 0.0 < said <= 100.0:
        return Decoded(said)
    if type(said) is int and 0 < said <= 100:
        fix = Fix(f"write `{said}.0`", (Edit(value.span, f"{said}.0"),), safe=True)
        problem = Problem(f"expected a number with a point, found `{said}`", value.span, fixes=(fix,))
        return Decoded(float(said), (problem,))
    return _bad(value, "a number above 0.0 and up to 100.0")


def text_or_null(value: Json) -> Decoded:
    """A string, or null for none."""
    if isinstance(value, Scalar) and (value.value is None or isinstance(value.value, str)):
        return Decoded(value.value)
    return _bad(value, "a string")


def device(value: Json) -> Decoded:
    """A string; which ones there are, the reader knows."""
    if isinstance(value, Scalar) and isinstance(value.value, str):
        return Decoded(value.value)
    return _bad(value, 'a device such as `"DPU"`')


def kinds(value: Json) -> Decoded:
    """An array of the vendor's words for tensors, as roles."""
    if not isinstance(value, Array):
        return _bad(value, "an array of tensors", 'for example `["input", "weights", "bias", "activation"]`')
    roles = keymap.load("vitis").roles
    found: list[Value] = []
    problems: list[Problem] = []
    for index, item in enumerate(value.items):
        word = item.value if isinstance(item, Scalar) else None
        if isinstance(word, str) and word in roles:
            found.append(roles[word])
            continue
        message = f"no tensor is called {_shown(item)}"
        near = did_you_mean(str(word), tuple(roles))
        fixes = () if near is None else (Fix(f"write `{near}`", (Edit(item.span, f'"{near}"'),)),)
        helps = (f"did you mean `{near}`?",) if near else (f"tensors: {', '.join(roles)}",)
        problems.append(Problem(message, item.span, f"/{index}", helps, fixes))
    return Decoded(tuple(found), tuple(problems))


def _word(key: str) -> Codec:
    """Return the codec of a key that takes words: null and "" count as absent."""

    def decode(value: Json) -> Decoded:
        words = keymap.load("vitis").words[key]
        said = value.value if isinstance(value, Scalar) else None
        if isinstance(said, str) and said in words:
            return Decoded(words[said])
        if _is_falsy(value):
            return _absent(value)
        near = next((word for word, meant in words.items() if meant == said), did_you_mean(str(said), tuple(words)))
        listed = ", ".join(f'`"{word}"`' for word in words)
        fixes = () if near is None else (Fix(f"write `{near}`", (Edit(value.span, f'"{near}"'),)),)
        helps = (f"did you mean `{near}`?",) if near else tuple(_belongs(said))
        return _bad(value, f"one of {listed}", *helps, fixes=fixes)

    return decode


def _belongs(said: object) -> Iterator[str]:
    """Yield which other key a word is meant for, if it is the word of one."""
    for key, words in keymap.load("vitis").words.items():
        if said in words:
            yield f"`{said}` is a `{key}`: write it there"


def _is_falsy(value: Json) -> bool:
    """Say whether Python takes a value for false, which the program takes for absent."""
    if isinstance(value, Scalar):
        return not value.value
    return not (value.items if isinstance(value, Array) else value.members)


CODECS: dict[str, Codec] = {
    "true_or_false": true_or_false,
    "switch": switch,
    "integer": integer,
    "bit_width": bit_width,
    "percentage": percentage,
    "text_or_null": text_or_null,
    "device": device,
    "kinds": kinds,
    "method": _word("method"),
    "datatype": _word("datatype"),
    "round_mode": _word("round_mode"),
    "scale_type": _word("scale_type"),
    "calib_statistic_method": _word("calib_statistic_method"),
}
