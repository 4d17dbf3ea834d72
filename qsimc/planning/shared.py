"""Weights that several operators read: AIMET refuses a model where operators of different types share one."""

from __future__ import annotations

from collections import Counter, deque

from qsimc.diagnostics import Vendor
from qsimc.graph import Graph, Node
from qsimc.planning.difference import TOOL, Difference
from qsimc.planning.quantizer import Resolution
from qsimc.spec.ops import operators


def shared_weights(resolution: Resolution) -> None:
    """Check that a weight of Conv, ConvTranspose, Gemm or MatMul is read by operators of its type only."""
    weights = [q.tensor for site in resolution.sites for q, role in site.params if role == "weight"]
    # A weight is named, and its readers are counted, once for each operator that has it as a weight.
    counted = {
        tensor: times
        for tensor, times in Counter(weights).items()
        if times > 1 or _may_be_shared(resolution.graph, tensor)
    }
    weights = [tensor for tensor in weights if tensor in counted]
    readers = {tensor: _readers(resolution.graph, tensor) * times for tensor, times in counted.items()}
    refused = [tensor for tensor in weights if _conflict(readers[tensor])]
    if not refused:
        return
    first = refused[0]
    nodes = dict.fromkeys(f"`{node.name}` ({node.op})" for node in readers[first])
    difference = Difference(
        code="Q0537",
        name="weight-shared-across-operators",
        message=f"the weight `{first}` is shared by operators of different types: {', '.join(nodes)}",
        aimet="AIMET wants a copy of the weight for each of them, because they may need scales on different axes",
        instead=f"qsimc quantizes `{first}` as the first of them asks",
        helps=("give each operator a copy: `aimet_onnx.utils.duplicate_shared_initializers(model.graph)`",),
        vendor=Vendor(TOOL, "RuntimeError", _text(refused, readers)),
    )
    resolution.differences.fails("Q0537", difference)


def _may_be_shared(graph: Graph, tensor: str) -> bool:
    """Say whether a weight can have several readers: most have one, and need no search."""
    readers = graph.consumers.get(tensor, ())
    return len(readers) > 1 or any(node.op in ("Transpose", "Identity") for node in readers)


def _readers(graph: Graph, tensor: str) -> list[Node]:
    """Return the nodes that read a weight, through Transpose and Identity, those next to it first."""
    queue = deque(graph.consumers.get(tensor, ()))
    found: list[Node] = []
    while queue:
        node = queue.popleft()
        if node.op in ("Transpose", "Identity"):
            queue.extend(graph.consumers.get(node.outputs[0], ()))
        elif node.op != "Shape":
            found.append(node)
    return found


def _conflict(readers: list[Node]) -> bool:
    types = {node.op for node in readers}
    return len(types) > 1 and any(operators()[op].dynamic_weight is not None for op in types)


def _text(refused: list[str], readers: dict[str, list[Node]]) -> str:
    """Return AIMET's message, which lists every reader of every refused weight."""
    lines = ["Found shared parameter(s) with conflicting consumer types:\n"]
    for tensor in refused:
        lines.append(f"  - input name: {tensor}")
        lines += [f"    - consumer {i}: {node.name} ({node.op})" for i, node in enumerate(readers[tensor])]
    lines.append(
        "\nPlease call ``aimet_onnx.utils.duplicate_shared_initializers(onnx_model.graph)``"
        " before creating QuantizationSimModel"
        " to ensure each consumer takes a unique copy of the initializer as input."
    )
    return "\n".join(lines)
