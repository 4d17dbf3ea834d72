"""ReLU6 to ReLU, and SiLU to Hardswish: what hardware has in the place of what it has not."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto
from onnx.helper import make_node

from qsimc.backend import Change
from qsimc.planning.vitis.kinds import kind_of
from qsimc.planning.vitis.network import Network
from qsimc_onnx.editor import Editor
from qsimc_onnx.graph import read_graph
from qsimc_onnx.origins import CALL, FUNCTION, tag

_HARD_SWISH_SINCE = 14
"""The operator set that introduced HardSwish."""


def relu6_to_relu(editor: Editor) -> Sequence[Change]:
    """Take the upper bound off every ReLU6."""
    graph = read_graph(editor.proto)
    capped = {node.outputs[0] for node in graph.nodes if node.op == "Clip" and kind_of(node, graph) == "relu6"}
    found = [node for node in editor.nodes if node.output and node.output[0] in capped]
    for node in found:
        editor.replace(node, [_like(node, "Relu", [node.input[0]])])
    return [Change("relu6-to-relu", node.name, "") for node in found]


def silu_to_hswish(editor: Editor) -> Sequence[Change]:
    """Put x * clip(x + 3, 0, 6) / 6 in the place of x * sigmoid(x)."""
    network = Network.of(read_graph(editor.proto))
    changes: list[Change] = []
    for layer in network.layers:
        if layer.kind != "aten::silu":
            continue
        product = editor.producer(layer.output)
        assert product is not None, "a layer's output is made by a node"
        changes.append(Change("silu-to-hswish", product.name, ""))
        if editor.opset >= _HARD_SWISH_SINCE:
            editor.replace(product, [_like(product, "HardSwish", [layer.inputs[0]])])
        else:
            editor.replace(product, _hard_swish(editor, product, layer.inputs[0]))
    _drop_unread(editor)
    return changes


def _hard_swish(editor: Editor, product: NodeProto, x: str) -> list[NodeProto]:
    """Return Hardswish in the operators of old operator sets."""
    fresh = editor.names.fresh
    shifted, raised, capped, scaled = (fresh(f"{x}/{step}") for step in ("shifted", "raised", "capped", "scaled"))
    number = editor.number
    nodes = [
        make_node("Add", [x, number(f"{x}/three", 3.0)], [shifted]),
        make_node("Max", [shifted, number(f"{x}/zero", 0.0)], [raised]),
        make_node("Min", [raised, number(f"{x}/six", 6.0)], [capped]),
        make_node("Mul", [capped, number(f"{x}/sixth", 1 / 6)], [scaled]),
        make_node("Mul", [x, scaled], [product.output[0]]),
    ]
    call = product.name or product.output[0]
    for node in nodes:
        node.name = fresh(f"{call}/{node.op_type}")
        tag(node, call, "qsimc.HardSwish", product)
    return nodes


def _like(node: NodeProto, op: str, inputs: list[str]) -> NodeProto:
    """Return a node of another operator with the name, the output and the origin of one."""
    made = make_node(op, inputs, list(node.output[:1]), name=node.name)
    made.metadata_props.extend(entry for entry in node.metadata_props if entry.key not in (CALL, FUNCTION))
    return made


def _drop_unread(editor: Editor) -> None:
    """Remove the sigmoids that nobody reads any more."""
    for node in editor.nodes:
        idle = node.op_type == "Sigmoid" and not editor.readers(node.output[0]) and not editor.is_output(node.output[0])
        if idle:
            editor.remove(node)
