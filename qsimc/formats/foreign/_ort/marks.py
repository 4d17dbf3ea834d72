"""Which tensors ONNX Runtime quantizes once it knows which nodes to take: its rules, operator by operator.

Source: onnxruntime/quantization/operators of onnxruntime 1.31.1, and qdq_quantizer.py.
"""

from __future__ import annotations

from collections.abc import Collection

from qsimc.formats.foreign._ort.words import ort_words
from qsimc.graph import FLOATS, Graph, Node
from qsimc.spec.ops import operators


def activations(graph: Graph) -> tuple[str, ...]:
    """Return the tensors that can be quantized and are no constants, in graph order."""
    made = (tensor for node in graph.nodes if node.op != "Constant" for tensor in node.outputs if tensor)
    return tuple(t for t in dict.fromkeys((*graph.inputs, *made)) if _floating(graph, t))


def reads(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return the computed tensors that a node reads as numbers, constants left out."""
    weighted = node.op in ort_words().weighted
    inputs = node.inputs[: 2 if weighted else 1 if node.op in ort_words().direct else None]
    return tuple(t for t in dict.fromkeys(inputs) if t and _floating(graph, t))


def param(graph: Graph, node: Node, role: str) -> tuple[str, ...]:
    """Return the initializer that is a param of a node, or nothing; the quantizer does not look through nodes."""
    at = operators()[node.op].params.get(role)
    tensor = node.inputs[at] if at is not None and at < len(node.inputs) else ""
    known = graph.tensors.get(tensor)
    if known is None or not known.constant or known.dtype not in FLOATS or tensor in graph.producer:
        return ()
    return (tensor,)


def marked(
    graph: Graph, selected: Collection[str], without_output: Collection[str], *, symmetric: bool
) -> frozenset[str]:
    """Return the activations that get a quantizer.

    Args:
        selected: names of the nodes that are quantized.
        without_output: operator types whose outputs are left out.
        symmetric: whether activations are symmetric by default, so that a Relu is no part of the node before it.
    """
    words = ort_words()
    found: dict[str, None] = {}
    for node in graph.nodes:
        if node.name not in selected:
            continue
        outputs = () if node.op in without_output else tuple(t for t in node.outputs if t and _floating(graph, t))
        inputs = reads(graph, node)
        if node.op in words.removable or node.op in words.direct:
            if not inputs or inputs[0] not in found:
                continue
            if node.op in words.removable and not symmetric and _alone(graph, inputs[0]):
                found.pop(inputs[0])
        else:
            found.update(dict.fromkeys(inputs))
        found.update(dict.fromkeys(outputs))
    return frozenset(found)


def _alone(graph: Graph, tensor: str) -> bool:
    """Say whether one node reads a tensor that is neither input nor output of the model."""
    outside = tensor in graph.inputs or tensor in graph.outputs
    return not outside and len(graph.consumers.get(tensor, ())) == 1


def _floating(graph: Graph, tensor: str) -> bool:
    known = graph.tensors.get(tensor)
    return known is not None and not known.constant and known.dtype in FLOATS - {"bfloat16"}
