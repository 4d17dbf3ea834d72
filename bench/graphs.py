"""Seeded ONNX graphs of any size: a chain of convolutions, and a stack of decoder layers.

python bench/graphs.py conv 10000 chain.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

CHANNELS, SIDE = 4, 8
HIDDEN, HEADS, TOKENS = 16, 2, 8


def conv_chain(size: int) -> ModelProto:
    """Return a chain of `size` nodes: Conv, Relu, Conv, Relu, ..."""
    random = np.random.default_rng(0)
    nodes: list[NodeProto] = []
    weights = []
    last = "x"
    for layer in range(size // 2):
        weight = random.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / 4
        weights += [
            numpy_helper.from_array(weight, f"w{layer}"),
            numpy_helper.from_array(np.zeros(CHANNELS, np.float32), f"b{layer}"),
        ]
        inputs = [last, f"w{layer}", f"b{layer}"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{layer}"], f"conv{layer}", pads=[1] * 4, kernel_shape=[3, 3]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], f"relu{layer}"))
        last = f"r{layer}"
    return _model(nodes, weights, last, [1, CHANNELS, SIDE, SIDE])


def in_memory(values: NDArray[Any], name: str) -> TensorProto:
    """Return a tensor that holds its values itself."""
    return numpy_helper.from_array(values, name)


class Decoder:
    """Writes decoder layers: RMS normalization, attention, a gated feed-forward part, residual sums."""

    def __init__(
        self, hidden: int = HIDDEN, heads: int = HEADS, store: Callable[[NDArray[Any], str], TensorProto] = in_memory
    ) -> None:
        """Begin without a layer; `store` makes a weight of its values and its name."""
        self.hidden = hidden
        self.store = store
        self.random = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        by_head = np.array([1, TOKENS, heads, hidden // heads], np.int64)
        self.constants = [
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array(np.array(1e-5, np.float32), "epsilon"),
            numpy_helper.from_array(np.array((hidden // heads) ** -0.5, np.float32), "scale"),
            numpy_helper.from_array(np.triu(np.full((1, 1, TOKENS, TOKENS), -1e4, np.float32), 1), "mask"),
            numpy_helper.from_array(by_head, "by_head"),
            numpy_helper.from_array(np.array([1, TOKENS, hidden], np.int64), "joined"),
        ]

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"n_{output}", **attributes))
        return output

    def linear(self, x: str, name: str, rows: int, columns: int) -> str:
        weight = self.random.standard_normal((rows, columns), np.float32) / np.float32(np.sqrt(rows))
        self.constants.append(self.store(weight, f"{name}_w"))
        return self.node("MatMul", [x, f"{name}_w"], name)

    def norm(self, x: str, name: str) -> str:
        self.constants.append(numpy_helper.from_array(np.ones(self.hidden, np.float32), f"{name}_gain"))
        square = self.node("Pow", [x, "two"], f"{name}_square")
        mean = self.node("ReduceMean", [square], f"{name}_mean", axes=[-1])
        shifted = self.node("Add", [mean, "epsilon"], f"{name}_shifted")
        root = self.node("Sqrt", [shifted], f"{name}_root")
        return self.node("Mul", [self.node("Div", [x, root], f"{name}_unit"), f"{name}_gain"], name)

    def head(self, x: str, name: str, permutation: list[int]) -> str:
        split = self.node("Reshape", [self.linear(x, name, self.hidden, self.hidden), "by_head"], f"{name}_split")
        return self.node("Transpose", [split], f"{name}_heads", perm=permutation)

    def layer(self, x: str, name: str) -> str:
        normal = self.norm(x, f"{name}_norm1")
        query = self.head(normal, f"{name}_q", [0, 2, 1, 3])
        key = self.head(normal, f"{name}_k", [0, 2, 3, 1])
        values = self.head(normal, f"{name}_v", [0, 2, 1, 3])
        scores = self.node("Mul", [self.node("MatMul", [query, key], f"{name}_qk"), "scale"], f"{name}_scaled")
        masked = self.node("Add", [scores, "mask"], f"{name}_masked")
        shares = self.node("Softmax", [masked], f"{name}_shares", axis=-1)
        mixed = self.node("MatMul", [shares, values], f"{name}_mixed")
        together = self.node("Transpose", [mixed], f"{name}_together", perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [together, "joined"], f"{name}_flat")
        x = self.node("Add", [x, self.linear(flat, f"{name}_o", self.hidden, self.hidden)], f"{name}_sum1")
        normal = self.norm(x, f"{name}_norm2")
        inner = 2 * self.hidden
        gate = self.linear(normal, f"{name}_gate", self.hidden, inner)
        opened = self.node("Mul", [gate, self.node("Sigmoid", [gate], f"{name}_sigmoid")], f"{name}_silu")
        wide = self.node("Mul", [opened, self.linear(normal, f"{name}_up", self.hidden, inner)], f"{name}_wide")
        return self.node("Add", [x, self.linear(wide, f"{name}_down", inner, self.hidden)], f"{name}_sum2")

    def model(self, output: str) -> ModelProto:
        """Return the layers so far as a model."""
        return _model(self.nodes, self.constants, output, [1, TOKENS, self.hidden])


def decoder(size: int) -> ModelProto:
    """Return decoder layers until there are at least `size` nodes."""
    writer = Decoder()
    last, layer = "x", 0
    while len(writer.nodes) < size:
        last = writer.layer(last, f"l{layer}")
        layer += 1
    return writer.model(last)


def _model(nodes: list[NodeProto], constants: list[TensorProto], output: str, shape: list[int]) -> ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "bench", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


KINDS: dict[str, Callable[[int], ModelProto]] = {"conv": conv_chain, "decoder": decoder}


if __name__ == "__main__":
    kind, nodes_wanted, path = sys.argv[1:]
    onnx.save(KINDS[kind](int(nodes_wanted)), path)
