"""Operators written out node by node, which graph passes (`supergroup_pass_list`) leave in the graph.

Not every spelling is folded into one operator (fuse.py); of those that are not, some still have the quantizers inside
switched off, after all sections have spoken.  Source: aimet_onnx 2.42.0, observed by running it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from qsimc.diagnostics import Vendor
from qsimc.graph import Node
from qsimc.ir.config import show_value
from qsimc.planning.build import is_numeral
from qsimc.planning.difference import TOOL, Difference
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Resolution


@dataclass(frozen=True, slots=True)
class Written:
    """Nodes that together are one operator, and the tensors inside, which are not quantized.

    `weight` is symmetric if it is 16 bits wide; `bias` is symmetric, with channels where `like` has them.
    """

    op: str
    nodes: tuple[Node, ...]
    inside: tuple[str, ...]
    weight: str = ""
    bias: str = ""
    like: str = ""


def written_out(resolution: Resolution) -> Iterator[Written]:
    """Yield what the passes that the config names find, pass by pass."""
    reader = _Reader(resolution)
    for name in resolution.said.pass_names:
        find = _FINDERS.get(name)
        found = [find(reader, site.node) for site in resolution.sites] if find else []
        yield from (written for written in found if written is not None)


def graph_passes(resolution: Resolution) -> None:
    """Switch off the quantizers inside operators that are written out."""
    passes = resolution.said.passes
    if passes is None:
        return
    rule = f"option {passes.name}={show_value(passes.value)}"
    for written in written_out(resolution):
        first, last = written.nodes[0], written.nodes[-1]
        reason = Reason(rule, passes.span, f"inside the {written.op} that `{first.name}` to `{last.name}` are")
        for tensor in written.inside:
            if quantizer := resolution.made.get(tensor):
                quantizer.set("enabled", False, reason)
        if (weight := resolution.made.get(written.weight)) and weight.bits == 16:
            weight.set("symmetric", True, reason)
        if bias := resolution.made.get(written.bias):
            bias.set("symmetric", True, reason)
            like = resolution.made[written.like]
            bias.set("per_channel", like.per_channel, reason)
            bias.axis = like.axis


class _Reader:
    """Questions about the graph as the patterns ask them; every edge counts as a reader."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._sites = {id(site.node): site for site in resolution.sites}
        self.graph = resolution.graph

    def readers(self, node: Node) -> list[Node]:
        return self._resolution.next_nodes(node)

    def chain(self, first: Node, *ops: str, most: int | None = 1) -> tuple[Node, ...]:
        """Return nodes of these types, each the only reader of the one before, () if there are no such.

        The last has at most `most` readers, any number if that is None.
        """
        nodes = [first]
        for _ in ops[1:]:
            following = self.readers(nodes[-1])
            if len(following) != 1:
                return ()
            nodes.append(following[0])
        if tuple(node.op for node in nodes) != ops:
            return ()
        return tuple(nodes) if most is None or len(self.readers(nodes[-1])) <= most else ()

    def is_constant(self, tensor: str) -> bool:
        known = self.graph.tensors.get(tensor)
        return known is not None and known.constant and not self._resolution.is_param(tensor)

    def is_number(self, tensor: str, value: float) -> bool:
        """Whether a tensor is a constant scalar of this value.

        Raises:
            AimetError: in vendor mode, the scalar is a Constant of plain numbers.
        """
        known = self.graph.tensors.get(tensor)
        source = self.graph.producer.get(tensor)
        if source is not None and is_numeral(source):
            self._resolution.differences.fails("Q0539", _numeral(tensor))
        return self.is_constant(tensor) and known is not None and known.shape == () and known.scalar == value

    def is_vector(self, tensor: str) -> bool:
        known = self.graph.tensors.get(tensor)
        return known is not None and known.constant and known.shape is not None and len(known.shape) == 1

    def constants(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        return tuple(tensor for node in nodes for tensor in node.inputs if self.is_constant(tensor))

    def weight_of(self, node: Node) -> str:
        """Return the constant weight of a node, "" if it has none."""
        params = self._sites[id(node)].params
        return next((quantizer.tensor for quantizer, role in params if role == "weight"), "")


def _numeral(tensor: str) -> Difference:
    return Difference(
        code="Q0539",
        name="graph-pass-reads-number",
        message=f"the graph pass RMSNormalization reads `{tensor}`, a Constant of plain numbers",
        aimet="AIMET looks at the `value` of a Constant only, finds nothing, and fails",
        instead="qsimc reads the number",
        vendor=Vendor(TOOL, "AttributeError", "'NoneType' object has no attribute 'HasField'"),
    )


def _computed(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(tensor for node in nodes for tensor in node.outputs)


def _layer_norm(reader: _Reader, mean: Node) -> Written | None:
    """Find (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps), with or without * scale and + bias."""
    centring = reader.chain(mean, "ReduceMean", "Sub", most=None) if mean.op == "ReduceMean" else ()
    if not centring or centring[1].inputs[0] != mean.inputs[0]:
        return None
    centred = centring[1]
    readers = reader.readers(centred)
    power = next((node for node in readers if node.op == "Pow"), None)
    divided = next((node for node in readers if node.op == "Div"), None)
    if len(readers) != 2 or power is None or divided is None:
        return None
    root = reader.chain(power, "Pow", "ReduceMean", "Add", "Sqrt")
    if not root or divided.inputs != (centred.outputs[0], root[-1].outputs[0]):
        return None
    nodes = (mean, centred, *root, divided)
    inside = (*_computed(nodes[:-1]), *reader.constants(nodes))
    scaled = reader.chain(divided, "Div", "Mul")
    if not scaled:
        return Written("LayerNormalization", nodes, inside)
    scale = next((t for t in scaled[1].inputs if t != divided.outputs[0]), "")
    nodes, inside = (*nodes, scaled[1]), (*inside, *_computed(scaled[:1]))
    shifted = reader.chain(scaled[1], "Mul", "Add", most=None)
    if shifted:
        nodes, inside = (*nodes, shifted[1]), (*inside, *_computed(shifted[:1]), *reader.constants(shifted[1:]))
    return Written("LayerNormalization", nodes, inside, weight=scale)


def _rms_norm(reader: _Reader, first: Node) -> Written | None:
    """Find x / sqrt(mean(x^2) + eps), or RMSNormalization itself, with or without casts and * scale after it."""
    nodes = (first,) if first.op == "RMSNormalization" else _normalized(reader, first)
    if not nodes:
        return None
    after: list[Node] = []
    while len(following := reader.readers((*nodes, *after)[-1])) == 1 and following[0].op == "Cast":
        after.append(following[0])
    if len(following) != 1 or following[0].op != "Mul":
        return Written("RMSNormalization", nodes, (*_computed(nodes[:-1]), *reader.constants(nodes)))
    inner = (*nodes, *after)
    return Written("RMSNormalization", (*inner, following[0]), (*_computed(inner), *reader.constants(inner)))


def _normalized(reader: _Reader, square: Node) -> tuple[Node, ...]:
    if not _is_square(reader, square):
        return ()
    following = reader.readers(square)
    mean = reader.chain(following[0], "ReduceMean", "Add") if len(following) == 1 else ()
    root = reader.readers(mean[-1]) if mean else []
    if len(root) != 1:
        return ()
    nodes, x = (square, *mean, root[0]), square.inputs[0]
    last = reader.readers(root[0])
    if len(last) != 1:
        return ()
    if root[0].op == "Pow" and reader.is_number(root[0].inputs[1], -0.5):
        return (*nodes, last[0]) if last[0].op == "Mul" and x in last[0].inputs else ()
    if root[0].op != "Sqrt":
        return ()
    return (*nodes, *divided) if (divided := _divided(reader, x, root[0].outputs[0], last[0])) else ()


def _divided(reader: _Reader, x: str, root: str, node: Node) -> tuple[Node, ...]:
    """Return the nodes of x / root, which begins with `node`: a Div, or a product with the reciprocal."""
    if node.op == "Div" and node.inputs == (x, root):
        return (node,)
    inverse = node.op == "Reciprocal" or (node.op == "Div" and reader.is_number(node.inputs[0], 1.0))
    product = reader.readers(node)
    if inverse and len(product) == 1 and product[0].op == "Mul" and x in product[0].inputs:
        return (node, product[0])
    return ()


def _is_square(reader: _Reader, node: Node) -> bool:
    if node.op == "Mul":
        return node.inputs[0] == node.inputs[1]
    return node.op == "Pow" and reader.is_number(node.inputs[1], 2.0)


def _matmul_add(reader: _Reader, matmul: Node) -> Written | None:
    """Find MatMul(x, constant) + constant vector."""
    if matmul.op != "MatMul" or not (weight := reader.weight_of(matmul)):
        return None
    nodes = reader.chain(matmul, "MatMul", "Add", most=None)
    bias = next((t for t in nodes[1].inputs if t != matmul.outputs[0]), "") if nodes else ""
    if not reader.is_vector(bias):
        return None
    return Written("MatMul with a bias", nodes, (matmul.outputs[0], bias), bias=bias, like=weight)


_FINDERS: Mapping[str, Callable[[_Reader, Node], Written | None]] = {
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "MatmulAdd": _matmul_add,
}
