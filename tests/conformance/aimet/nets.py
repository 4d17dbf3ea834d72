"""Four small models with seeded weights, for calibration: residual, attention, branches, and plain layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A model under construction; its weights are normal, scaled by the inputs that each output sums."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self.shape = shape

    def weight(self, *shape: int) -> str:
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 4
        return self.constant(self._random.normal(size=shape) / np.sqrt(fan_in))

    def scale(self, size: int) -> str:
        return self.constant(self._random.uniform(0.5, 1.5, size=size))

    def constant(self, values: NDArray[np.float64]) -> str:
        return self._initializer(values.astype(np.float32))

    def numbers(self, *values: int) -> str:
        return self._initializer(np.array(values, np.int64))

    def _initializer(self, array: NDArray[np.float32] | NDArray[np.int64]) -> str:
        name = f"w{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=f"/{name}", **attributes))
        return name

    def conv(self, x: str, channels_in: int, channels_out: int, *, bias: bool = True) -> str:
        inputs = [x, self.weight(channels_out, channels_in, 3, 3), *([self.weight(channels_out)] if bias else [])]
        return self.add("Conv", *inputs, pads=[1, 1, 1, 1])

    def model(self, output: str) -> onnx.ModelProto:
        """Return the model, which has one input, `x`, and one output."""
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self._initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def residual() -> tuple[Net, str]:
    net = Net(1, (3, 8, 8))
    x = net.add("Relu", net.conv("x", 3, 8))
    y = net.conv(net.add("Relu", net.conv(x, 8, 8)), 8, 8, bias=False)
    y = net.add("BatchNormalization", y, net.scale(8), net.weight(8), net.weight(8), net.scale(8))
    y = net.add("Relu", net.add("Add", x, y))
    y = net.add("Flatten", net.add("GlobalAveragePool", y))
    return net, net.add("Gemm", y, net.weight(10, 8), net.weight(10), transB=1)


def attention() -> tuple[Net, str]:
    net = Net(2, (6, 16))
    x = net.add("LayerNormalization", "x", net.scale(16), net.weight(16), axis=-1)
    q, k, v = (net.add("MatMul", x, net.weight(16, 16)) for _ in range(3))
    scores = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 2, 1]))
    scores = net.add("Mul", scores, net.constant(np.array(0.25)))
    y = net.add("MatMul", net.add("Softmax", scores, axis=-1), v)
    y = net.add("Add", "x", net.add("Add", net.add("MatMul", y, net.weight(16, 16)), net.weight(16)))
    return net, net.add("Erf", y)


def branches() -> tuple[Net, str]:
    net = Net(3, (4, 8, 8))
    left = net.add("Sigmoid", net.conv("x", 4, 4))
    right = net.add("MaxPool", net.add("Relu", net.conv("x", 4, 4)), kernel_shape=[1, 1])
    joined = net.add("Concat", left, right, "x", axis=1)
    pooled = net.add("AveragePool", joined, kernel_shape=[2, 2], strides=[2, 2])
    depthwise = net.add("Conv", pooled, net.weight(12, 1, 3, 3), pads=[1, 1, 1, 1], group=12)
    return net, net.add("ConvTranspose", depthwise, net.weight(12, 3, 2, 2), net.weight(3), strides=[2, 2])


def dense() -> tuple[Net, str]:
    net = Net(4, (12,))
    x = net.add("Relu", net.add("Gemm", "x", net.weight(12, 20), net.weight(20)))
    x = net.add("Tanh", net.add("Gemm", x, net.weight(16, 20), transB=1))
    x = net.add("PRelu", net.add("MatMul", x, net.weight(16, 8)), net.scale(8))
    return net, net.add("Softmax", net.add("Reshape", x, net.numbers(-1, 2, 4)), axis=-1)


NETS: Mapping[str, Callable[[], tuple[Net, str]]] = {
    "residual": residual,
    "attention": attention,
    "branches": branches,
    "dense": dense,
}


def batches(net: Net, seed: int, count: int = 4) -> list[NDArray[np.float32]]:
    """Return calibration batches of 8 samples."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(8, *net.shape)).astype(np.float32) for _ in range(count)]
