"""Where the ONNX seeds come from: small models, whole and broken, as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto
from onnx.helper import make_function, make_graph, make_node, make_opsetid, make_tensor_value_info

from tests.backends.onnx_models import data, model_of, small_net, value

_NAN = make_node("Constant", [], ["k"], value_float=float("nan"))


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each seed."""
    whole = small_net().SerializeToString()
    yield "empty", b""
    yield "nul", bytes(64)
    yield "text", b'{"graph": {}}'
    yield "small", whole
    yield "truncated", whole[: len(whole) // 2]
    yield "cut_in_a_tensor", whole[:-50]
    yield "trailing", whole + b"\xff" * 7
    yield "invalid_utf8", whole.replace(b"conv", b"\xc3\x28\xed\xa0")
    for name, break_ in _BREAKAGES.items():
        proto = small_net()
        break_(proto)
        yield name, proto.SerializeToString()
    yield "branches", _chain([_if(3)]).SerializeToString()
    yield "branches_deep", _chain([_if(20)]).SerializeToString()
    yield "external", _with_external("w.bin").SerializeToString()
    yield "external_outside", _with_external("../../etc/passwd").SerializeToString()
    yield "functions", _with_functions().SerializeToString()
    yield "constants", _chain(_constants()).SerializeToString()
    yield "not_a_number", _chain([_NAN, make_node("Mul", ["x", "k"], ["y"])]).SerializeToString()
    yield "quantized", _quantized().SerializeToString()


def _chain(nodes: Sequence[NodeProto]) -> ModelProto:
    """Return a model of nodes from `x` to `y` that may read the constants `c` and `w`."""
    constants: dict[str, NDArray[Any]] = {"c": np.array(True), "w": data((4, 4))}
    return model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], constants)


def _if(depth: int) -> NodeProto:
    inner = make_node("Identity", ["x"], ["y"]) if depth == 0 else _if(depth - 1)
    result = make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    body = make_graph([inner], "b", [], [result])
    return make_node("If", ["c"], ["y"], then_branch=body, else_branch=make_graph([], "e", [], []))


def _with_external(location: str) -> ModelProto:
    proto = _chain([make_node("MatMul", ["x", "w"], ["y"])])
    tensor = proto.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="9" * 19)
    return proto


def _with_functions() -> ModelProto:
    proto = _chain([make_node("F", ["x"], ["y"], domain="f")])
    inside = [make_node("Relu", ["a"], ["h"]), make_node("G", ["h"], ["b"], domain="f")]
    proto.functions.append(make_function("f", "F", ["a"], ["b"], inside, [make_opsetid("", 17), make_opsetid("f", 1)]))
    leaf = [make_node("Softmax", ["a"], ["b"], axis=-1)]
    proto.functions.append(make_function("f", "G", ["a"], ["b"], leaf, [make_opsetid("", 17)]))
    proto.opset_import.append(make_opsetid("f", 1))
    return proto


def _constants() -> list[NodeProto]:
    return [
        make_node("Constant", [], ["k1"], value_float=1.5),
        make_node("Constant", [], ["k2"], value_ints=[1, 2]),
        make_node("Constant", [], ["k3"], value_string="text"),
        make_node("Mul", ["x", "k1"], ["m"]),
        make_node("MatMul", ["m", "w"], ["y"]),
    ]


def _quantized() -> ModelProto:
    nodes = [make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    constants: dict[str, NDArray[Any]] = {"s": np.array(1, np.float32), "z": np.array(0, np.uint8)}
    return model_of(nodes, [value("x", [2])], [value("y", [2])], constants)


def _cycle(proto: ModelProto) -> None:
    proto.graph.node[0].input[0] = "mul"


def _no_graph(proto: ModelProto) -> None:
    proto.ClearField("graph")


def _huge_shape(proto: ModelProto) -> None:
    proto.graph.initializer[0].dims[:] = [2**62, 2**62, 2**62]


def _negative_shape(proto: ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = -4


def _two_values(proto: ModelProto) -> None:
    proto.graph.initializer[0].float_data.append(1.0)


def _unknown_type(proto: ModelProto) -> None:
    proto.graph.initializer[0].data_type = 99


def _odd_attributes(proto: ModelProto) -> None:
    for node in proto.graph.node:
        for attribute in node.attribute:
            attribute.type = AttributeProto.STRING
            attribute.s = b"\xff\x00"


def _no_inputs_of_nodes(proto: ModelProto) -> None:
    for node in proto.graph.node:
        del node.input[:]


def _hostile_names(proto: ModelProto) -> None:
    for node in proto.graph.node:
        node.name = "../../x\n\x1b[31m\u202e{{7*7}}::error::"


def _hostile_metadata(proto: ModelProto) -> None:
    for node in proto.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="[" * 9000)


_BREAKAGES: dict[str, Callable[[ModelProto], None]] = {
    "cycle": _cycle,
    "no_graph": _no_graph,
    "huge_shape": _huge_shape,
    "negative_shape": _negative_shape,
    "two_values": _two_values,
    "unknown_type": _unknown_type,
    "odd_attributes": _odd_attributes,
    "no_inputs_of_nodes": _no_inputs_of_nodes,
    "hostile_names": _hostile_names,
    "hostile_metadata": _hostile_metadata,
}
