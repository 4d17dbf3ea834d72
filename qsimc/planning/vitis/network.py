"""A graph as vai_q_pytorch sees it: layers in order, each with its kind, its parameters and its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from qsimc.graph import FLOATS, Graph, Node
from qsimc.planning.vitis.kinds import RETURN, data_inputs, kind_of, params_of
from qsimc.planning.vitis.parts import whole_operators
from qsimc.spec.vitis_ops import Kind, vitis_operators

_TRANSPARENT = ("Identity", "Dropout", "Cast")
"""Operators that are no layer: what they give is what they read."""

EDGE = "edge"
"""Function of an Identity that stands between a tensor and one of its readers, so that a quantizer can."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a layer: the tensor as the layer reads it, and `axis`, that of its output channels."""

    role: str
    tensor: str
    axis: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One operator of vai_q_pytorch.

    Attributes:
        kind: its name for it, without "nndct_": `conv2d`; `aten::elu` for one that it does not know.
        output: the tensor that it gives.
        inputs: the tensors that it reads, as it reads them, without its parameters.
        parents: the layer that each input comes from, through what is no layer; None where none makes it.
        node: the operator.
        members: the nodes of the graph that it consists of.
        index: its place in topological order, which is a part of its name.
    """

    kind: str
    output: str
    inputs: tuple[str, ...]
    parents: tuple[Layer | None, ...]
    params: tuple[Param, ...]
    node: Node
    members: tuple[Node, ...]
    index: int

    @property
    def row(self) -> Kind:
        """What is known of the kind."""
        return vitis_operators()[self.kind]

    @property
    def short_name(self) -> str:
        """Name in the files of results, without the model's: `nndct_conv2d_1`."""
        known = self.kind in vitis_operators().kind
        return f"nndct_{self.kind}_{self.index}" if known else f"{self.kind.replace('::', '_')}_{self.index}"


@dataclass(frozen=True)
class Network:
    """The layers of a graph in topological order: constants first, then inputs; one `return` is the last."""

    graph: Graph
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, graph: Graph) -> Network:
        """Return the layers of a graph."""
        return cls(graph, tuple(_Reader(graph).layers()))

    @cached_property
    def children(self) -> Mapping[Layer, Sequence[Layer]]:
        """Layer -> those that read it, each once; the `return` is one of them."""
        found: dict[Layer, list[Layer]] = {layer: [] for layer in self.layers}
        for layer in self.layers:
            for parent in dict.fromkeys(layer.parents):
                if parent is not None:
                    found[parent].append(layer)
        return found

    @cached_property
    def by_output(self) -> Mapping[str, Layer]:
        """Tensor -> the layer that gives it."""
        return {layer.output: layer for layer in self.layers if layer.output}

    def is_float(self, tensor: str) -> bool:
        """Say whether a tensor holds numbers that can be quantized; one of unknown type is taken for such."""
        known = self.graph.tensors.get(tensor)
        return bool(tensor) and (known is None or known.dtype in FLOATS or not known.dtype)


class _Reader:
    """Makes the layers of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._whole, self._members = whole_operators(graph)
        self._source: dict[str, str] = {}
        self._made: dict[str, Layer] = {}
        self._count = 0

    def layers(self) -> Iterator[Layer]:
        """Yield constants that are operands, inputs, every operator on floats, and the return."""
        nodes = [node for node in self._whole.nodes if node.op != "Constant"]
        for node in nodes:
            if node.op in _TRANSPARENT and node.inputs:
                self._source[node.outputs[0]] = node.inputs[0]
        operators = self._chunks_first([node for node in nodes if node.op not in _TRANSPARENT and self._counts(node)])
        for tensor in self._operands(operators):
            yield self._add("const", tensor, (), (), Node(tensor, "Constant", (), (tensor,)))
        for tensor in self._graph.inputs:
            yield self._add("input", tensor, (), (), Node(tensor, "Input", (), (tensor,)))
        for node in operators:
            params = tuple(Param(*found) for found in params_of(node, self._graph, self.source))
            inputs = self._inputs(node, params)
            kind = kind_of(node, self._whole)
            for place, output in enumerate(node.outputs if node.op == "Split" else node.outputs[:1]):
                if place and kind == "strided_slice":
                    # `torch.chunk` is traced as slices, and asks for the shape before each but the first.
                    yield self._add("shape", "", inputs[:1], (), Node("", "Shape", inputs, ()))
                    inputs = (*inputs[:1], "")
                yield self._add(kind, output, inputs, params, node)
        outputs = self._graph.outputs
        yield self._add(RETURN, "", outputs, (), Node(RETURN, "Return", outputs, ()))

    def _chunks_first(self, operators: list[Node]) -> list[Node]:
        """Return operators with a slice before the Shape of what it is cut from, as `torch.chunk` is traced."""
        ordered = list(operators)
        for place, (node, following) in enumerate(pairwise(operators)):
            cut = node.op == "Shape" and following.op == "Slice"
            if cut and self.source(node.inputs[0]) == self.source(following.inputs[0]):
                ordered[place : place + 2] = [following, node]
        return ordered

    def source(self, tensor: str) -> str:
        """Return the tensor behind what is no layer."""
        while tensor in self._source:
            tensor = self._source[tensor]
        return tensor

    def _add(self, kind: str, output: str, inputs: tuple[str, ...], params: tuple[Param, ...], node: Node) -> Layer:
        parents = tuple(self._made.get(self.source(tensor)) for tensor in inputs)
        members = self._members.get(output, (node,))
        layer = Layer(kind, output, inputs, parents, params, node, members, self._count)
        self._count += 1
        if output:
            self._made[output] = layer
        return layer

    def _counts(self, node: Node) -> bool:
        """Say whether an operator computes on floats, or tells the shape of such a tensor."""
        known = self._graph.tensors.get(node.outputs[0])
        return node.op == "Shape" or known is None or known.dtype in FLOATS or not known.dtype

    def _inputs(self, node: Node, params: tuple[Param, ...]) -> tuple[str, ...]:
        taken = {param.tensor for param in params}
        found = tuple(t for t in data_inputs(node) if t and t not in taken and self._is_float(t))
        return (*found, "") if node.op == "Slice" and self._starts_late(node) else found

    def _starts_late(self, node: Node) -> bool:
        """Say whether where a slice starts is computed: what it is computed from is then an input, but no float."""
        start = self._graph.tensors.get(node.inputs[1]) if len(node.inputs) > 1 else None
        return start is not None and not start.constant

    def _is_float(self, tensor: str) -> bool:
        known = self._graph.tensors.get(tensor)
        return known is not None and (known.dtype in FLOATS or not known.dtype)

    def _operands(self, operators: Sequence[Node]) -> Iterator[str]:
        """Yield the constants that operators compute with as they do with other tensors."""
        seen: set[str] = set()
        for node in operators:
            params = tuple(Param(*found) for found in params_of(node, self._graph, self.source))
            for tensor in map(self.source, filter(None, self._inputs(node, params))):
                if self._graph.tensors[tensor].constant and tensor not in seen:
                    seen.add(tensor)
                    yield tensor
