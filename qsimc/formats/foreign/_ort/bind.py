"""Overrides of tensors as rules about the nodes of a model."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.formats.foreign._ort.values import taken
from qsimc.formats.foreign._ort.words import FLOAT8, ort_words
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.graph import Graph, Node
from qsimc.ir.config import Clause, Rule, Setting
from qsimc.ir.select import NodeName
from qsimc.ir.value import Value
from qsimc.source import Span
from qsimc.spec.ops import operators
from qsimc.syntax.json import Array, Json, Object


def rules_of(overrides: Object, pointer: str, signed: bool, graph: Graph) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """Return the rules that overrides stand for, and the tensors of which they say what no rule can.

    A pinned scale becomes the range that gives it.  The scales of channels are no rule's to give.

    Args:
        pointer: that of the overrides.
        signed: whether activations have a sign where an override does not say their type.
    """
    rules: list[Rule] = []
    left: list[str] = []
    for name, member in members(overrides).items():
        at = below(pointer, name)
        if (
            not isinstance(member.value, Array)
            or not member.value.items
            or not isinstance(member.value.items[0], Object)
        ):
            continue
        record = {key: (m.value, below(below(at, 0), key)) for key, m in members(member.value.items[0]).items()}
        places = tuple(_places(name, graph))
        found = tuple(_settings(record, signed, weight=any(role == "weight" for _, role in places)))
        pinned = len(member.value.items) > 1 or ("scale" in record and "axis" in record) or "convert" in record
        if not places or pinned or "reduce_range" in record:
            left.append(name)
        span = Span(member.key_span.source, member.key_span.start, member.value.span.end)
        for node, role in places:
            switched = Setting("enabled", True, member.key_span, at)
            said = (*found, switched) if role == "bias" else found
            rules.append(Rule(NodeName(node.name), (Clause((role,), said, span),), span, member.key_span))
    return tuple(rule for rule in rules if rule.clauses[0].settings), tuple(left)


def _places(name: str, graph: Graph) -> Iterator[tuple[Node, str]]:
    """Yield the nodes and roles that a tensor is known by: its producer's output, or what its readers call it."""
    producer = graph.producer.get(name)
    if producer is not None:
        yield producer, "output"
        return
    for node in dict.fromkeys(reader.name for reader in graph.consumers.get(name, ())):
        reader = next(n for n in graph.consumers[name] if n.name == node)
        roles = {reader.inputs[i]: role for role, i in operators()[reader.op].params.items() if i < len(reader.inputs)}
        yield reader, roles.get(name, "input") if name in graph.tensors and graph.tensors[name].constant else "input"


def _settings(record: dict[str, tuple[Json, str]], signed: bool, *, weight: bool) -> Iterator[Setting]:
    silent = Findings("", lambda _: None)  # what is wrong was reported when all overrides were checked
    value = {key: taken(ort_words().override[key], json, key, at, silent) for key, (json, at) in record.items()
             if key in ort_words().override and key != "convert"}  # fmt: skip

    def said(field: str, key: str, to: Value) -> Setting:
        return Setting(field, to, record[key][0].span, record[key][1])

    type_ = ort_words().types.get(str(value.get("quant_type")))
    if type_ is not None and type_.float:
        yield said("type", "quant_type", FLOAT8)
    elif type_ is not None:
        yield from (said("type", "quant_type", "int"), said("bits", "quant_type", type_.bits))
        yield said("signed", "quant_type", bool(type_.signed))
        signed = bool(type_.signed)
    if value.get("symmetric") is not None:
        yield said("symmetric", "symmetric", value["symmetric"])
        if type_ is None:
            yield said("signed", "symmetric", signed)
    if weight:
        key = next((k for k in ("axis", "quant_type", "symmetric") if k in record), "")
        if key:
            yield said("per_channel", key, "axis" in record)
        return
    low, high = value.get("rmin"), value.get("rmax")
    if low is not None or high is not None:
        yield said("range", "rmin" if low is not None else "rmax", (low, high))
    scale, zero = value.get("scale"), value.get("zero_point")
    if isinstance(scale, float) and isinstance(zero, int) and type_ is not None and not type_.float:
        bottom = -(1 << type_.bits - 1) if type_.signed else 0
        yield said("range", "scale", (scale * (bottom - zero), scale * (bottom + (1 << type_.bits) - 1 - zero)))
