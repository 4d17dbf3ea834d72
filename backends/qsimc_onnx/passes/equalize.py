"""Cross-layer equalization: weights of one channel as large on both sides of it.

Source: vai_q_pytorch 3.5 (Xilinx/Vitis-AI b2b227921), `nndct_shared/optimization`, which follows Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), but for what it does with biases;
runs of the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from qsimc.backend import Change
from qsimc.planning.vitis.network import Layer, Network
from qsimc_onnx.editor import Editor
from qsimc_onnx.graph import read_graph

F32 = NDArray[np.float32]

_NOT_WORTH_IT = np.float32(0.5)
"""Channels whose weights are smaller than this on both sides together are left alone."""

_SMALLEST_WEIGHT = np.float32(1e-7)


def equalize(editor: Editor) -> Sequence[Change]:
    """Equalize each pair of convolutions with nothing but ReLUs and pools in between, in order along each chain."""
    changes: list[Change] = []
    network = Network.of(read_graph(editor.proto))
    for first, second in _pairs(network):
        before, after = _node(editor, first), _node(editor, second)
        if _is_plain(before, first) and _is_plain(after, second):
            _equalize(editor, before, after)
            changes.append(Change("equalize", before.name, f"with `{after.name}`"))
    return changes


def _pairs(network: Network) -> Iterator[tuple[Layer, Layer]]:
    for layer in network.layers:
        if layer.row.equalised != "weight":
            continue
        following = _only_child(network, layer)
        while following is not None and following.row.equalised == "through":
            following = _only_child(network, following)
        if following is not None and following.row.equalised == "weight":
            yield layer, following


def _only_child(network: Network, layer: Layer) -> Layer | None:
    children = network.children[layer]
    return children[0] if len(children) == 1 else None


def _node(editor: Editor, layer: Layer) -> NodeProto:
    node = editor.producer(layer.output)
    assert node is not None, "a layer's output is made by a node"
    return node


def _is_plain(node: NodeProto, layer: Layer) -> bool:
    """Say whether a convolution has one group, or one channel in each and as many as it gives."""
    roles = [param.role for param in layer.params]
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    return "weight" in roles and (group == 1 or layer.kind.startswith("depthwise"))


def _equalize(editor: Editor, before: NodeProto, after: NodeProto) -> None:
    first, second = editor.own(before, 1), editor.own(after, 1)
    # Rows and columns first: output channels of the one weight, input channels of the other.
    rows, columns = _rows(editor.constant(first), before), _columns(editor.constant(second), after)
    if len(rows) != len(columns):
        return
    has_bias = len(before.input) > 2 and bool(before.input[2])
    bias = editor.constant(editor.own(before, 2)) if has_bias else None
    scale = channel_scales(rows, columns, bias)
    editor.set_constant(first, _unrows(rows / _beside(scale, rows.ndim), before))
    editor.set_constant(second, _uncolumns(columns * _beside(scale, columns.ndim), after))
    if bias is not None:
        editor.set_constant(before.input[2], (bias / scale).astype(np.float32))


def channel_scales(rows: F32, columns: F32, bias: F32 | None) -> F32:
    """Return what each channel is divided by on one side and multiplied by on the other, shape (C,).

    Args:
        rows: the weight that gives the channels, shape (C, ...).
        columns: the weight that reads them, shape (C, ...).
        bias: what is added to each channel, shape (C,).
    """
    reach = np.abs(rows.reshape(len(rows), -1)).max(axis=1)
    if bias is not None:
        reach = np.maximum(reach, np.abs(bias) / np.float32(_bias_shrink(rows, bias)))
    read = np.abs(columns.reshape(len(columns), -1)).max(axis=1)
    root = np.sqrt(reach * read)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(root == 0, np.float32(1), reach / root)
    return np.where(reach + read < _NOT_WORTH_IT, np.float32(1), scale).astype(np.float32)


def _bias_shrink(rows: F32, bias: F32) -> int:
    """Return by how much biases count less than weights; the more, the larger they are beside the weights."""
    weights = np.abs(rows.reshape(len(rows), -1))
    sizes = np.abs(bias).astype(np.float32)
    nothing = (weights == 0).all(axis=1)
    least = np.where(weights > 0, weights, np.inf).min(axis=1)
    filled = np.where((weights == 0) & ~nothing[:, None], least[:, None], weights)
    filled = np.maximum(filled, _SMALLEST_WEIGHT)
    ratio = np.where(nothing, np.float32(0), sizes)[:, None] / filled
    median, mean = float(np.median(ratio)), float(ratio.mean())
    greatest = float(sizes.max(initial=0.0))
    if greatest < 10 and greatest / max(float(weights.max(initial=0.0)), float(_SMALLEST_WEIGHT)) < 20:
        return 5 if median > 100 or mean > 1000 else 2
    if median > 30 or mean > 500:
        return 20
    return 10 if median > 15 or mean > 100 else 5


def _beside(scale: F32, ndim: int) -> F32:
    return scale.reshape(-1, *[1] * (ndim - 1))


def _is_transposed(node: NodeProto) -> bool:
    return node.op_type == "ConvTranspose"


def _is_depthwise(node: NodeProto) -> bool:
    return next((a.i for a in node.attribute if a.name == "group"), 1) > 1


def _rows(weight: F32, node: NodeProto) -> F32:
    """Return a weight with its output channels first."""
    return np.swapaxes(weight, 0, 1) if _is_transposed(node) and not _is_depthwise(node) else weight


_unrows = _rows


def _columns(weight: F32, node: NodeProto) -> F32:
    """Return a weight with its input channels first."""
    return weight if _is_transposed(node) or _is_depthwise(node) else np.swapaxes(weight, 0, 1)


_uncolumns = _columns
