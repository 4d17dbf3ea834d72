"""Ways of quantizing a tensor that a device has: of each property one value, or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Setting, Value
from qsimc.ir.predicate import Both, Compare, Either, Member, Predicate, Ref
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Object, Scalar

ROLES: Mapping[str, str] = {"activations": "input", "weights": "weight"}

_FIELDS: Mapping[str, tuple[str, Mapping[str, bool]]] = {
    "bits": ("bits", {}),
    "mode": ("symmetric", {"symmetric": True, "asymmetric": False}),
    "granularity": ("per_channel", {"perchannel": True, "pertensor": False}),
    "narrow_range": ("narrow_range", {}),
    "signedness_to_force": ("signed", {}),
}
"""The neutral field of each key, and its words."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The values that one property may have, the preferred first."""

    field: str
    values: tuple[Value, ...]
    span: Span
    pointer: str


Space = tuple[Allowed, ...]


def space(value: Json, pointer: str, findings: Findings) -> Space | None:
    """Return one way of quantizing, or None after reporting that it is none."""
    if not isinstance(value, Object):
        findings.wrong(value, "a way of quantizing", "an object", pointer)
        return None
    found = members(value)
    for other in found.values():
        if other.key not in _FIELDS:
            at = below(pointer, other.key)
            findings.unknown(other, _FIELDS, "a way of quantizing", at, refused=False)
    allowed: list[Allowed] = []
    for key, (field, words) in _FIELDS.items():
        if (member := found.get(key)) is None:
            continue
        at = below(pointer, key)
        items = member.value.items if isinstance(member.value, Array) else (member.value,)
        read = [_value(key, words, item) for item in items]
        if None in read or not read:
            expected = {"bits": "a whole number from 2 to 32", **dict.fromkeys(("mode", "granularity"), "")}.get(key)
            choices = " or ".join(f"`{word}`" for word in words) or expected or "true or false"
            findings.bad(f"`{key}` is {choices}, or an array of these", member.value.span, at)
            continue
        allowed.append(Allowed(field, tuple(dict.fromkeys(read)), member.value.span, at))
    return tuple(allowed)


def _value(key: str, words: Mapping[str, bool], item: Json) -> Value:
    value = item.value if isinstance(item, Scalar) else None
    if words:
        return words.get(value) if isinstance(value, str) else None
    if key == "bits":
        whole = isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= 32
        return value if whole else None
    return value if isinstance(value, bool) else None


def chosen(way: Space) -> Iterator[Setting]:
    """Yield what NNCF chooses of a way of quantizing where nobody asks for anything else."""
    for allowed in way:
        yield Setting(allowed.field, allowed.values[0], allowed.span, allowed.pointer)


def claim(ways: Sequence[Space], span: Span) -> Predicate:
    """Return the claim that a tensor is quantized in one of several ways."""
    claims = tuple(_both(way, span) for way in ways)
    return claims[0] if len(claims) == 1 else Either(claims, span)


def _both(way: Space, span: Span) -> Predicate:
    parts: tuple[Predicate, ...] = tuple(
        Compare(Ref(allowed.field), "==", allowed.values[0], allowed.span)
        if len(allowed.values) == 1
        else Member(Ref(allowed.field), allowed.values, allowed.span)
        for allowed in way
    )
    return parts[0] if len(parts) == 1 else Both(parts, span)
