"""Elementwise operators in onnxruntime's blocked layout, so that no tensor is converted for their sake.

onnxruntime converts a blocked tensor (`ReorderOutput`) for an operator that its blocked layout does not know, and back
(`ReorderInput`) for the next convolution.  Where that operator treats every value alike, it may as well run on the
blocked tensor: the values are the same, in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from qsimc import native
from qsimc_onnx.protos import ONNX_DOMAINS, attributes
from qsimc_onnx.rewrite import Names
from qsimc_onnx.session import run

DOMAIN = "com.microsoft.nchwc"

Shape: TypeAlias = "tuple[int | str, ...]"

_WHOLE = 16
"""Channels per block at most: of a multiple of them no block is padded, whatever the machine's is."""

_BY_CHANNEL = frozenset({"Add", "Mul"})
"""Operators that the kernels have for a number per channel, in any layout; float32 has one sum and one product."""

ELEMENTWISE = frozenset(
    {"Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"}
    | {"Max", "Min", "Mul", "Neg", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}
)
"""Operators that treat every value alike."""


@dataclass(frozen=True, slots=True)
class _Blocked:
    """A tensor in the blocked layout, and the node that converts it back."""

    name: str
    converter: NodeProto
    shape: Shape | None


@dataclass(slots=True)
class _Layout:
    """Which tensors of a graph exist in the blocked layout, too.

    Attributes:
        shapes: of tensors, as far as they are known; equal names are equal sizes.
        constants: shapes of initializers.
        block: how many channels lie together, if the kernels may take part; 0 if not.
        same: what a conversion to the blocked layout would make -> the blocked tensor that is there already.
    """

    names: Names
    shapes: dict[str, Shape]
    constants: dict[str, tuple[int, ...]]
    block: int
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
            if source is None or attributes(node).get("channels_last"):
                return [node]
            self.same[node.output[0]] = source.name
            return []
        return self._on_blocked(node) or [node]

    def _on_blocked(self, node: NodeProto) -> list[NodeProto]:
        if node.op_type not in ELEMENTWISE or node.domain not in ONNX_DOMAINS or len(node.output) != 1:
            return []
        sources = [self.blocked[name] for name in node.input if name in self.blocked]
        others = [name for name in node.input if name and name not in self.blocked]
        if not sources:
            return []
        first = sources[0]
        # Shapes that differ would be broadcast, which the order of values does not survive.
        if any(other.shape is None or other.shape != first.shape for other in sources[1:]):
            return []
        numbers = [name for name in others if name in self.constants and _is_number(self.constants[name])]
        made = node.output[0]
        twin = self.names.fresh(f"{made}/blocked")
        if len(numbers) == len(others):
            inputs = [self.blocked[name].name if name in self.blocked else name for name in node.input]
            result = _rewired(node, inputs, twin)
        elif self._is_by_channel(node, first, others):
            inputs = [first.name, others[0]]
            result = make_node(node.op_type, inputs, [twin], domain=native.DOMAIN, block=self.block)
        else:
            return []
        converter = _rewired(first.converter, [twin], made)
        self.blocked[made] = _Blocked(twin, converter, first.shape)
        return [result, converter]

    def _is_by_channel(self, node: NodeProto, first: _Blocked, others: list[str]) -> bool:
        if not self.block or node.op_type not in _BY_CHANNEL or len(node.input) != 2 or len(others) != 1:
            return False
        constant, channels = self.constants.get(others[0], ()), first.shape[1] if first.shape is not None else 0
        return len(constant) in (3, 4) and constant[-3] == channels == prod(constant)


def keep_blocked(model: ModelProto, *, inside: bool) -> None:
    """Let elementwise operators between conversions run on blocked tensors; every tensor keeps its name and values.

    A conversion whose result nobody reads any more is left to who drops what is unread.

    Args:
        inside: whether the kernels may take part.
    """
    graph = model.graph
    known = (*graph.value_info, *graph.input, *graph.output)
    dims = {value.name: value.type.tensor_type.shape.dim for value in known if value.type.tensor_type.HasField("shape")}
    sizes = {name: tuple(dim.dim_param or dim.dim_value for dim in shape) for name, shape in dims.items()}
    shapes: dict[str, Shape] = {name: shape for name, shape in sizes.items() if all(shape)}
    constants = {t.name: tuple(t.dims) for t in graph.initializer}
    block = _channels_per_block() if inside and any(is_whole(node) for node in graph.node) else 0
    layout = _Layout(Names.of(model), shapes, constants, block)
    nodes = [kept for node in graph.node for kept in layout.take(node)]
    del graph.node[:]
    graph.node.extend(nodes)
    if any(node.domain == native.DOMAIN for node in nodes):
        model.opset_import.append(make_opsetid(native.DOMAIN, 1))


@cache
def _channels_per_block() -> int:
    """Return how many channels onnxruntime puts together on this machine."""
    shape = (1, _WHOLE, 1, 2)
    graph = make_graph(
        [make_node("ReorderInput", ["x"], ["y"], domain=DOMAIN)],
        "reorder",
        [make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 13), make_opsetid(DOMAIN, 1)], ir_version=8)
    numbers = np.arange(2 * _WHOLE, dtype=np.float32).reshape(shape)
    (outputs,) = run(model.SerializeToString(), [{"x": numbers}], optimise=False)
    # Number 1 is the second of the first channel; a block of the first numbers of all channels comes before it.
    return int(np.flatnonzero(outputs["y"].ravel() == 1)[0])


def is_whole(node: NodeProto) -> bool:
    """Return whether a node converts a blocked tensor without padding to the layout that ONNX means."""
    if node.domain != DOMAIN or node.op_type != "ReorderOutput":
        return False
    return attributes(node).get("channels", 1) % _WHOLE == 0 and not attributes(node).get("channels_last")


def _rewired(node: NodeProto, inputs: list[str], output: str) -> NodeProto:
    """Return a copy of a node that reads and makes other tensors."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("name")
    del copy.input[:]
    copy.input.extend(inputs)
    copy.output[0] = output
    return copy


def _is_number(constant: tuple[int, ...]) -> bool:
    """Return whether a constant is a single number that gives what it is combined with, of 4 dimensions, no more."""
    return len(constant) <= 4 and prod(constant) == 1
