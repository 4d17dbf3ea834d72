"""Values of ONNX Runtime's settings, taken from JSON one kind at a time; what is of another kind is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from qsimc.diagnostics import did_you_mean
from qsimc.formats.foreign._ort.words import ort_words
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.value import Value
from qsimc.syntax.json import Array, Json, Object, Scalar

Taken = Value
"""A value of the kind asked for; None where there is none, reported unless it is null."""


def taken(kind: str, value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    """Return the value of one setting, as specs/formats/ort.toml names its kind."""
    if isinstance(value, Scalar) and value.value is None:
        return None
    return _KINDS[kind](value, where, pointer, findings)


def strings(value: Json, where: str, pointer: str, findings: Findings) -> tuple[Scalar, ...]:
    """Return the strings of a list, each with its place."""
    if not isinstance(value, Array):
        findings.wrong(value, where, "a list of strings", pointer)
        return ()
    found: list[Scalar] = []
    for index, item in enumerate(value.items):
        if isinstance(item, Scalar) and isinstance(item.value, str):
            found.append(item)
        else:
            findings.wrong(item, f"an item of {where}", "a string", below(pointer, index))
    return tuple(found)


def _names(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    return tuple(str(item.value) for item in strings(value, where, pointer, findings))


def _flag(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    if isinstance(value, Scalar) and isinstance(value.value, bool):
        return value.value
    findings.bad(f"{where} must be true or false", value.span, pointer)
    return None


def _integer(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    if isinstance(value, Scalar) and isinstance(value.value, int) and not isinstance(value.value, bool):
        return value.value
    findings.bad(f"{where} must be a whole number", value.span, pointer)
    return None


def _real(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    number = value.value if isinstance(value, Scalar) else None
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        return float(number) if math.isfinite(number) else None  # the parser has reported what is not finite
    findings.bad(f"{where} must be a number", value.span, pointer)
    return None


def _word(choices: Mapping[str, object], of: str) -> Callable[[Json, str, str, Findings], Taken]:
    def word(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
        said = value.value if isinstance(value, Scalar) else None
        if isinstance(said, str) and said in choices:
            return said
        near = did_you_mean(said, tuple(choices)) if isinstance(said, str) else None
        help_ = f"did you mean `{near}`?" if near else f"write one of {', '.join(f'`{c}`' for c in choices)}"
        findings.bad(f"{where} must be the name of a {of}", value.span, pointer, help_)
        return None

    return word


def _axes(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    """Return an object of operator types and axes as pairs."""
    if not isinstance(value, Object):
        findings.wrong(value, where, "an object of operator types and axes", pointer)
        return None
    found = ((key, _integer(m.value, f"`{key}`", below(pointer, key), findings)) for key, m in members(value).items())
    return tuple((key, axis) for key, axis in found if axis is not None)


def _any(value: Json, where: str, pointer: str, findings: Findings) -> Taken:
    return None


_KINDS: dict[str, Callable[[Json, str, str, Findings], Taken]] = {
    "names": _names,
    "flag": _flag,
    "integer": _integer,
    "real": _real,
    "axes": _axes,
    "any": _any,
    "type": _word(ort_words().types, "QuantType"),
    "method": _word(ort_words().methods, "CalibrationMethod"),
    "format": _word({"QDQ": "", "QOperator": ""}, "QuantFormat"),
}
