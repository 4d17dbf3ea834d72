"""Config and graph to plan, as vai_q_pytorch 3.5 places quantizers and finds the settings of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.graph import Graph, Node
from qsimc.ir.config import Config
from qsimc.ir.quant import FIELDS, Calib, Numeric, QuantSpec, Round, ScaleKind
from qsimc.planning.plan import Decision, Entry, Kind, Mode, Plan, TensorPlan
from qsimc.planning.vitis.bare import bare
from qsimc.planning.vitis.device import Device
from qsimc.planning.vitis.differences import differences
from qsimc.planning.vitis.groups import Groups
from qsimc.planning.vitis.names import param_name
from qsimc.planning.vitis.network import Network
from qsimc.planning.vitis.quantizers import Quantizer, quantizers
from qsimc.planning.vitis.settings import Settings

DIALECT = "vitis"


def resolve(config: Config, graph: Graph, report: Report, *, model: str = "", mode: Mode = Mode.FIXED) -> Plan | None:
    """Return what happens to each tensor of a graph, None after reporting an error.

    In vendor mode the settings of each tensor are those that the program finds, its oversights included; in fixed
    mode those that its document promises.  What stands between a tensor and one of its readers, and quantizes for
    that one alone, is among the plan's `edges` until the graph has a tensor for it.

    Args:
        model: what the model is called in names of layers, unless the graph says.
    """
    watched = _Watched(report)
    network = Network.of(graph)
    settings = Settings.of(config, network, graph.source or model, mode, watched)
    device = Device.of(config, mode)
    groups = Groups.make(network)
    found = tuple(quantizers(network, groups, settings, device, watched))
    if watched.failed:
        return None
    if mode is Mode.FIXED:
        for finding in differences(network, settings, device, found):
            report(finding)
    # Of quantizers of one tensor the first counts.
    planned = {q.tensor: _tensor_plan(q, graph) for q in reversed(found) if q.tensor}
    tensors = _in_graph_order(graph, planned)
    return Plan(
        graph=graph,
        tensors=tensors,
        dialect=config.dialect,
        mode=mode,
        target=config.target,
        bare=bare(network, groups, tensors),
        entries=tuple(_entries(network, found)),
        edges=tuple(q.edge for q in sorted(found, key=lambda q: (q.layer.index, q.index)) if q.edge is not None),
    )


@dataclass(slots=True)
class _Watched:
    """A report that remembers whether there was an error."""

    report: Report
    failed: bool = False

    def __call__(self, finding: Diagnostic) -> None:
        self.failed = self.failed or finding.severity is Severity.ERROR
        self.report(finding)


def _tensor_plan(quantizer: Quantizer, graph: Graph) -> TensorPlan:
    said = {decision.field: decision for decision in quantizer.decisions}
    node: Node | None = quantizer.layer.node
    if quantizer.role not in ("weight", "bias", "input") or quantizer.kind is Kind.INPUT:
        node = graph.producer.get(quantizer.tensor)
    return TensorPlan(
        tensor=quantizer.tensor,
        kind=quantizer.kind,
        role=quantizer.role,
        node=node.name if node is not None else None,
        op=node.op if node is not None else None,
        spec=spec_of(quantizer.decisions),
        axis=quantizer.axis if said["per_channel"].value else None,
        because={name: decision.reason for name, decision in said.items()},
        history=quantizer.decisions,
    )


def spec_of(decisions: Sequence[Decision]) -> QuantSpec:
    """Return the spec that decisions lead to; words become members of their enums."""
    said: dict[str, Any] = dict.fromkeys(FIELDS) | {d.field: d.value for d in decisions}
    for name, words in (("type", Numeric), ("scale", ScaleKind), ("round", Round), ("calib", Calib)):
        said[name] = words(said[name])
    return QuantSpec(**said)


def _in_graph_order(graph: Graph, made: Mapping[str, TensorPlan]) -> dict[str, TensorPlan]:
    """Return inputs first, then node by node what it reads of constants and what it gives, each once."""
    ordered: dict[str, TensorPlan] = {t: made[t] for t in graph.inputs if t in made}
    for node in graph.nodes:
        for tensor in (*node.inputs, *node.outputs):
            known = graph.tensors.get(tensor)
            if tensor in made and (tensor in node.outputs or (known is not None and known.constant)):
                ordered[tensor] = made[tensor]
    return ordered


def _entries(network: Network, found: Sequence[Quantizer]) -> Iterator[Entry]:
    for quantizer in found:
        if not spec_of(quantizer.decisions).enabled:
            continue
        layer, param = quantizer.layer, quantizer.param
        name = param_name(network, layer, param) if param is not None else layer.short_name
        yield Entry(quantizer.section, name, quantizer.index, quantizer.tensor, quantizer.label, quantizer.datatype)
