"""AIMET looks for batch normalizations that could be folded, only to warn of them, and can fall over a weight."""

from __future__ import annotations

from qsimc.diagnostics import Vendor
from qsimc.planning.difference import TOOL, Difference
from qsimc.planning.quantizer import Resolution


def foldable_norms(resolution: Resolution) -> None:
    """Check that no ConvTranspose with a computed weight and a `group` feeds only a BatchNormalization."""
    graph = resolution.graph
    for site in resolution.sites:
        node = site.node
        if (
            node.op != "ConvTranspose"
            or "group" not in node.attributes
            or any(role == "weight" for _, role in site.params)
        ):
            continue
        readers = resolution.next_nodes(node)
        if len(readers) != 1 or readers[0].op != "BatchNormalization" or node.outputs[0] in graph.outputs:
            continue
        difference = Difference(
            code="Q0541",
            name="norm-after-computed-weight",
            message=f"`{node.name}` (ConvTranspose) computes its weight, and `{readers[0].name}` normalizes its output",
            aimet="AIMET wants the number of channels of the weight, to warn that the normalization could be folded",
            instead="qsimc needs no such warning, and goes on",
            helps=("leave out `group`, if it is 1",),
            vendor=Vendor(TOOL, "AttributeError", "'NoneType' object has no attribute 'dims'"),
        )
        resolution.differences.fails("Q0541", difference)
