"""What a configuration file says: rules in file order, nothing resolved, nothing lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qsimc.ir import lexical
from qsimc.ir.predicate import Predicate
from qsimc.ir.select import Chain, Selector, show
from qsimc.ir.value import Value as Value
from qsimc.source import Source, Span


@dataclass(frozen=True, slots=True)
class Setting:
    """One word of one rule: the smallest thing a diagnostic can point at.

    `pointer` is the JSON pointer of the word in a vendor file, empty in .qsim.  `value` is None where something was
    said that cannot be read, and was reported: no default may take its place.
    """

    field: str
    value: Value
    span: Span
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Clause:
    """Settings for some roles of the selected nodes; no roles means every role."""

    roles: tuple[str, ...]
    settings: tuple[Setting, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Rule:
    """Clauses for the nodes a selector names.  A rule without clauses is kept: naming an operator can matter.

    `subject` is where the selector is written, if it stands apart from the rest.
    """

    selector: Selector
    clauses: tuple[Clause, ...]
    span: Span
    subject: Span | None = None


@dataclass(frozen=True, slots=True)
class Fusion:
    """Nodes that run as one: the tensors between them are not quantized."""

    chain: Chain
    span: Span


@dataclass(frozen=True, slots=True)
class Option:
    """A switch that is not about a tensor, in the vendor's own name."""

    name: str
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Restriction:
    """A claim about tensors that must hold (`require`) or must not (`forbid`); `span` is that of the predicate.

    No roles means every role.  `name` is empty where the file gives none.
    """

    name: str
    polarity: Literal["require", "forbid"]
    selector: Selector
    roles: tuple[str, ...]
    predicate: Predicate
    message: str
    span: Span


@dataclass(frozen=True, slots=True)
class Config:
    """What a config file says, in file order, with nothing resolved and nothing lost.

    `format` is what the file is written in, `dialect` whose operators and rules it speaks of, `target` the
    hardware it names and `target_span` where.
    """

    source: Source
    dialect: str
    format: str
    target: str | None = None
    options: tuple[Option, ...] = ()
    rules: tuple[Rule, ...] = ()
    fusions: tuple[Fusion, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    target_span: Span | None = None

    def option(self, name: str) -> Option | None:
        """Return the last option of that name, or None."""
        return next((o for o in reversed(self.options) if o.name == name), None)


def show_value(value: Value) -> str:
    """Return a value as it is written in a .qsim file; a pair with a missing bound is a range."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return lexical.number(value)
        case str():
            return lexical.word(value)
        case None:
            return ""
        case (low, high) if low is None or high is None:
            return f"{show_value(low)}..{show_value(high)}"
        case _:
            return f"({' | '.join(map(show_value, value))})"


_FLAGS = {
    "enabled": ("on", "off"),
    "symmetric": ("symmetric", "asymmetric"),
    "per_channel": ("per_channel", "per_tensor"),
    "narrow_range": ("narrow_range", "full_range"),
    "signed": ("signed", "unsigned"),
    "dynamic": ("dynamic", "static"),
}


def show_setting(field: str, value: Value) -> str:
    """Return one setting as it is written in a .qsim file: `symmetric`, `bits=8`, `range=0..1`."""
    if field in _FLAGS:
        return _FLAGS[field][0 if value else 1]
    if field == "range" and isinstance(value, tuple):
        low, high = value
        return f"range={show_value(low)}..{show_value(high)}"
    if field == "kernels" and isinstance(value, tuple):
        return f"kernels=({' | '.join(map(_show_kernel, value))})"
    return f"{field}={show_value(value)}"


def _show_kernel(kernel: Value) -> str:
    """Return the precisions of one kernel: `int16/int8`, or `int16` of the activation alone."""
    match kernel:
        case (str(act),):
            return lexical.word(act)
        case (str(act), str(param)) if lexical.is_name(act) and lexical.is_name(param):
            return f"{act}/{param}"
        case _:
            return show_value(kernel)


def show_rule(selector: Selector, roles: tuple[str, ...], setting: Setting) -> str:
    """Return one setting with its rule's head, on one line: `Conv[weight]: bits=8`."""
    return f"{show(selector)}{show_roles(roles)}: {show_setting(setting.field, setting.value)}"


def show_roles(roles: tuple[str, ...]) -> str:
    """Return roles as they are written behind a selector: `[weight, bias]`, nothing for every role."""
    return f"[{', '.join(map(lexical.name, roles))}]" if roles else ""
