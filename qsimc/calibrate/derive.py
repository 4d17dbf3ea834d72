"""Activations that need not be counted, because another one's histogram gives theirs exactly.

Clipping moves the values outside of its bounds onto them and leaves the others; a bin that holds a bound keeps its
values, which are in it before and after.  So the counts of what is clipped give those of the result, bin by bin, and
so do the ends of its range.  What only moves values about changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsimc.graph import Graph, Node

_MOVES = frozenset(
    {"DepthToSpace", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators that put out every value of their first input once."""

_BOUNDS = (("min", -float("inf")), ("max", float("inf")))


@dataclass(frozen=True, slots=True)
class Clipped:
    """A tensor that holds the values of `source`, clipped to [low, high]."""

    source: str
    low: float
    high: float


def derived(graph: Graph) -> Mapping[str, Clipped]:
    """Return the tensors of a graph that hold another one's values, clipped or as they are."""
    found = {}
    for node in graph.nodes:
        bounds = None if node.domain else _bounds(graph, node)
        if bounds is not None and node.inputs and node.outputs:
            found[node.outputs[0]] = Clipped(node.inputs[0], *bounds)
    return found


def _bounds(graph: Graph, node: Node) -> tuple[float, float] | None:
    """Return what a node clips its first input to; None if it does something else, or the bounds are computed."""
    if node.op in _MOVES:
        return -float("inf"), float("inf")
    if node.op == "Relu":
        return 0.0, float("inf")
    if node.op != "Clip":
        return None
    found = []
    for position, (name, unbounded) in enumerate(_BOUNDS, 1):
        bound: object = node.attributes.get(name, unbounded)
        if position < len(node.inputs) and node.inputs[position]:
            known = graph.tensors.get(node.inputs[position])
            bound = known.scalar if known is not None else None
        if not isinstance(bound, int | float):
            return None
        found.append(float(bound))
    low, high = found
    return (low, high) if low <= high else None
