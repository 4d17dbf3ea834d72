"""Every operator that has an expression computes in PyTorch what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import open_model
from qsimc_torch import ops
from qsimc_torch.build import filled, generated_of, tensor_of

from qsimc.diagnostics import InputError
from qsimc.graph import Graph
from qsimc.planning.plan import Mode, Plan
from tests.backends.test_torch_node_math import OPERATORS

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One node: its inputs by position, random floats where only a shape is given, constants where `fixed` says so."""

    op: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    fixed: tuple[int, ...] = ()
    opset: int = 18
    outputs: int = 1

    def __str__(self) -> str:
        return "-".join([self.op, *(f"{k}={v}".replace(" ", "") for k, v in self.attributes.items()), str(self.opset)])


def at(
    op: str, *inputs: Any, fixed: tuple[int, ...] = (), opset: int = 18, outputs: int = 1, **attributes: Any
) -> Case:
    return Case(op, inputs, attributes, fixed, opset, outputs)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def one(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)


IMAGE = (2, 3, 9, 8)
FLAT = (4, 6)

CASES = [
    *(at(op, FLAT) for op in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Neg", "Relu", "Round", "Sigmoid", "Sign")),
    *(at(op, FLAT) for op in ("HardSwish", "Identity", "Reciprocal", "Sin", "Softplus", "Softsign", "Tanh")),
    *(at(op, np.abs(np.random.default_rng(1).normal(size=FLAT)).astype(np.float32)) for op in ("Log", "Sqrt")),
    *(at(op, FLAT, alpha=0.3) for op in ("Elu", "LeakyRelu")),
    *(at(op, FLAT, (6,)) for op in ("Add", "Sub", "Mul", "Div", "MatMul")),
    *(at(op, FLAT, one(1.7), fixed=(1,)) for op in ("Add", "Sub", "Mul", "Div")),
    *(at(op, one(-1.7), FLAT, fixed=(0,)) for op in ("Add", "Sub", "Mul", "Div")),
    *(at(op, FLAT, one(0.1), fixed=(1,)) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    at("Div", np.array([7, -7, 8], np.int64), ints(2, 2, -3)),
    at("Pow", FLAT, one(2.0), fixed=(1,)),
    at("Where", np.array([True, False] * 12).reshape(FLAT), FLAT, FLAT),
    at("Not", np.array([True, False])),
    *(at(op, np.array([True, False, True]), np.array([True, True, False])) for op in ("And", "Or")),
    at("Clip", FLAT, one(0.0), one(6.0), fixed=(1, 2)),
    at("Clip", FLAT, one(-0.5), fixed=(1,)),
    at("Clip", FLAT, one(-0.5), one(0.5)),
    *(at("Clip", FLAT, one(-0.5), one(0.5), fixed=fixed) for fixed in ((1,), (2,))),
    at("Clip", FLAT, one(0.5), one(-0.5), fixed=(1,)),  # the upper bound wins
    at("HardSwish", np.linspace(-5, 70, 4096, dtype=np.float32)),
    at("Clip", FLAT, opset=9, min=-0.25, max=0.5),
    at("HardSigmoid", FLAT),
    at("HardSigmoid", FLAT, alpha=1 / 6, beta=0.5),
    at("PRelu", IMAGE, (3, 1, 1), fixed=(1,)),
    at("PRelu", IMAGE, (1,), fixed=(1,)),
    at("PRelu", IMAGE, (9, 8), fixed=(1,)),
    at("Gelu", FLAT, opset=20),
    at("Gelu", FLAT, opset=20, approximate="tanh"),
    *(at("Softmax", IMAGE, axis=axis, opset=opset) for axis in (-1, 1) for opset in (11, 13)),
    at("LogSoftmax", FLAT),
    *(at(op, FLAT, (6,), (4, 1)) for op in ("Min", "Max", "Sum", "Mean")),
    at("Dropout", FLAT),
    at("Cast", FLAT, to=int(onnx.TensorProto.INT64)),
    # weights
    at("Conv", IMAGE, (4, 3, 3, 3), (4,), fixed=(1, 2), pads=[1, 1, 1, 1]),
    at("Conv", IMAGE, (4, 3, 3, 2), fixed=(1,), pads=[0, 1, 2, 1], strides=[2, 1]),
    at("Conv", IMAGE, (3, 1, 3, 3), fixed=(1,), group=3, dilations=[2, 2]),
    at("Conv", IMAGE, (4, 3, 3, 3), fixed=(1,), auto_pad="SAME_UPPER", strides=[2, 2]),
    at("Conv", IMAGE, (4, 3, 4, 4), fixed=(1,), auto_pad="SAME_LOWER"),
    at("Conv", (2, 3, 9), (4, 3, 3), fixed=(1,)),
    at("Conv", (1, 2, 5, 5, 5), (4, 2, 3, 3, 3), fixed=(1,), pads=[1] * 6),
    at("Conv", IMAGE, (4, 3, 3, 3)),
    at("ConvTranspose", IMAGE, (3, 4, 3, 3), (4,), fixed=(1, 2), strides=[2, 2], pads=[1, 1, 1, 1]),
    at("ConvTranspose", IMAGE, (3, 2, 3, 3), fixed=(1,), strides=[2, 2], output_padding=[1, 1], group=3),
    at("Gemm", FLAT, (5, 6), (5,), fixed=(1, 2), transB=1),
    at("Gemm", FLAT, (6, 5), (5,), fixed=(1, 2)),
    at("Gemm", FLAT, (4, 5), (1, 5), fixed=(1, 2), transA=1, alpha=0.5, beta=0.25),
    at("Gemm", FLAT, (6, 5), fixed=(1,), alpha=0.5),
    at("MatMul", (2, 3, 4, 5), (5, 6), fixed=(1,)),
    at("BatchNormalization", IMAGE, (3,), (3,), (3,), np.ones(3, np.float32), fixed=(1, 2, 3, 4), epsilon=1e-3),
    at("LayerNormalization", IMAGE, (8,), (8,), fixed=(1, 2)),
    at("LayerNormalization", IMAGE, (9, 8), fixed=(1,), axis=2, epsilon=1e-3),
    # windows
    at("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    at("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 1, 1, 0]),
    at("MaxPool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    at("MaxPool", (2, 3, 9), kernel_shape=[3]),
    at("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    at("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    at("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 1, 2, 1]),
    at("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 1, 2, 1], count_include_pad=1),
    at("AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]),
    at("GlobalAveragePool", IMAGE),
    at("GlobalMaxPool", IMAGE),
    # shapes
    *(at("Flatten", (2, 3, 4, 5), axis=axis) for axis in (0, 1, 2, -1, 4)),
    at("Reshape", IMAGE, ints(0, -1), fixed=(1,)),
    at("Reshape", IMAGE, ints(6, -1, 2), fixed=(1,)),
    at("Reshape", IMAGE, ints(6, -1)),
    at("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    at("Transpose", FLAT),
    at("Concat", FLAT, (4, 2), axis=1),
    at("Unsqueeze", FLAT, ints(0, -1), fixed=(1,)),
    at("Unsqueeze", FLAT, opset=11, axes=[1]),
    at("Squeeze", (1, 4, 1, 2), ints(0, 2), fixed=(1,)),
    at("Squeeze", (1, 4, 1, 2)),
    at("Expand", (4, 1), ints(3, 1, 5), fixed=(1,)),
    at("Expand", (4, 1), ints(3, 1, 5)),
    at("Shape", IMAGE),
    at("Shape", IMAGE, start=1, end=-1),
    at("Slice", IMAGE, ints(1), ints(-2), ints(2), fixed=(1, 2, 3)),
    at("Slice", IMAGE, ints(0, 1), ints(2**62, 7), ints(1, -1), ints(1, 3), fixed=(1, 2, 3, 4)),
    at("Slice", IMAGE, ints(-3), ints(2**31 - 1), ints(-2), fixed=(1, 2, 3)),
    at("Slice", IMAGE, opset=9, starts=[1, 0], ends=[3, 2], axes=[2, 1]),
    at("Slice", FLAT, ints(3), ints(0), ints(0), ints(-1), fixed=(1, 2, 3, 4)),
    at("Slice", IMAGE, ints(-1, 7), ints(-(2**62), -6), ints(2, 3), ints(-2, -1), fixed=(1, 2, 3, 4)),
    at("Slice", FLAT, ints(99), ints(-99), ints(1), ints(-3), fixed=(1, 2, 3, 4)),
    at("Slice", FLAT, ints(1, -3), ints(3, 2**62)),
    at("Gather", IMAGE, np.array(1), fixed=(1,), axis=1),
    at("Gather", IMAGE, np.array([[0, -1], [2, 1]]), fixed=(1,), axis=2),
    at("Gather", FLAT, np.array([1, 3])),
    at("Gather", IMAGE, np.array([1, 3]), axis=-1),
    at("Split", FLAT, ints(1, 2, 3), fixed=(1,), axis=1, outputs=3),
    at("Split", FLAT, axis=1, num_outputs=3, outputs=3),
    at("Split", FLAT, axis=0, opset=11, outputs=2),
    at("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 4), fixed=(1,)),
    at("Pad", IMAGE, ints(0, 1, 1, 2, 1, 0, 3, 4), one(1.5), fixed=(1, 2)),
    *(at("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 4), fixed=(1,), mode=mode) for mode in ("reflect", "edge")),
    at("Pad", IMAGE, ints(1, 2), one(0.0), ints(-1), fixed=(1, 2, 3)),
    *(at(op, IMAGE, axes=[2, 3], opset=13) for op in ("ReduceMean", "ReduceMax", "ReduceMin")),
    at("ReduceMean", IMAGE, ints(2, 3), fixed=(1,), keepdims=0),
    at("ReduceSum", IMAGE, ints(-1), fixed=(1,)),
    at("ReduceSum", IMAGE),
    at("ReduceMean", IMAGE, keepdims=0),
    at("ReduceMax", IMAGE, keepdims=0),
]


def resized(mode: str, place: str, scales: tuple[float, ...] = (), sizes: tuple[int, ...] = (), **more: Any) -> Case:
    inputs = [IMAGE, "", np.array(scales, np.float32)] if scales else [IMAGE, "", "", ints(*sizes)]
    options = {"mode": mode, "coordinate_transformation_mode": place, **more}
    return Case("Resize", tuple(inputs), options, (2,) if scales else (3,))


CASES += [
    resized("nearest", "asymmetric", (1, 1, 2, 2), nearest_mode="floor"),
    resized("nearest", "asymmetric", (1, 1, 1.5, 0.7), nearest_mode="floor"),
    resized("nearest", "half_pixel", (1, 1, 2, 3)),
    resized("nearest", "half_pixel", sizes=(2, 3, 18, 16)),
    resized("nearest", "half_pixel", (1, 1, 1.6, 0.5), nearest_mode="round_prefer_ceil"),
    *(resized("linear", place, (1, 1, 2, 2)) for place in ("half_pixel", "pytorch_half_pixel", "align_corners")),
    resized("linear", "half_pixel", sizes=(2, 3, 5, 12)),
    *(resized("cubic", place, (1, 1, 2, 1.5)) for place in ("half_pixel", "align_corners")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_computes_what_onnxruntime_computes(case: Case, tmp_path: Path) -> None:
    path, fed = saved(case, tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = session.run(None, fed)
    for wanted, made in zip(expected, ran(path, fed), strict=True):
        assert made.shape == wanted.shape
        assert made.numpy().dtype == wanted.dtype
        np.testing.assert_allclose(made.numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_every_operator_of_the_table_is_tried() -> None:
    assert {case.op for case in CASES} | {*OPERATORS} >= {*ops.rows()}


REFUSED = [
    (at("Bernoulli", FLAT), "what it returns is random"),
    (at("Dropout", FLAT, one(0.5), np.array(True), fixed=(1, 2)), "it is in training mode"),
    (at("Dropout", FLAT, one(0.5), np.array(False), fixed=(1,)), "it may be in training mode"),
    (at("BatchNormalization", IMAGE, (3,), (3,), (3,), (3,), opset=15, training_mode=1), "it is in training mode"),
    (at("GridSample", (1, 2, 4, 4, 4), (1, 4, 4, 4, 3), mode="cubic", opset=20), "torch samples volumes linearly only"),
]


@pytest.mark.parametrize(("case", "said"), REFUSED, ids=[str(case) for case, _ in REFUSED])
def test_what_torch_does_not_have_is_refused_with_a_reason(case: Case, said: str, tmp_path: Path) -> None:
    path, fed = saved(case, tmp_path)
    with pytest.raises(InputError) as refusal:
        ran(path, fed)
    (finding,) = refusal.value.findings
    assert finding.code == "Q0552"
    assert said in finding.message
    assert finding.notes == ("node `the/node`",)


def saved(case: Case, folder: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """Write the model of a case; return where, and what its inputs are fed."""
    rng = np.random.default_rng(0)
    names, fed, stored = [], {}, []
    for position, given in enumerate(case.inputs):
        name = "" if isinstance(given, str) else f"input.{position}"
        names.append(name)
        if name:
            value = given if isinstance(given, np.ndarray) else rng.normal(size=given).astype(np.float32)
            if position in case.fixed:
                stored.append(onnx.numpy_helper.from_array(value, name))
            else:
                fed[name] = value
    outputs = [f"output.{number}" for number in range(case.outputs)]
    node = onnx.helper.make_node(case.op, names, outputs, name="the/node", **case.attributes)
    graph = onnx.helper.make_graph(
        [node],
        "case",
        [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in fed.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        stored,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", case.opset)], ir_version=8)
    path = folder / "case.onnx"
    onnx.save(model, path)
    return str(path), fed


def ran(path: str, fed: Mapping[str, NDArray[Any]]) -> tuple[torch.Tensor, ...]:
    """Return what the generated module makes of some inputs."""
    model = open_model(path, lambda finding: pytest.fail(str(finding)))
    assert model is not None
    module = filled(generated_of(model, unquantized(model.graph), {}), model)
    with torch.no_grad():
        made = module(*(tensor_of(value) for value in fed.values()))
    return made if isinstance(made, tuple) else (made,)


def unquantized(graph: Graph) -> Plan:
    return Plan(graph=graph, tensors={}, dialect="aimet", mode=Mode.FIXED)
