"""What a restriction claims of one node: three-valued, so that what nobody said breaks no rule.

A predicate speaks of one tensor (`symmetric`, `bits <= 8`) or of a neighbour by its role (`bias.bits`).  A value is
true, false or unknown; unknown is what a comparison with an unsaid field gives, and Kleene's logic carries it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import TypeAlias

from qsimc.ir.quant import precision
from qsimc.ir.value import Value
from qsimc.source import Span


@dataclass(frozen=True, slots=True)
class Ref:
    """A field of the tensor in question, or with a role that of another tensor of the node."""

    field: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Compare:
    """`bits <= 8`, `output.bits == bias.bits`; a flag word such as `symmetric` compares with true or false."""

    left: Ref
    operator: str
    right: Ref | Value
    span: Span


@dataclass(frozen=True, slots=True)
class Member:
    """`calib in (diffs | minmax)`."""

    left: Ref
    values: tuple[Value, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Not:
    of: Predicate
    span: Span


@dataclass(frozen=True, slots=True)
class Both:
    """True if every part is."""

    parts: tuple[Predicate, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Either:
    """True if some part is."""

    parts: tuple[Predicate, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Implies:
    """False only if the premise is true and the conclusion false."""

    premise: Predicate
    conclusion: Predicate
    span: Span


Predicate: TypeAlias = "Compare | Member | Not | Both | Either | Implies"

Facts: TypeAlias = Mapping[str, Mapping[str, Value]]
"""What is known of a node: role -> field -> value; what is missing or None is unknown."""

_ORDERS: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def evaluate(predicate: Predicate, facts: Facts, role: str) -> bool | None:
    """Return whether a predicate holds for the tensor of one role; None if that cannot be known."""
    match predicate:
        case Compare(left, operator, right):
            wanted = _value(right, facts, role) if isinstance(right, Ref) else right
            return _compare(left.field, _value(left, facts, role), operator, wanted)
        case Member(left, values):
            said = _value(left, facts, role)
            return _any(_compare(left.field, said, "==", value) for value in values)
        case Not(of):
            return _not(evaluate(of, facts, role))
        case Both(parts):
            return _not(_any(_not(evaluate(part, facts, role)) for part in parts))
        case Either(parts):
            return _any(evaluate(part, facts, role) for part in parts)
        case Implies(premise, conclusion):
            return _any((_not(evaluate(premise, facts, role)), evaluate(conclusion, facts, role)))


def refs(predicate: Predicate) -> Iterator[Ref]:
    """Yield the fields that a predicate reads, the most telling first.

    A conclusion comes before its premise, and the last part of a conjunction before those that lead to it.
    """
    match predicate:
        case Compare(left, _, right):
            yield left
            if isinstance(right, Ref):
                yield right
        case Member(left, _):
            yield left
        case Not(of):
            yield from refs(of)
        case Both(parts):
            for part in reversed(parts):
                yield from refs(part)
        case Either(parts):
            for part in parts:
                yield from refs(part)
        case Implies(premise, conclusion):
            yield from refs(conclusion)
            yield from refs(premise)


def values_allowed(
    predicate: Predicate, ref: Ref, domain: Iterable[Value], facts: Facts, role: str, *, wanted: bool = True
) -> tuple[Value, ...]:
    """Return the values of a domain with which a field makes the predicate `wanted`, all else as it is."""
    at = ref.role or role
    return tuple(
        value
        for value in domain
        if evaluate(predicate, {**facts, at: {**facts.get(at, {}), ref.field: value}}, role) is wanted
    )


def _value(ref: Ref, facts: Facts, role: str) -> Value:
    return facts.get(ref.role or role, {}).get(ref.field)


def _compare(field: str, said: Value, operator: str, wanted: Value) -> bool | None:
    if said is None or wanted is None:
        return None
    if operator in _ORDERS:
        if not isinstance(said, (int, float)) or not isinstance(wanted, (int, float)):
            return None
        return _ORDERS[operator](said, wanted)
    equal = said == wanted or (field == "type" and wanted == _family(said))
    return equal if operator == "==" else not equal


def _family(word: Value) -> str | None:
    """Return the number family of a type with its width: `float16` is a float."""
    try:
        return str(precision(str(word))[0])
    except ValueError:
        return None


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _any(values: Iterable[bool | None]) -> bool | None:
    found: bool | None = False
    for value in values:
        if value:
            return True
        if value is None:
            found = None
    return found
