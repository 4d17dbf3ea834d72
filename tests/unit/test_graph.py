"""The graph reader: names, types, shapes, constants, attributes, subgraphs; and that weights stay unread."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from qsimc_onnx.graph import read_graph

from tests.unit.plans import SHIPPED, graph_of


def test_unnamed_and_duplicate_nodes_get_unique_names() -> None:
    graph = graph_of("g (float[4] x) => (float[4] y) { a = Relu(x) [n] b = Relu(a) [n] c = Relu(b) y = Tanh(c) }")
    assert [node.name for node in graph.nodes] == ["/Relu", "n", "/Relu_2", "/Tanh"]


def test_a_name_that_is_taken_is_not_given_again() -> None:
    model = 'g (float[4] x) => (float[4] y) { ["/Relu"] a = Relu(x) b = Relu(a) ["/Relu_1"] y = Relu(b) }'
    assert [node.name for node in graph_of(model).nodes] == ["/Relu", "/Relu_1", "/Relu_3"]


@pytest.mark.parametrize(
    ("body", "tensor", "dtype"),
    [
        ("y = Cast <to = 10> (x)", "y", "float16"),
        ("s = Shape(x) y = Cast <to = 1> (s)", "s", "int64"),
        ("m = Greater(x, x) y = Cast <to = 1> (m)", "m", "bool"),
        ("s = Shape(x) y = ConstantOfShape(s)", "y", "float32"),
        ("y, z = Split <axis = 0, num_outputs = 2> (x)", "z", "float32"),
        ("k = Constant <value_ints = [1, 2]> () y = Reshape(x, k)", "k", "int64"),
        ("y, i = TopK <axis = 0> (x, two)", "i", "int64"),
        ("q = QuantizeLinear(x, one) y = DequantizeLinear(q, one)", "q", "uint8"),
        ("q = SequenceConstruct(x, x) y = SequenceAt(q, zero)", "y", "float32"),
        ("y = RandomNormal <shape = [4]> ()", "y", "float32"),
        ("y = com.example.Unheard(x)", "y", ""),
    ],
)
def test_types_follow_from_the_operators(body: str, tensor: str, dtype: str) -> None:
    inits = "<float one = {1}, int64[1] two = {2}, int64 zero = {0}>"
    parsed = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18, "com.example" : 1]> g (float[4] x) => (y) {inits} {{ {body} }}'
    )
    assert read_graph(parsed).tensors[tensor].dtype == dtype


@pytest.mark.parametrize("model", sorted(SHIPPED.glob("*.onnx")), ids=lambda p: p.stem)
def test_types_are_those_of_shape_inference(model: str) -> None:
    proto = onnx.load(model)
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    del proto.graph.value_info[:]
    graph = read_graph(proto)
    for value in (*inferred.value_info, *inferred.output):
        expected = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        assert graph.tensors[value.name].dtype == expected


def test_types_pass_through_function_calls_and_bodies() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 18, "local" : 1]>
        g (float16[4] x, bool c) => (y, z) {
          y = local.twice(x)
          z = If(c) < then_branch = t () => (float16[4] a) { a = Neg(x) },
                      else_branch = e () => (float16[4] b) { b = Identity(y) } >
        }
        <domain: "local", opset_import: ["" : 18]> twice (p) => (q) { q = Add(p, p) }"""
    )
    graph = read_graph(model)
    assert [graph.tensors[t].dtype for t in ("y", "z")] == ["float16", "float16"]
    branch = graph.producer["z"]
    assert (branch.captures, branch.inner) == (("x", "y"), ("a", "b"))


def test_shapes_are_those_the_file_states() -> None:
    graph = graph_of("g (float[N,3] x, float s, float[] z) => (float[N,3] y) { y = Add(x, s) }")
    assert [graph.tensors[t].shape for t in ("x", "s", "z")] == [(None, 3), (), None]


def test_one_element_constants_are_read() -> None:
    graph = graph_of(
        """g (float[4] x) => (float[4] y) <float half = {0.5}, float[2] pair = {1, 2}>
        { k = Constant <value_float = 2.0> () j = Constant <value = int64[1] {7}> () y = Add(x, half) }"""
    )
    constants = {name: (t.shape, t.scalar) for name, t in graph.tensors.items() if t.constant}
    assert constants == {"half": ((), 0.5), "pair": ((2,), None), "k": ((), 2.0), "j": ((1,), 7.0)}


def test_initializers_are_no_inputs() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 3, opset_import: ["" : 18]> g (float[1] x, float[1] w) => (float[1] y) { y = Add(x, w) }'
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "w"))
    graph = read_graph(model)
    assert graph.inputs == ("x",)
    assert graph.tensors["w"].constant


def test_external_weights_stay_unread() -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="no-such-file.bin")
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 18]> g (float[1] x) => (y) { y = Add(x, w) }')
    model.graph.initializer.append(weight)
    tensor = read_graph(model).tensors["w"]
    assert (tensor.dtype, tensor.shape, tensor.constant, tensor.scalar) == ("float32", (1,), True, None)


def test_a_damaged_constant_has_no_value() -> None:
    damaged = TensorProto(name="w", data_type=TensorProto.FLOAT, raw_data=b"\0\0")
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 18]> g (float[1] x) => (y) { y = Add(x, w) }')
    model.graph.initializer.append(damaged)
    assert read_graph(model).tensors["w"].scalar is None


def test_attributes_are_plain_values() -> None:
    graph = graph_of('g (float[1,1,4] x) => (y) { y = AveragePool <auto_pad = "SAME_UPPER", kernel_shape = [2]> (x) }')
    assert graph.nodes[0].attributes == {"auto_pad": "SAME_UPPER", "kernel_shape": (2,)}


def test_positions_of_absent_inputs_are_kept() -> None:
    graph = graph_of("g (float[4] x, float[1] s) => (y) { y = Resize(x, , s) }")
    assert graph.nodes[0].inputs == ("x", "", "s")
