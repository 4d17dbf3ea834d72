"""Elementwise operators in onnxruntime's blocked layout, so that no tensor is converted for their sake.

onnxruntime converts a blocked tensor (`ReorderOutput`) for an operator that its blocked layout does not know, and back
(`ReorderInput`) for the next convolution.  Where that operator treats every value alike, it may as well run on the
blocked tensor: the values are the same, in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from onnx import ModelProto, NodeProto, TensorProto

from qsimc_onnx.protos import ONNX_DOMAINS
from qsimc_onnx.rewrite import Names

DOMAIN = "com.microsoft.nchwc"

_WHOLE = 16
"""Channels per block at most: of a multiple of them no block is padded, whatever the machine's is."""

_ELEMENTWISE = frozenset(
    {"Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"}
    | {"Max", "Min", "Mul", "Neg", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}
)


@dataclass(frozen=True, slots=True)
class _Blocked:
    """A tensor in the blocked layout, and the node that converts it back."""

    name: str
    converter: NodeProto
    shape: tuple[int | str, ...] | None


@dataclass(slots=True)
class _Layout:
    """Which tensors of a graph exist in the blocked layout, too.

    Attributes:
        same: what a conversion to the blocked layout would make -> the blocked tensor that is there already.
    """

    names: Names
    shapes: dict[str, tuple[int | str, ...]]
    scalars: frozenset[str]
    blocked: dict[str, _Blocked] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)

    def take(self, node: NodeProto) -> list[NodeProto]:
        """Return what is to stand for a node: itself, or its twin on blocked tensors with a converter after it."""
        for position, name in enumerate(node.input):
            if name in self.same:
                node.input[position] = self.same[name]
        if is_whole(node):
            self.blocked[node.output[0]] = _Blocked(node.input[0], node, self.shapes.get(node.output[0]))
            return [node]
        if node.domain == DOMAIN and node.op_type == "ReorderInput":
            source = self.blocked.get(node.input[0])
            if source is None or _attribute(node, "channels_last"):
                return [node]
            self.same[node.output[0]] = source.name
            return []
        return self._on_blocked(node) or [node]

    def _on_blocked(self, node: NodeProto) -> list[NodeProto]:
        if node.op_type not in _ELEMENTWISE or node.domain not in ONNX_DOMAINS or len(node.output) != 1:
            return []
        sources = [self.blocked[name] for name in node.input if name in self.blocked]
        others = [name for name in node.input if name and name not in self.blocked]
        if not sources or not all(name in self.scalars for name in others):
            return []
        first = sources[0]
        # Shapes that differ would be broadcast, which the order of values does not survive.
        if any(other.shape is None or other.shape != first.shape for other in sources[1:]):
            return []
        made = node.output[0]
        twin = self.names.fresh(f"{made}/blocked")
        inputs = [self.blocked[name].name if name in self.blocked else name for name in node.input]
        converter = _rewired(first.converter, [twin], made)
        self.blocked[made] = _Blocked(twin, converter, first.shape)
        return [_rewired(node, inputs, twin), converter]


def keep_blocked(model: ModelProto) -> None:
    """Let elementwise operators between conversions run on blocked tensors; every tensor keeps its name and values.

    A conversion whose result nobody reads any more is left to who drops what is unread.
    """
    graph = model.graph
    known = (*graph.value_info, *graph.input, *graph.output)
    dims = {value.name: value.type.tensor_type.shape.dim for value in known if value.type.tensor_type.HasField("shape")}
    sizes = {name: tuple(dim.dim_param or dim.dim_value for dim in shape) for name, shape in dims.items()}
    shapes = {name: shape for name, shape in sizes.items() if all(shape)}
    layout = _Layout(Names.of(model), shapes, frozenset(t.name for t in graph.initializer if _is_scalar(t)))
    nodes = [kept for node in graph.node for kept in layout.take(node)]
    del graph.node[:]
    graph.node.extend(nodes)


def is_whole(node: NodeProto) -> bool:
    """Return whether a node converts a blocked tensor without padding to the layout that ONNX means."""
    if node.domain != DOMAIN or node.op_type != "ReorderOutput":
        return False
    return _attribute(node, "channels", 1) % _WHOLE == 0 and not _attribute(node, "channels_last")


def _rewired(node: NodeProto, inputs: list[str], output: str) -> NodeProto:
    """Return a copy of a node that reads and makes other tensors."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("name")
    del copy.input[:]
    copy.input.extend(inputs)
    copy.output[0] = output
    return copy


def _attribute(node: NodeProto, name: str, default: int = 0) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def _is_scalar(tensor: TensorProto) -> bool:
    """Return whether a tensor is a single number that gives what it is combined with, of 4 dimensions, no more."""
    return len(tensor.dims) <= 4 and prod(tensor.dims) == 1
