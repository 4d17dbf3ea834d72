"""Small ONNX models and hand-made plans, for the tests of the ONNX backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from qsimc_onnx.model import OnnxModel, open_model
from qsimc_onnx.session import options_with_kernels

from qsimc import native
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.ir.quant import Numeric, QuantSpec
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan

INT8 = QuantSpec(enabled=True, type=Numeric.INT, bits=8)
FLOAT16 = QuantSpec(enabled=True, type=Numeric.FLOAT, bits=16)
BFLOAT16 = QuantSpec(enabled=True, type=Numeric.BFLOAT, bits=16)


needs_kernels = pytest.mark.skipif(
    native.kernels() is None, reason="the kernels are not built here; test_native.py fails if they should be"
)


def value(name: str, shape: Sequence[int | str | None], dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
    """Return an input or output; None is an unknown dimension."""
    return make_tensor_value_info(name, dtype, shape)


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    opset: int = 17,
    ir_version: int = 8,
) -> ModelProto:
    """Return a model."""
    stored = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = make_graph(nodes, "g", inputs, outputs, stored)
    return make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=ir_version)


def opened(proto: ModelProto, folder: Path, name: str = "m.onnx") -> OnnxModel:
    """Write a model and open it; nothing may be reported."""
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    findings: list[object] = []
    model = open_model(str(path), findings.append)
    assert model is not None, findings
    return model


def plan_of(model: OnnxModel, specs: Mapping[str, QuantSpec], shares: Mapping[str, str] | None = None) -> Plan:
    """Return a plan that quantizes the tensors of `specs`, in graph order."""
    graph = model.graph
    order = [*graph.inputs, *(t for t in graph.tensors if model.stores(t)), *graph.producer]
    tensors = {}
    for tensor in dict.fromkeys(t for t in order if t in specs):
        kind = Kind.PARAM if model.stores(tensor) else Kind.INPUT if tensor in graph.inputs else Kind.ACTIVATION
        tensors[tensor] = TensorPlan(
            tensor=tensor,
            kind=kind,
            role="weight" if kind is Kind.PARAM else "output",
            node=None,
            op=None,
            spec=specs[tensor],
            shares=(shares or {}).get(tensor),
        )
    assert tensors.keys() == specs.keys()
    return Plan(graph=graph, tensors=tensors, dialect="qsim", mode=Mode.FIXED)


def encoding(
    scale: float | Sequence[float],
    zero_point: int | Sequence[int] = 0,
    *,
    grid: tuple[int, int] = (-128, 127),
    bits: int = 8,
    axis: int | None = None,
    numerics: Numerics = "onnx",
) -> Encoding:
    """Return an encoding; lists are per channel."""
    scales = np.atleast_1d(np.asarray(scale, np.float64))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape)
    return Encoding(scales, zero_points, *grid, bits, not zero_points.any(), axis, numerics)


def small_net(opset: int = 17, seed: int = 0) -> ModelProto:
    """Return Conv, Relu, Add with a shared constant, MatMul, Gemm and Concat on input `x` of shape (2, 3, 4, 4)."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> NDArray[np.float32]:
        return random.standard_normal(shape).astype(np.float32)

    nodes = [
        make_node("Conv", ["x", "conv.weight", "conv.bias"], ["conv"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        make_node("Relu", ["conv"], ["relu"], "relu"),
        make_node("Add", ["relu", "shared"], ["add"], "add"),
        make_node("Mul", ["add", "shared"], ["mul"], "mul"),
        make_node("Flatten", ["mul"], ["flat"], "flatten"),
        make_node("MatMul", ["flat", "matmul.weight"], ["matmul"], "matmul"),
        make_node("Gemm", ["flat", "gemm.weight", "gemm.bias"], ["gemm"], "gemm"),
        make_node("Concat", ["matmul", "gemm"], ["y"], "concat", axis=1),
    ]
    constants = {
        "conv.weight": weights(4, 3, 3, 3),
        "conv.bias": weights(4),
        "shared": weights(4, 1, 1),
        "matmul.weight": weights(64, 5),
        "gemm.weight": weights(64, 3),
        "gemm.bias": weights(3),
    }
    return model_of(nodes, [value("x", [2, 3, 4, 4])], [value("y", [2, 8])], constants, opset)


def data(shape: Sequence[int], seed: int = 0, scale: float = 1.0) -> NDArray[np.float32]:
    """Return normally distributed values."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def operators(proto: ModelProto) -> list[str]:
    """Return what the nodes of a model are, in order."""
    return [node.op_type for node in proto.graph.node]


def outputs_of(proto: ModelProto, x: NDArray[Any], threads: int = 1, **more: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a model of an input `x`, and more, as it is, kernels among its nodes or not."""
    options = options_with_kernels()
    options.intra_op_num_threads = threads
    found: list[NDArray[Any]] = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(
        None, {"x": x, **more}
    )
    return found
