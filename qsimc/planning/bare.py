"""Why a tensor has no quantizer at all, not even a disabled one."""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.graph import FLOATS, Graph
from qsimc.ir.config import Option, show_value
from qsimc.planning.build import control_inputs
from qsimc.planning.fuse import Fused
from qsimc.planning.plan import Reason
from qsimc.planning.rules import BODY, CONTROL_INPUT, FLOATS_ONLY, NEVER_QUANTIZED, UNUSED
from qsimc.spec.ops import operators

_UNUSED = Reason(UNUSED, detail="graph passes drop nodes whose output nothing uses")
_NOT_READ = Reason(UNUSED, detail="no node of the main graph reads it")


def bare(graph: Graph, fused: Fused, planned: Mapping[str, object], passes: Option | None) -> Mapping[str, Reason]:
    """Return the reason of every tensor of a graph that is not `planned`, subgraph bodies included."""
    control = control_inputs(graph)
    found: dict[str, Reason] = {}
    never = {op: Reason(NEVER_QUANTIZED, detail=f"an output of {op}") for op in operators().no_output}
    integers: dict[str, Reason] = {}
    for tensor, known in graph.tensors.items():
        if tensor in planned:
            continue
        producer = graph.producer.get(tensor)
        if known.dtype not in FLOATS:
            found[tensor] = integers.setdefault(known.dtype, Reason(FLOATS_ONLY, detail=_not_a_float(known.dtype)))
        elif tensor in fused.inside:
            found[tensor] = _inside(fused, tensor, passes)
        elif tensor in control:
            found[tensor] = Reason(CONTROL_INPUT, detail="only steers the node that reads it")
        elif producer is not None and producer.op in never:
            found[tensor] = never[producer.op]
        else:
            found[tensor] = _UNUSED if tensor in fused.unused else _NOT_READ
    for node in graph.nodes:
        for tensor in node.inner:
            found.setdefault(tensor, Reason(BODY, detail=f"computed inside `{node.name}` ({node.op})"))
    return {tensor: reason for tensor, reason in found.items() if tensor not in planned}


def _not_a_float(dtype: str) -> str:
    return f"its elements are {dtype}" if dtype else "it is no tensor, or its element type is not known"


def _inside(fused: Fused, tensor: str, passes: Option | None) -> Reason:
    match = fused.inside[tensor]
    assert passes is not None, "a fused operator without a graph pass"
    members = f"`{match.members[0].name}` to `{match.members[-1].name}`"
    rule = f"option {passes.name}={show_value(passes.value)}"
    return Reason(rule, passes.span, f"inside the {match.op} that {members} are")
