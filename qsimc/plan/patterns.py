"""The decompositions that graph passes recognise: layer norm, RMS norm, and MatMul with a bias."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qsimc.graph import Attribute, Graph, Node


@dataclass(frozen=True, slots=True)
class Match:
    """Nodes that are one operator `op` with these inputs; the last member computes its output."""

    op: str
    members: tuple[Node, ...]
    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def users(self) -> Mapping[str, Node]:
        """Return, for each input, the member that reads it; for a transposed weight, the MatMul."""
        found: dict[str, Node] = {}
        for tensor in self.inputs:
            readers = [node for node in self.members if tensor in node.inputs and node.op != "Transpose"]
            matmul = next((node for node in self.members if node.op == "MatMul"), self.members[-1])
            found[tensor] = readers[0] if readers else matmul
        return found


@dataclass(frozen=True, slots=True)
class View:
    """A graph of which some nodes have already become part of a match; `gone` holds their ids."""

    graph: Graph
    gone: set[int] = field(default_factory=set)

    def nodes(self) -> Iterator[Node]:
        return (node for node in self.graph.nodes if id(node) not in self.gone)

    def readers(self, tensor: str) -> list[Node]:
        """Return the nodes that read a tensor, each once."""
        return list({id(node): node for node in self.graph.consumers.get(tensor, ())}.values())


def layer_norms(view: View) -> Iterator[Match]:
    """Yield (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * scale, with or without + bias."""
    for mean in view.nodes():
        centred = _only_reader(view, mean, "Sub") if mean.op == "ReduceMean" else None
        if centred is None or centred.inputs[0] != mean.inputs[0]:
            continue
        readers = (node for node in view.readers(centred.outputs[0]) if id(node) not in view.gone)
        square = next((node for node in readers if _is_square(view.graph, node)), None)
        normed = _normalized(view, centred.outputs[0], square) if square else ()
        scaled = _only_reader(view, normed[-1], "Mul") if normed else None
        scale = _other_input(scaled, normed[-1]) if scaled else None
        if scaled is None or scale is None:
            continue
        members: tuple[Node, ...] = (mean, centred, *normed, scaled)
        inputs: tuple[str, ...] = (mean.inputs[0], scale)
        shifted = _only_reader(view, scaled, "Add")
        bias = _other_input(shifted, scaled) if shifted else None
        if shifted is not None and bias is not None:
            members, inputs = (*members, shifted), (*inputs, bias)
        yield Match("LayerNormalization", members, inputs)


def rms_norms(view: View) -> Iterator[Match]:
    """Yield x / sqrt(mean(x^2) + eps), with or without * scale."""
    for square in view.nodes():
        normed = _normalized(view, square.inputs[0], square) if _is_square(view.graph, square) else ()
        if not normed:
            continue
        scaled = _only_reader(view, normed[-1], "Mul")
        scale = _other_input(scaled, normed[-1]) if scaled else None
        if scaled is not None and scale is not None:
            yield Match("RMSNormalization", (*normed, scaled), (square.inputs[0], scale))
        else:
            yield Match("RMSNormalization", normed, square.inputs[:1])


def matmul_adds(view: View) -> Iterator[Match]:
    """Yield MatMul(x, constant matrix) + constant vector, the matrix possibly through a Transpose."""
    for matmul in view.nodes():
        if matmul.op != "MatMul" or matmul.domain:
            continue
        added = _only_reader(view, matmul, "Add")
        bias = _other_input(added, matmul) if added else None
        if added is None or bias is None or _constant_rank(view.graph, bias) != 1:
            continue
        weight, transposed = matmul.inputs[1], 0
        members: tuple[Node, ...] = (matmul, added)
        source = view.graph.producer.get(weight)
        if source is not None and source.op == "Transpose":
            if len(view.readers(weight)) == 1:
                members = (source, *members)
            weight, transposed = source.inputs[0], 1
        if _constant_rank(view.graph, weight) == 2:
            yield Match("Gemm", members, (matmul.inputs[0], weight, bias), {"transB": transposed})


def _normalized(view: View, x: str, square: Node) -> tuple[Node, ...]:
    """Return the nodes of x / sqrt(mean(x^2) + eps) from the square on, () if they do not follow."""
    nodes = [square]
    for op in ("ReduceMean", "Add", "Sqrt"):
        following = _only_reader(view, nodes[-1], op)
        if following is None:
            return ()
        nodes.append(following)
    divided = _only_reader(view, nodes[-1])
    if divided is None:
        return ()
    if divided.op == "Div" and divided.inputs[0] == x:
        return (*nodes, divided)
    if divided.op == "Reciprocal" or (divided.op == "Div" and _is_scalar(view.graph, divided.inputs[0], 1.0)):
        multiplied = _only_reader(view, divided, "Mul")
        if multiplied is not None and x in multiplied.inputs:
            return (*nodes, divided, multiplied)
    return ()


def _is_square(graph: Graph, node: Node) -> bool:
    if len(node.inputs) != 2:
        return False
    first, second = node.inputs
    return (node.op == "Mul" and first == second) or (node.op == "Pow" and _is_scalar(graph, second, 2.0))


def _only_reader(view: View, node: Node, op: str = "") -> Node | None:
    """Return the one node that reads the first output; None if there are others or the model puts it out."""
    readers = view.readers(node.outputs[0])
    if len(readers) != 1 or id(readers[0]) in view.gone or node.outputs[0] in view.graph.outputs:
        return None
    return readers[0] if op in ("", readers[0].op) else None


def _other_input(node: Node, source: Node) -> str | None:
    """Return the input of a two-operand node that `source` does not compute."""
    return next((tensor for tensor in node.inputs if tensor != source.outputs[0]), None)


def _is_scalar(graph: Graph, tensor: str, value: float) -> bool:
    known = graph.tensors.get(tensor)
    return known is not None and known.constant and known.scalar == value


def _constant_rank(graph: Graph, tensor: str) -> int | None:
    known = graph.tensors.get(tensor)
    return len(known.shape) if known is not None and known.constant and known.shape is not None else None
