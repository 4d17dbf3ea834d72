"""Mathematics in generated modules: the node tests of ONNX."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import pytest

from tests.backends.torch_node_cases import (
    REDUCTIONS,
    RTOL,
    cases_of,
    problem_of,
    reason_of,
    wrongly_excluded,
)

ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitCast", "BitShift", "BitwiseAnd"),
    *("BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div"),
    *("Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid"),
    *("HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min"),
    *("Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink"),
    *("Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "SwiGLU", "Swish", "Tan"),
    *("Tanh", "ThresholdedRelu", "Where", "Xor"),
)

ALONG_AXES = ("ArgMax", "ArgMin", "CumProd", "CumSum", "Hardmax", "LogSoftmax", "Softmax", "Trilu", *REDUCTIONS)

NORMS = (
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization"),
    *("LpNormalization", "MeanVarianceNormalization", "RMSNormalization"),
)

PRODUCTS = (
    *("Attention", "ConvInteger", "Det", "Einsum", "Gemm", "MatMul", "MatMulInteger", "QLinearConv"),
    *("QLinearMatMul", "RotaryEmbedding"),
)

OTHERS = (
    *("DequantizeLinear", "DynamicQuantizeLinear", "NegativeLogLikelihoodLoss", "QuantizeLinear"),
    "SoftmaxCrossEntropyLoss",
)

OPERATORS = (*ELEMENTWISE, *ALONG_AXES, *NORMS, *PRODUCTS, *OTHERS)

STORED: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((*REDUCTIONS, "CumProd", "CumSum", "Trilu"), (1,)),
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "ConvInteger": (1, 2, 3),
    "DequantizeLinear": (1, 2),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMulInteger": (1, 2, 3),
    "Pow": (1,),
    "PRelu": (1,),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 3, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RMSNormalization": (1,),
    "RotaryEmbedding": (1, 2),
}

"""Inputs that are constants in exported models; the node tests feed them, which is tried as well."""

ONLY_STORED = {"ReduceProd": "torch multiplies along one axis at a time, so that the axes must be known"}

WIDE = "torch has the unsigned types of 16, 32 and 64 bits to store, not to compute with"

NARROW = "torch does not compute with types of less than 8 bits; float8 it has, but `tensor_of` and Cast leave it out"

TRAINING = "training mode, which what simulates inference has not"

STRINGS = "torch has no strings"

SEQUENCES = "sequences and optional values are no tensors"

EMPTY = "torch has no maximum of nothing"

EXCLUDED = {
    WIDE: [
        *(
            f"test_{op}_uint{bits}"
            for op in ("add", "div", "greater", "greater_equal", "less", "less_equal", "max", "min", "mod", "sub")
            for bits in (16, 32, 64)
        ),
        *(f"test_bitshift_{way}_uint{bits}" for way in ("left", "right") for bits in (16, 32, 64)),
        "test_bitwise_not_3d",
    ],
    NARROW: [
        "test_cast*_*FLOAT8*",
        "test_cast*_*FLOAT4*",
        "test_cast*_*INT4*",
        "test_cast*_*INT2_*",
        "test_cast*_to_*INT2",
        *(f"test_{op}_{kind}" for op in ("quantizelinear", "dequantizelinear") for kind in ("e4m3fn", "e5m2")),
        "test_dequantizelinear_e4m3fn_float16",
        "test_dequantizelinear_e4m3fn_zero_point",
        *(f"test_quantizelinear_{kind}" for kind in ("int2", "int4", "uint2", "uint4", "float4e2m1")),
        *(f"test_dequantizelinear_{kind}" for kind in ("int2", "int4", "uint2", "uint4", "float4e2m1")),
    ],
    TRAINING: [
        "test_batchnorm_example_training_mode",
        "test_batchnorm_epsilon_training_mode",
        "test_training_dropout",
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout_mask",
        "test_training_dropout_zero_ratio",
        "test_training_dropout_zero_ratio_mask",
    ],
    STRINGS: ["test_equal_string", "test_equal_string_broadcast"],
    SEQUENCES: ["test_identity_sequence", "test_identity_opt"],
    EMPTY: ["test_reduce_max_empty_set", "test_reduce_max_empty_set_bool", "test_reduce_min_empty_set"],
}

EXCLUDED_EXPANDED = {
    WIDE: [f"test_{op}_equal_uint{bits}_expanded" for op in ("greater", "less") for bits in (16, 32, 64)],
    NARROW: ["test_castlike*_*FLOAT8*", "test_castlike*_*FLOAT4*", "test_castlike*_*INT4*", "test_castlike*_*INT2_*"],
}

ROUNDED = {
    # torch sums up in float32 what the reference sums up in float16: two units in the last place.
    "test_attention_4d_fp16": 2**-9,
    "test_attention_4d_causal_fp16": 2**-9,
}


def has_function(op: str) -> bool:
    """Return whether ONNX defines an operator by others."""
    schema = onnx.defs.get_schema(op)
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def failures(
    op: str, excluded: Mapping[str, list[str]], stored: tuple[int, ...], *, expanded: bool = False
) -> dict[str, str]:
    """Return the tests of an operator that fail and may not."""
    found = {}
    for case in cases_of(op, expanded=expanded):
        problem = None
        if reason_of(case.name, excluded) is None:
            problem = problem_of(case, stored, ROUNDED.get(case.name.removesuffix("_expanded"), RTOL))
        if problem is not None:
            found[case.name] = problem
    return found


@pytest.mark.parametrize("op", [op for op in OPERATORS if op not in ONLY_STORED])
def test_an_operator_passes_the_node_tests_of_onnx(op: str) -> None:
    assert cases_of(op)
    assert failures(op, EXCLUDED, ()) == {}


@pytest.mark.parametrize("op", STORED)
def test_an_operator_passes_them_with_constants(op: str) -> None:
    assert failures(op, EXCLUDED, STORED[op]) == {}


@pytest.mark.parametrize("op", [op for op in OPERATORS if has_function(op)])
def test_the_function_that_defines_an_operator_passes_its_node_tests(op: str) -> None:
    assert cases_of(op, expanded=True)
    assert failures(op, EXCLUDED_EXPANDED, (), expanded=True) == {}


def test_what_is_left_out_fails() -> None:
    assert [*wrongly_excluded(OPERATORS, EXCLUDED, {})] == []
    assert [*wrongly_excluded(OPERATORS, EXCLUDED_EXPANDED, {}, expanded=True)] == []
    for op in ONLY_STORED:
        assert any(problem_of(case) is not None for case in cases_of(op))
