"""Where Vitis AI's configurations put quantizers; the recordings are in tests/backends."""

from __future__ import annotations

import pytest

from qsimc.graph import Graph
from qsimc.planning.vitis.groups import Groups
from qsimc.planning.vitis.network import Network
from tests.unit.vitis_plans import NET, simple

# ── layers and groups ────────────────────────────────────────────────────────────────────────


def names(net: Graph) -> list[str]:
    return [layer.short_name for layer in Network.of(net).layers]


def quantized(net: Graph) -> list[str]:
    return [layer.short_name for layer, _ in Groups.make(Network.of(net)).outputs]


def test_layers_are_named_by_kind_and_place() -> None:
    expected = ["nndct_input_0", "nndct_conv2d_1", "nndct_relu_2", "nndct_depthwise_conv2d_3", "nndct_conv2d_4"]
    assert names(NET) == [*expected, "nndct_elemwise_add_5", "nndct_relu_6", "nndct_return_7"]


def test_one_quantizer_stands_at_the_end_of_a_group() -> None:
    assert quantized(NET) == [
        "nndct_input_0",
        "nndct_relu_2",
        "nndct_depthwise_conv2d_3",
        "nndct_conv2d_4",
        "nndct_relu_6",
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # What only moves values is not quantized, but the tensor before it is.
        ("a = MaxPool <kernel_shape = [2, 2]> (x) b = Flatten (a) y = Softmax (b)", ["maxpool_1", "softmax_3"]),
        ("a = Transpose <perm = [0, 2, 3, 1]> (x) y = Softmax (a)", ["softmax_2"]),
        # Two axes exchanged are a layer that counts.
        ("a = Softmax (x) b = Transpose <perm = [0, 1, 3, 2]> (a) y = Softmax (b)", ["transpose_2", "softmax_3"]),
        # A group that goes into a concatenation alone has no quantizer of its own.
        ("a = Softmax (x) b = Relu (a) y = Concat <axis = 1> (b, b)", ["concat_3"]),
        ("a = Softmax (x) b = Concat <axis = 1> (a, x) y = Add (b, a)", ["softmax_1", "concat_2", "elemwise_add_3"]),
        # Floats that a quantized layer reads are quantized, after all else.
        ("a = Sigmoid (x) b = Tanh (x) y = Sub (a, b)", ["elementwise_sub_3", "sigmoid_1", "tanh_2"]),
        ("a = Elu (x) b = Erf (a) y = Add (b, x)", ["elemwise_add_3", "aten_erf_2"]),
        # Nothing reads this one that is quantized.
        ("y = Sigmoid (x)", []),
        # A SiLU is one operator, and stays float.
        ("s = Sigmoid (x) a = Mul (x, s) y = Softmax (a)", ["softmax_2", "aten_silu_1"]),
    ],
)
def test_what_is_quantized(body: str, expected: list[str]) -> None:
    found = [name.removeprefix("nndct_") for name in quantized(simple(body))]
    assert [name for name in found if not name.startswith("input")] == expected


def test_a_constant_operand_is_a_layer_before_the_inputs() -> None:
    body = simple("y = Mul (x, k)", "<float k = {0.25}>")
    assert names(body) == ["nndct_const_0", "nndct_input_1", "nndct_elemwise_mul_2", "nndct_return_3"]
    assert quantized(body) == ["nndct_input_1", "nndct_elemwise_mul_2", "nndct_const_0"]


def test_a_matrix_product_with_a_bias_is_one_linear_layer() -> None:
    net = simple("m = MatMul (x, w) y = Add (b, m)", "<float[2, 2] w = {0, 0, 0, 0}, float[2] b = {0, 0}>")
    (layer,) = [found for found in Network.of(net).layers if found.kind == "dense"]
    assert [(p.role, p.tensor, p.axis) for p in layer.params] == [("weight", "w", 1), ("bias", "b", 0)]
    assert layer.inputs == ("x",)
