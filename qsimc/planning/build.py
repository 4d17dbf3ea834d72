"""Which tensors get a quantizer: the parameters, then every float tensor that no rule leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from qsimc.graph import FLOATS, Graph, Node
from qsimc.planning.difference import Difference, Differences
from qsimc.planning.plan import Decision, Kind
from qsimc.planning.quantizer import Quantizer, Resolution, Site
from qsimc.planning.words import Said
from qsimc.spec.ops import operators

_Maker: TypeAlias = Callable[..., Quantizer]


def build(
    graph: Graph, said: Said, differences: Differences, act: Sequence[Decision], param: Sequence[Decision]
) -> Resolution:
    """Make a disabled quantizer for every tensor that can have one.

    `act` and `param` are the decisions with which the quantizers of activations and parameters begin.
    """
    sites = [Site(node) for node in graph.nodes if node.op != "Constant"]
    made = _params(graph, sites, _maker(param), differences)
    begin_act = _maker(act)
    for tensor, kind in _activations(graph, made):
        role = {Kind.INPUT: "input", Kind.CONSTANT: "constant"}.get(kind, "output")
        made[tensor] = begin_act(tensor, kind, role, graph.producer.get(tensor))
    for site in sites:
        site.inputs = tuple(_computed(made, site.node.inputs))
        site.outputs = tuple(_computed(made, site.node.outputs))
    return Resolution(graph, said, differences, sites, dict(made), made)


def _maker(decisions: Sequence[Decision]) -> _Maker:
    """Return a function that makes quantizers which begin with these decisions."""
    values: Any = {decision.field: decision.value for decision in decisions}

    def make(tensor: str, kind: Kind, role: str, node: Node | None, transposed: bool = False) -> Quantizer:
        return Quantizer(tensor, kind, role, node, transposed, **values, history=list(decisions))

    return make


def _computed(made: dict[str, Quantizer], tensors: Sequence[str]) -> Iterator[Quantizer]:
    for tensor in tensors:
        quantizer = made.get(tensor)
        if quantizer is not None and quantizer.kind is not Kind.PARAM:
            yield quantizer


def _params(graph: Graph, sites: Sequence[Site], make: _Maker, differences: Differences) -> dict[str, Quantizer]:
    """Make the parameters' quantizers and enter them at their sites; a shared one belongs to the first."""
    made: dict[str, Quantizer] = {}
    with_params = operators().with_params
    for site in sites:
        if site.node.op not in with_params:
            continue
        roles, transposed = _roles(graph, site.node, differences)
        for tensor, role in roles.items():
            if tensor not in made:
                made[tensor] = make(tensor, Kind.PARAM, role, site.node, transposed)
        site.params = tuple((made[tensor], role) for tensor, role in roles.items())
    return made


def _roles(graph: Graph, node: Node, differences: Differences) -> tuple[dict[str, str], bool]:
    """Return the parameters of a node as tensor -> role, and whether its weight is transposed."""
    row = operators()[node.op]
    transposed = bool(row.transposed_by and node.attributes.get(row.transposed_by, 0))
    found: dict[str, str] = {}
    for role, position in row.params.items():
        tensor = node.inputs[position] if position < len(node.inputs) else ""
        source = graph.producer.get(tensor)
        while source is not None and source.op in row.through and source.inputs:
            tensor = source.inputs[0]
            source = graph.producer.get(tensor)
        if source is not None and source.op == row.transposed_through and source.inputs:
            tensor = source.inputs[0]
            transposed = True
        if source is not None and is_numeral(source) and _no_param(source, role, node, differences):
            continue
        if (known := graph.tensors.get(tensor)) is not None and known.constant:
            found[tensor] = role
    return found, transposed and bool(found)


def is_numeral(node: Node) -> bool:
    """Whether a node is a Constant that holds numbers (`value_float`, `value_floats`), not a tensor (`value`)."""
    return node.op == "Constant" and any(name.startswith("value_") for name in node.attributes)


def _no_param(constant: Node, role: str, node: Node, differences: Differences) -> bool:
    """AIMET looks at a Constant's `value` only, so to it a numeral is no parameter; in fixed mode it is one."""
    if not differences.fixed:
        return True
    difference = Difference(
        code="Q0538",
        name="constant-without-tensor",
        message=f"`{constant.outputs[0]}`, the {role} of `{node.name}` ({node.op}), is a Constant of plain numbers",
        aimet="AIMET looks at the `value` of a Constant only, and does not take this one for a parameter",
        instead="qsimc does",
    )
    differences.differs("Q0538", difference)
    return False


def _activations(graph: Graph, params: dict[str, Quantizer]) -> Iterator[tuple[str, Kind]]:
    """Yield the tensors that get an activation quantizer, each once: inputs first, then node by node."""
    control = control_inputs(graph)
    no_output = operators().no_output
    constant_nodes = {tensor for node in graph.nodes if node.op == "Constant" for tensor in node.outputs}
    seen = set(params) | control | {""}
    candidates = [(tensor, Kind.INPUT) for tensor in graph.inputs]
    for node in graph.nodes:
        # What nothing has computed yet when it is read is an initializer.
        candidates += [(tensor, Kind.CONSTANT) for tensor in node.inputs]
        candidates += [(t, Kind.CONSTANT if t in constant_nodes else Kind.ACTIVATION) for t in node.outputs]
    for tensor, kind in candidates:
        if tensor in seen:
            continue
        seen.add(tensor)
        producer = graph.producer.get(tensor)
        if graph.tensors[tensor].dtype in FLOATS and not (producer and producer.op in no_output):
            yield tensor, kind


def control_inputs(graph: Graph) -> set[str]:
    """Return the tensors that only steer some node, such as the sizes of a Resize."""
    table = operators()
    found: set[str] = set()
    for node in graph.nodes:
        data = table[node.op].data_inputs
        if data is not None:
            carried = {node.inputs[i] for i in data if i < len(node.inputs)}
            found.update(tensor for tensor in node.inputs if tensor not in carried)
    return found
