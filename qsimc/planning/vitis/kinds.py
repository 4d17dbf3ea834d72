"""Which operator of vai_q_pytorch an ONNX node is, and which of its inputs are parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qsimc.graph import Graph, Node
from qsimc.planning.vitis.parts import clip_bounds
from qsimc.spec.vitis_ops import vitis_operators

RETURN = "return"

_ONE_OPERAND = frozenset(
    {"Clip", "Resize", "Upsample", "Pad", "Slice", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"}
    | {"Transpose", "Split", "Gather", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "LSTM", "GRU", "Shape"}
)
"""Operators whose first input is the only one that carries data."""

_PARAMS = {
    "Conv": {"weight": 1, "bias": 2},
    "ConvTranspose": {"weight": 1, "bias": 2},
    "Gemm": {"weight": 1, "bias": 2},
    "MatMul": {"weight": 1},
    "BatchNormalization": {"weight": 1, "bias": 2},
    "LayerNormalization": {"weight": 1, "bias": 2},
    "GroupNormalization": {"weight": 1, "bias": 2},
    "InstanceNormalization": {"weight": 1, "bias": 2},
    "PRelu": {"weight": 1},
}
"""Operator -> role -> position; such an input is a parameter if it is a constant."""


def kind_of(node: Node, graph: Graph) -> str:
    """Return vai_q_pytorch's name of an operator, without "nndct_"."""
    find = _FINDERS.get(node.op)
    if find is not None:
        return find(node, graph)
    return vitis_operators().onnx.get(node.op, f"aten::{node.op.lower()}")


def data_inputs(node: Node) -> tuple[str, ...]:
    """Return the inputs that can carry data, parameters included."""
    if node.op == "BatchNormalization":
        return node.inputs[:3]
    return node.inputs[:1] if node.op in _ONE_OPERAND else node.inputs


def params_of(node: Node, graph: Graph, source: Callable[[str], str]) -> Iterator[tuple[str, str, int | None]]:
    """Yield role, tensor and channel axis of each parameter; `source` sees through what is no layer."""
    for role, position in _PARAMS.get(node.op, {}).items():
        tensor = node.inputs[position] if position < len(node.inputs) else ""
        known = graph.tensors.get(source(tensor))
        if known is None or not known.constant:
            continue
        if node.op == "MatMul" and len(known.shape or ()) != 2:
            continue
        yield role, tensor, _axis(node, role)


def _axis(node: Node, role: str) -> int:
    """Return the axis of the output channels, as the tensor lies in the ONNX file."""
    if role == "weight" and node.op in ("ConvTranspose", "MatMul"):
        return 1
    if role == "weight" and node.op == "Gemm":
        return 0 if node.attributes.get("transB", 0) else 1
    return 0


def _convolution(node: Node, graph: Graph) -> str:
    """A convolution of as many groups as channels is depthwise."""
    shape = graph.tensors[node.inputs[1]].shape or ()
    transposed = node.op == "ConvTranspose"
    group = node.attributes.get("group", 1)
    depthwise = isinstance(group, int) and group > 1 and len(shape) > 1 and (shape[0] if transposed else group) == group
    depthwise = depthwise and shape[1] == 1
    dims = _dims(node, len(shape) - 2)
    name = f"conv_transpose_{dims}d" if transposed else f"conv{dims}d"
    return f"depthwise_{name}" if depthwise else name


def _dims(node: Node, otherwise: int) -> int:
    kernel = node.attributes.get("kernel_shape")
    return len(kernel) if isinstance(kernel, tuple) else max(otherwise, 1)


def _product(node: Node, graph: Graph) -> str:
    """A product with a constant matrix is a linear layer."""
    known = graph.tensors.get(_source(node.inputs[1], graph))
    if known is not None and known.constant and len(known.shape or ()) == 2:
        return "dense"
    return "matmul" if node.op == "MatMul" else "addmm"


def _mean(node: Node, graph: Graph) -> str:
    """A mean that an adaptive pool was exported as is still the pool."""
    return "adaptive_avg_pool2d" if _is_adaptive(node) else "mean"


def _average(node: Node, graph: Graph) -> str:
    return "adaptive_avg_pool2d" if _is_adaptive(node) else "avgpool"


def _is_adaptive(node: Node) -> bool:
    return "AdaptiveAvgPool" in node.origin.module or "adaptive_avg_pool" in node.origin.function


def _maximum(node: Node, graph: Graph) -> str:
    return "maxpool1d" if _dims(node, 2) == 1 else "maxpool"


def _clip(node: Node, graph: Graph) -> str:
    bounds = clip_bounds(graph, node)
    if bounds == (0.0, 6.0):
        return "relu6"
    if bounds == (0.0, None):
        return "relu"
    return "hardtanh" if "Hardtanh" in node.origin.module else "clamp"


def _reshape(node: Node, graph: Graph) -> str:
    """A reshape of many axes to two is what `torch.flatten` is exported as."""
    before, after = (graph.tensors.get(_source(name, graph)) for name in (node.inputs[0], node.outputs[0]))
    ranks = [len(known.shape) if known is not None and known.shape is not None else 0 for known in (before, after)]
    if "flatten" in node.origin.function or (ranks[1] == 2 and ranks[0] > 2):
        return "flatten"
    return "reshape"


def _source(tensor: str, graph: Graph) -> str:
    """Return the tensor that an Identity passes on, whose shape is known."""
    node = graph.producer.get(tensor)
    return _source(node.inputs[0], graph) if node is not None and node.op == "Identity" else tensor


def _transpose(node: Node, graph: Graph) -> str:
    """`torch.transpose` exchanges two axes, `permute` may do anything."""
    permutation = node.attributes.get("perm")
    if "permute" in node.origin.function or not isinstance(permutation, tuple):
        return "permute"
    moved = sum(place != axis for place, axis in enumerate(permutation))
    return "transpose" if moved == 2 else "permute"


def _split(node: Node, graph: Graph) -> str:
    """A split into equal parts is what `torch.chunk` is exported as."""
    sizes_said = "split" in node.attributes or len(node.inputs) > 1
    return "split" if sizes_said and "chunk" not in node.origin.function else "strided_slice"


def _resize(node: Node, graph: Graph) -> str:
    known = graph.tensors.get(_source(node.inputs[0], graph))
    return "resize_3d" if known is not None and len(known.shape or ()) == 5 else "resize"


_FINDERS: dict[str, Callable[[Node, Graph], str]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _product,
    "MatMul": _product,
    "ReduceMean": _mean,
    "AveragePool": _average,
    "MaxPool": _maximum,
    "Clip": _clip,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Split": _split,
    "Resize": _resize,
    "Upsample": _resize,
}
