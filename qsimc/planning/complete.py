"""From quantizers to the plan: complete specs, sharing, and the reason of every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from qsimc.graph import Graph
from qsimc.ir.quant import FIELDS, Calib, Numeric, QuantSpec, Round, ScaleKind
from qsimc.planning.fuse import Fused
from qsimc.planning.plan import Decision, Kind, Reason, TensorPlan
from qsimc.planning.quantizer import Quantizer, Resolution
from qsimc.planning.rules import SIGNED_GRID

_SIGNED = {value: Decision("signed", value, SIGNED_GRID) for value in (True, False)}

# What a shared quantizer decides for every tensor that uses it.
_SHARED = (
    "enabled",
    "type",
    "bits",
    "signed",
    "symmetric",
    "narrow_range",
    "unsigned_symmetric",
    "per_channel",
    "range",
)


def complete(graph: Graph, fused: Fused, resolution: Resolution) -> dict[str, TensorPlan]:
    """Return the plan of every tensor that has a quantizer, in graph order."""
    writer = _Writer(graph, fused, resolution)
    return {tensor: writer.tensor_plan(tensor) for tensor in _in_graph_order(graph, resolution.made)}


def _in_graph_order(graph: Graph, made: Mapping[str, Quantizer]) -> Iterable[str]:
    """Return inputs first, then node by node its params, its constants and its outputs, each once."""
    ordered = dict.fromkeys(tensor for tensor in graph.inputs if tensor in made)
    for node in graph.nodes:
        inputs = [tensor for tensor in node.inputs if tensor in made and tensor not in ordered]
        if len(inputs) > 1:
            inputs.sort(key=lambda tensor: made[tensor].kind is not Kind.PARAM)
        for tensor in (*inputs, *node.outputs):
            if tensor in made:
                ordered[tensor] = None
    return ordered


_Summary: TypeAlias = tuple[QuantSpec, tuple[Decision, ...], Mapping[str, Reason]]


class _Writer:
    """Writes tensor plans; tensors with one history share one spec and one table of reasons."""

    def __init__(self, graph: Graph, fused: Fused, resolution: Resolution) -> None:
        self._graph = graph
        self._fused = fused
        self._resolution = resolution
        self._first_user: dict[int, str] = {}
        self._known: dict[tuple[int, ...], _Summary] = {}
        for quantizer in resolution.made.values():
            if quantizer.signed is None:
                quantizer.decide(_SIGNED[quantizer.symmetric and not quantizer.unsigned_symmetric])

    def tensor_plan(self, tensor: str) -> TensorPlan:
        own, used = self._resolution.made[tensor], self._resolution.bound[tensor]
        spec, history, because = self._summary(used)
        if own is not used:
            tied = _tied(used, self._resolution.ties[tensor])
            _, history, because = self._summary(own)
            history = (*history, *tied)
            because = {**because, **{d.field: d.reason for d in tied}}
        first = self._first_user.setdefault(id(used), tensor)
        node = self._graph.producer.get(tensor)
        if own.kind is Kind.PARAM:
            node = self._fused.users.get(tensor, own.node)
        return TensorPlan(
            tensor=tensor,
            kind=own.kind,
            role=own.role,
            node=node.name if node else None,
            op=node.op if node else None,
            spec=spec,
            axis=used.axis,
            shares=None if first == tensor else first,
            because=because,
            history=history,
        )

    def _summary(self, quantizer: Quantizer) -> _Summary:
        """Return the spec that a quantizer's history led to, and who decided each field of it."""
        key = tuple(map(id, quantizer.history))
        found = self._known.get(key)
        if found is None:
            reasons = {decision.field: decision.reason for decision in quantizer.history}
            found = self._known[key] = _spec(quantizer), tuple(quantizer.history), reasons
        return found


def _tied(used: Quantizer, reason: Reason) -> list[Decision]:
    return [Decision(name, getattr(used, name), reason) for name in _SHARED]


def _spec(quantizer: Quantizer) -> QuantSpec:
    """Return a quantizer's fields as a spec; words from a config become members of their enums."""
    said = {name: getattr(quantizer, name) for name in FIELDS}
    for name, words in (("type", Numeric), ("scale", ScaleKind), ("round", Round), ("calib", Calib)):
        said[name] = words(said[name])
    return QuantSpec(**said)
