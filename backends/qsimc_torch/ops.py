"""Operators as expressions: the table specs/torch_ops.toml, and the functions of `qsimc_torch.operators`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from qsimc import resources
from qsimc.graph import Node
from qsimc_torch.call import Call, Unsupported, literal
from qsimc_torch.operators import writers


@dataclass(frozen=True, slots=True)
class Row:
    """An expression with holes, for operator sets `since` to `until`; `attributes` hold defaults."""

    expression: str
    attributes: Mapping[str, Any]
    since: int = 1
    until: int = 1 << 30


@cache
def rows() -> Mapping[str, Sequence[Row]]:
    """Return the table, read once."""
    said = _table()["op"].items()
    return {name: tuple(map(_row, row if isinstance(row, list) else [row])) for name, row in said}


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(resources.read("specs", "torch_ops.toml"))


def _row(said: str | Mapping[str, Any]) -> Row:
    if isinstance(said, str):
        return Row(said, {})
    rest = dict(said)
    limits = {name: rest.pop(name) for name in ("since", "until") if name in rest}
    return Row(rest.pop("expression"), rest, **limits)


@cache
def numeric() -> frozenset[str]:
    """Return the operators of which an input may be a literal."""
    return frozenset(_table()["take_numbers"])


def operator_of(node: Node) -> str:
    """Return what an operator is filed under: `Relu`, or `com.microsoft.Gelu` of another domain."""
    return f"{node.domain}.{node.op}" if node.domain else node.op


def expression(call: Call) -> str:
    """Return the expression of a call.

    Raises:
        Unsupported: it has none.
    """
    name = operator_of(call.node)
    if name in writers():
        return writers()[name](call)
    row = next((row for row in rows().get(name, ()) if row.since <= call.opset <= row.until), None)
    if row is None:
        raise Unsupported("" if name not in rows() else f"it has no expression in operator set {call.opset}")
    call.only_output()
    inputs = [call[position] for position in range(len(call.node.inputs))]
    numbers = {name: literal(_number(call, name, default)) for name, default in row.attributes.items()}
    try:
        return row.expression.format(*inputs, **numbers)
    except IndexError:
        raise Unsupported("it has too few inputs") from None


def _number(call: Call, name: str, default: Any) -> int | float:
    return call.number(name, default) if isinstance(default, float) else call.integer(name, default)
