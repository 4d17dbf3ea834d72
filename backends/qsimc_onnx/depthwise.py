"""Depthwise convolutions of an unoptimised model, by the kernels: the same bits as onnxruntime's, in less time.

onnxruntime's fast convolutions need its blocked layout, in which they round otherwise.  In the plain layout it copies
the values under every tap of a depthwise kernel before it adds them up, which costs several times the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from qsimc import native
from qsimc_onnx.protos import ONNX_DOMAINS, attributes
from qsimc_onnx.session import run

_DEFAULTS: Mapping[str, Any] = {
    "auto_pad": b"NOTSET",
    "dilations": [1, 1],
    "group": 1,
    "pads": [0, 0, 0, 0],
    "strides": [1, 1],
}
"""What attributes of Conv are where they are not given, in two dimensions."""

_NAMES = {
    "strides": ("stride_y", "stride_x"),
    "dilations": ("dilation_y", "dilation_x"),
    "pads": ("pad_top", "pad_left", "pad_bottom", "pad_right"),
}
"""Attribute of Conv -> those of the kernels' operator."""


def convolve_inside(model: ModelProto, *, threads: int) -> None:
    """Let the kernels do the depthwise convolutions of two dimensions, where that changes no bit.

    It changes none where onnxruntime adds up in the order that the kernels know, which is tried on this machine.

    Args:
        threads: how many take part.
    """
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    found = [node for node in model.graph.node if _is_depthwise(node, weights)]
    if found and _adds_up_as_the_kernels():
        for node in found:
            node.CopyFrom(_inside(node, threads))
        model.opset_import.append(make_opsetid(native.DOMAIN, 1))


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {**_DEFAULTS, **attributes(node)}


def _is_depthwise(node: NodeProto, weights: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether a node is a convolution that the kernels may do."""
    if node.op_type != "Conv" or node.domain not in ONNX_DOMAINS:
        return False
    shape, given = weights.get(node.input[1], ()), _attributes(node)
    if len(shape) != 4 or shape[1] != 1 or not shape[0] == given["group"] > 1:
        return False
    # Without padding and strides a kernel as wide as its input is another product of matrices, in another order.
    moved = any(given["pads"]) or any(stride != 1 for stride in given["strides"])
    return given["auto_pad"] == b"NOTSET" and min(given["pads"]) >= 0 and moved


def _inside(node: NodeProto, threads: int) -> NodeProto:
    """Return the kernels' node for a convolution."""
    given = _attributes(node)
    numbers = {name: n for old, names in _NAMES.items() for name, n in zip(names, given[old], strict=True)}
    return make_node(
        "DepthwiseConv", node.input, node.output, name=node.name, domain=native.DOMAIN, threads=threads, **numbers
    )


@cache
def _adds_up_as_the_kernels() -> bool:
    """Return whether onnxruntime's depthwise convolutions have the kernels' bits on this machine."""
    rng = np.random.default_rng(0)
    channels, shape = 8, (1, 8, 13, 21)
    constants = {
        "small": rng.standard_normal((channels, 1, 3, 3), dtype=np.float32),
        "large": rng.standard_normal((channels, 1, 5, 5), dtype=np.float32),
        "bias": rng.standard_normal(channels, dtype=np.float32),
    }
    nodes = [
        make_node("Conv", ["x", "small", "bias"], ["y"], group=channels, pads=[1, 1, 1, 1]),
        make_node("Conv", ["x", "large"], ["z"], group=channels, pads=[2, 2, 2, 2], strides=[2, 2]),
    ]
    twins = [_inside(node, 1) for node in nodes]
    for twin in twins:
        twin.output[0] += "/inside"
    names = [node.output[0] for node in (*nodes, *twins)]
    graph = make_graph(
        [*nodes, *twins],
        "depthwise",
        [make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [from_array(values, name) for name, values in constants.items()],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 13), make_opsetid(native.DOMAIN, 1)], ir_version=8)
    x = rng.standard_normal(shape, dtype=np.float32)
    (made,) = run(model.SerializeToString(), [{"x": x}], optimise=False)
    return all(made[a.output[0]].tobytes() == made[b.output[0]].tobytes() for a, b in zip(nodes, twins, strict=True))
