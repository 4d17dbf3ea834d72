"""Why a tensor has no quantizer at all."""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.graph import FLOATS
from qsimc.planning.plan import Reason
from qsimc.planning.rules import BODY, FLOATS_ONLY, VITIS_FLOAT, VITIS_GROUP
from qsimc.planning.vitis.groups import Groups
from qsimc.planning.vitis.network import Network


def bare(network: Network, groups: Groups, planned: Mapping[str, object]) -> Mapping[str, Reason]:
    """Return the reason of every tensor of a graph that is not planned, subgraph bodies included."""
    found: dict[str, Reason] = {}
    for tensor, known in network.graph.tensors.items():
        if tensor in planned:
            continue
        layer = network.by_output.get(tensor)
        if known.dtype not in FLOATS:
            found[tensor] = Reason(FLOATS_ONLY, detail=f"its elements are {known.dtype or 'of no known type'}")
        elif layer is None:
            found[tensor] = Reason(VITIS_GROUP, detail="inside an operator, or no operand of one")
        else:
            ending = groups.quantized(layer)
            if ending is not layer and ending.output in planned:
                found[tensor] = Reason(VITIS_GROUP, detail=f"its group is quantized at `{ending.output}`")
            else:
                found[tensor] = Reason(VITIS_FLOAT, detail=f"{layer.kind}, which nothing quantized reads")
    for node in network.graph.nodes:
        for tensor in node.inner:
            found.setdefault(tensor, Reason(BODY, detail=f"computed inside `{node.name}` ({node.op})"))
    return found
