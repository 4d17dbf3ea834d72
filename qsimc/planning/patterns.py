"""The decompositions that graph passes recognise: layer norm, RMS norm, masked softmax, and MatMul with a bias."""

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
        # AIMET takes the axes only from an attribute, which ReduceMean has before opset 18.
        known = mean.op == "ReduceMean" and "axes" in mean.attributes
        centred = only_reader(view, mean, "Sub") if known else None
        if centred is None or centred.inputs[0] != mean.inputs[0]:
            continue
        readers = (node for node in view.readers(centred.outputs[0]) if id(node) not in view.gone)
        square = next((node for node in readers if _is_square(view.graph, node)), None)
        normed = _normalized(view, centred.outputs[0], square) if square else ()
        normed = _with_cast(view, normed) if normed else ()
        scaled = only_reader(view, normed[-1], "Mul") if normed else None
        scale = _other_input(scaled, normed[-1]) if scaled else None
        if scaled is None or scale is None:
            continue
        members: tuple[Node, ...] = (mean, centred, *normed, scaled)
        inputs: tuple[str, ...] = (mean.inputs[0], scale)
        shifted = only_reader(view, scaled, "Add")
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
        source = view.graph.producer.get(square.inputs[0])
        whole = _with_cast(view, normed) if source is not None and source.op == "Cast" else normed
        scaled = only_reader(view, whole[-1], "Mul")
        scale = _other_input(scaled, whole[-1]) if scaled else None
        if scaled is not None and scale is not None:
            yield Match("RMSNormalization", (*whole, scaled), (square.inputs[0], scale))
        else:
            yield Match("RMSNormalization", normed, square.inputs[:1])


def masked_softmaxes(view: View) -> Iterator[Match]:
    """Yield softmax(where(mask, x, min(x) + low)) over the last of four axes, `low` being -20 or less."""
    for softmax in view.nodes():
        if softmax.op != "Softmax" or softmax.attributes.get("axis") not in (-1, 3):
            continue
        chosen = _inner(view, softmax.inputs[0], "Where")
        lower = _inner(view, chosen.inputs[2], "Add") if chosen else None
        lowest = _inner(view, lower.inputs[0], "ReduceMin") if lower else None
        if chosen is None or lower is None or lowest is None or len(lowest.inputs) < 2:
            continue
        mask, x, low = chosen.inputs[0], chosen.inputs[1], lower.inputs[1]
        shape = view.graph.tensors[x].shape
        if lowest.inputs[0] != x or shape is None or len(shape) != 4:
            continue
        added, axis = (number(view.graph, tensor) for tensor in (low, lowest.inputs[1]))
        if added is not None and added <= -20 and axis in (-1, 3):
            # `low` gets no quantizer for this, so the operator is said not to read it.
            yield Match("MaskedSoftmax", (lowest, lower, chosen, softmax), (x, mask))


def matmul_adds(view: View) -> Iterator[Match]:
    """Yield MatMul(x, constant matrix) + constant vector, the matrix possibly through a Transpose."""
    for matmul in view.nodes():
        if matmul.op != "MatMul" or matmul.domain:
            continue
        added = only_reader(view, matmul, "Add")
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
    for op in ("ReduceMean", "Add", ""):
        following = only_reader(view, nodes[-1], op)
        if following is None:
            return ()
        nodes.append(following)
    epsilon = number(view.graph, _other_input(nodes[2], nodes[1]) or "")
    if epsilon is not None and epsilon < 0:
        return ()
    divided = only_reader(view, nodes[-1])
    if divided is None:
        return ()
    if nodes[-1].op == "Pow" and _is_scalar(view.graph, nodes[-1].inputs[1], -0.5):
        return (*nodes, divided) if divided.op == "Mul" and x in divided.inputs else ()
    if nodes[-1].op != "Sqrt":
        return ()
    if divided.op == "Div" and divided.inputs[0] == x:
        return (*nodes, divided)
    if divided.op == "Reciprocal" or (divided.op == "Div" and _is_scalar(view.graph, divided.inputs[0], 1.0)):
        multiplied = only_reader(view, divided, "Mul")
        if multiplied is not None and x in multiplied.inputs:
            return (*nodes, divided, multiplied)
    return ()


def _with_cast(view: View, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Add the Cast that alone reads the last node, if there is one."""
    cast = only_reader(view, nodes[-1], "Cast")
    return nodes if cast is None else (*nodes, cast)


def _is_square(graph: Graph, node: Node) -> bool:
    if len(node.inputs) != 2:
        return False
    first, second = node.inputs
    return (node.op == "Mul" and first == second) or (node.op == "Pow" and _is_scalar(graph, second, 2.0))


def only_reader(view: View, node: Node, op: str = "") -> Node | None:
    """Return the one node that reads the first output; None if there are others or the model puts it out."""
    readers = view.readers(node.outputs[0])
    if len(readers) != 1 or id(readers[0]) in view.gone or node.outputs[0] in view.graph.public:
        return None
    return readers[0] if op in ("", readers[0].op) else None


def _inner(view: View, tensor: str, op: str) -> Node | None:
    """Return the node of type `op` that computes a tensor for one reader only, not for the model's caller."""
    node = view.graph.producer.get(tensor)
    if node is None or node.op != op or id(node) in view.gone or tensor in view.graph.public:
        return None
    return node if len(view.readers(tensor)) == 1 else None


def _other_input(node: Node, source: Node) -> str | None:
    """Return the input of a two-operand node that `source` does not compute."""
    return next((tensor for tensor in node.inputs if tensor != source.outputs[0]), None)


def number(graph: Graph, tensor: str) -> float | None:
    """Return the value of a constant that is a single number."""
    known = graph.tensors.get(tensor)
    return known.scalar if known is not None and known.constant else None


def _is_scalar(graph: Graph, tensor: str, value: float) -> bool:
    return number(graph, tensor) == value


def _constant_rank(graph: Graph, tensor: str) -> int | None:
    known = graph.tensors.get(tensor)
    return len(known.shape) if known is not None and known.constant and known.shape is not None else None
