"""The effective quantizer of a tensor: its own, or that of the tensor whose values it merely moves."""

from __future__ import annotations

from qsimc.graph import FLOATS, Node
from qsimc.planning.quantizer import Quantizer, Resolution
from qsimc.spec.ops import operators

# TensorProto.DataType of float32, float16 and bfloat16: the `to` of a Cast that keeps a tensor a float.
_FLOAT_TYPES = frozenset({1, 10, 16})


def keeps_grid(resolution: Resolution, node: Node) -> bool:
    """Whether a node moves values, or casts floats to floats, so that its output needs no grid of its own."""
    if node.op in operators().grid_preserving:
        return not node.domain
    if node.op != "Cast" or not node.inputs:
        return False
    source = resolution.graph.tensors[node.inputs[0]].dtype
    return source in FLOATS and node.attributes.get("to", 0) in _FLOAT_TYPES


def effective(resolution: Resolution, tensor: str) -> Quantizer | None:
    """Return the nearest enabled quantizer from `tensor` upwards, None when the walk meets computation."""
    while True:
        quantizer = resolution.bound.get(tensor)
        if quantizer is not None and quantizer.enabled:
            return quantizer
        node = resolution.graph.producer.get(tensor)
        if node is None or not node.inputs or not keeps_grid(resolution, node):
            return None
        tensor = node.inputs[0]


def movement_above(resolution: Resolution, tensor: str) -> list[Node]:
    """Return the movement between `tensor` and the next enabled quantizer above its own; [] if there is none."""
    nodes: list[Node] = []
    while True:
        node = resolution.graph.producer.get(tensor)
        if node is None or not node.inputs or not keeps_grid(resolution, node):
            return []
        nodes.append(node)
        tensor = node.inputs[0]
        quantizer = resolution.bound.get(tensor)
        if quantizer is not None and quantizer.enabled:
            return nodes


def path_to_effective(resolution: Resolution, tensor: str) -> list[str]:
    """Return the tensors from `tensor` up to the one whose quantizer is its effective one, both included."""
    path = [tensor]
    while not ((quantizer := resolution.bound.get(path[-1])) and quantizer.enabled):
        path.append(resolution.graph.producer[path[-1]].inputs[0])
    return path
