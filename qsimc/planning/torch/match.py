"""Ports of modules against tensors of the ONNX model that was exported from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from qsimc.graph import FLOATS, Graph, Node
from qsimc.planning.compare import TensorDifference, compare, without_quantizer
from qsimc.planning.plan import Kind, Plan, Reason, TensorPlan
from qsimc.planning.torch.plan import PortPlan
from qsimc.planning.torch.rules import FUNCTION, INSIDE

_OTHERWISE = ("round", "shares", "axis")
"""Not compared: rounding is each tool's own, and sharing and axes go by other names."""


def match_ports(plan: PortPlan, graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """Return the ports that hold each tensor of a graph: the one that computes it first, then those that read it.

    Nodes go by the modules that run them (`/layer1.0.conv1/Conv`), parameters by their names.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    nodes = _by_module(plan, graph)
    for module, calls in nodes.items():
        for call in calls:
            _add(found, plan, f"{module}.output", call[-1].outputs)
    for module, calls in nodes.items():
        for call in calls:
            _add(found, plan, f"{module}.input", tuple(_read_from_outside(plan, graph, call)))
    for name, port in plan.ports.items():
        if port.kind is Kind.PARAM and name in graph.tensors:
            found[name].append(name)
    return {tensor: tuple(dict.fromkeys(ports)) for tensor, ports in found.items()}


def compare_placements(tensors: Plan, ports: PortPlan) -> tuple[TensorDifference, ...]:
    """Return where a plan of tensors and one of ports treat the same value differently, in graph order."""
    matched = match_ports(ports, tensors.graph)
    found = []
    for tensor, planned in tensors.tensors.items():
        port = _deciding_port(ports, planned, matched.get(tensor, ()))
        if port is None:
            port = without_quantizer(planned, _why_none(ports, tensors.graph, tensor))
        fields = compare(planned, port, leave_out=_OTHERWISE)
        if fields:
            found.append(TensorDifference(tensor, fields, at_after=port.tensor if port.tensor != tensor else ""))
    return tuple(found)


def _deciding_port(ports: PortPlan, planned: TensorPlan, names: Sequence[str]) -> TensorPlan | None:
    """Return the port that quantizes a value, or else the one that computes it; None where no module does."""
    for name in names:
        if ports[name].spec.enabled:
            return ports[name]
    if names and (planned.kind is not Kind.ACTIVATION or ports[names[0]].role == "output"):
        return ports[names[0]]
    return None


def _why_none(ports: PortPlan, graph: Graph, tensor: str) -> Reason:
    """Return why a value has no port: it lies inside a module, or a function computes it."""
    nodes = (graph.producer.get(tensor), *graph.consumers.get(tensor, ()))
    module = next((name for node in nodes if node and (name := _module_of(node)) in ports.graph.modules), None)
    if module is not None and (graph.producer.get(tensor) is None or _module_of(graph.producer[tensor]) == module):
        return Reason(INSIDE, detail=f"part of `{module}` ({ports.graph.modules[module].cls})")
    return Reason(FUNCTION, detail="no module computes it")


def _module_of(node: Node) -> str:
    """Return the module that runs a node, by the node's name."""
    return node.name.removeprefix("/").rpartition("/")[0]


def _add(found: Mapping[str, list[str]], plan: PortPlan, side: str, tensors: Sequence[str]) -> None:
    for position, tensor in enumerate(tensors):
        port = f"{side}[{position}]"
        if tensor and port in plan.ports:
            found[tensor].append(port)


def _by_module(plan: PortPlan, graph: Graph) -> Mapping[str, list[list[Node]]]:
    """Return the nodes of each module, call by call."""
    nodes: defaultdict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        module = _module_of(node)
        if module in plan.graph.modules:
            nodes[module].append(node)
    return {module: list(_calls(plan, module, found)) for module, found in nodes.items()}


def _calls(plan: PortPlan, module: str, nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Split a module's nodes into its calls, which are all alike."""
    times = plan.graph.times_called[module] or 1
    size = len(nodes) // times if len(nodes) % times == 0 else len(nodes)
    for start in range(0, len(nodes), size):
        yield list(nodes[start : start + size])


def _read_from_outside(plan: PortPlan, graph: Graph, call: Sequence[Node]) -> Iterator[str]:
    """Yield what the nodes of one call read and none of them computes, parameters left out."""
    inside = {tensor for node in call for tensor in node.outputs}
    seen: set[str] = set()
    for tensor in (tensor for node in call for tensor in node.inputs):
        if tensor and tensor not in inside and tensor not in plan.ports and tensor not in seen:
            seen.add(tensor)
            known = graph.tensors[tensor]
            if not known.constant or known.dtype in FLOATS:
                yield tensor
