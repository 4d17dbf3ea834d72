"""From quantizers to the plan: complete specs, sharing, and the reason of every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qsimc.ir.quant import FIELDS, Calib, Numeric, QuantSpec, Round, ScaleKind
from qsimc.planning.plan import Decision, Reason, TensorPlan
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.graph import PortGraph, call_type
from qsimc.planning.torch.rules import FUNCTION
from qsimc.planning.torch.state import PortResolution, Ports

# What a shared quantizer decides for every port that uses it.
_SHARED = (
    "enabled", "type", "bits", "signed", "symmetric", "narrow_range", "unsigned_symmetric", "per_channel", "range",
)  # fmt: skip


def complete(resolution: PortResolution) -> dict[str, TensorPlan]:
    """Return the plan of every port: module by module its inputs, its parameters and its outputs."""
    first_user: dict[int, str] = {}
    plans: dict[str, TensorPlan] = {}
    for ports in resolution.ports.values():
        for own in _in_order(ports):
            used = resolution.bound[own.tensor]
            first = first_user.setdefault(id(used), own.tensor)
            plans[own.tensor] = _port_plan(resolution, ports, own, None if first == own.tensor else first)
    return plans


def bare(graph: PortGraph) -> Mapping[str, Reason]:
    """Return why the result of each function has no quantizer, by the name of the call."""
    return {
        call.name: Reason(FUNCTION, detail=f"`{call.type}` is the call of a function, not of a module")
        for call in graph.in_order
        if call.module is None
    }


def _in_order(ports: Ports) -> Iterator[Quantizer]:
    yield from ports.inputs
    yield from ports.params.values()
    yield from ports.outputs


def _port_plan(resolution: PortResolution, ports: Ports, own: Quantizer, shares: str | None) -> TensorPlan:
    used = resolution.bound[own.tensor]
    history = list(own.history)
    if used is not own:
        reason = resolution.ties[own.tensor]
        history += [Decision(name, getattr(used, name), reason) for name in _SHARED]
    return TensorPlan(
        tensor=own.tensor,
        kind=own.kind,
        role=own.role,
        node=ports.module.name,
        op=call_type(ports.module.cls),
        spec=_spec(used),
        axis=used.axis,
        shares=shares,
        because={decision.field: decision.reason for decision in history},
        history=tuple(history),
    )


def _spec(quantizer: Quantizer) -> QuantSpec:
    """Return a quantizer's fields as a spec; words from a config become members of their enums."""
    said = {name: getattr(quantizer, name) for name in FIELDS}
    for name, words in (("type", Numeric), ("scale", ScaleKind), ("round", Round), ("calib", Calib)):
        said[name] = words(said[name])
    return QuantSpec(**said)
