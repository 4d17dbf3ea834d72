"""Which nodes a rule speaks of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import TypeAlias

from qsimc.ir import lexical


@dataclass(frozen=True, slots=True)
class Everything:
    """Every node: `*`."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The model's own inputs and outputs: `model`."""


@dataclass(frozen=True, slots=True)
class OpType:
    """Nodes of one operator type: `Conv`."""

    name: str


@dataclass(frozen=True, slots=True)
class NodeName:
    """Nodes of one name, or of names like a glob: `"/conv1/Conv"`, `~"/attn/*"`."""

    pattern: str
    glob: bool = False


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Any of several: `(Relu | Clip)`."""

    choices: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Nodes joined by single-consumer edges: `Conv -> Relu`.  A rule's roles are those of its last node."""

    steps: tuple[Selector, ...]


Selector: TypeAlias = "Everything | Boundary | OpType | NodeName | AnyOf | Chain"


ROLES = ("input", "weight", "bias", "output")
"""The tensors of a node that restrictions speak of."""

ROLE_GROUPS = {"act": ("input", "output"), "param": ("weight", "bias")}

NO_TENSOR = ("none",)
"""Roles of a clause that lists tensors and names none of them: `[none]: on`."""


_RESERVED = frozenset({*ROLES, *ROLE_GROUPS, *NO_TENSOR} - {"weight", "bias"})
_PARAM = "param."


def param_role(name: str) -> str:
    """Return the role of a parameter by its name in a vendor's file: `param.input` for one that is called `input`."""
    return f"{_PARAM}{name}" if name in _RESERVED or name.startswith(_PARAM) else name


def param_name(role: str) -> str:
    """Return the parameter's name that a role comes from."""
    return role.removeprefix(_PARAM)


def spread(role: str) -> tuple[str, ...]:
    """Return the tensors that a role stands for: `act` for inputs and outputs, a tensor for itself, "" for all."""
    return ROLES if not role else ROLE_GROUPS.get(role, (role,))


def show(selector: Selector) -> str:
    """Return a selector as it is written in a .qsim file, such that reading gives back the same."""
    match selector:
        case Everything():
            return "*"
        case Boundary():
            return "model"
        case OpType(name):
            return lexical.name(name)
        case NodeName(pattern, glob):
            return f"{'~' if glob else ''}{lexical.string(pattern)}"
        case AnyOf(choices):
            return f"({' | '.join(map(show, choices))})"
        case Chain(steps):
            return " -> ".join(f"({show(step)})" if isinstance(step, Chain) else show(step) for step in steps)


def alternatives(selector: Selector) -> Iterator[Selector]:
    """Yield the selectors that a set holds, one by one; any other selector by itself, a chain of one as its step."""
    match selector:
        case AnyOf(choices):
            for choice in choices:
                yield from alternatives(choice)
        case Chain((only,)):
            yield from alternatives(only)
        case _:
            yield selector


def chains(selector: Selector) -> Iterator[tuple[str, ...]]:
    """Yield the chains of operator names that a selector means, sets expanded in order."""
    match selector:
        case OpType(name):
            yield (name,)
        case AnyOf(choices):
            for choice in choices:
                yield from chains(choice)
        case Chain(steps):
            for parts in product(*(tuple(chains(step)) for step in steps)):
                yield tuple(chain.from_iterable(parts))
        case _:
            return
