"""A small ONNX model under construction, every choice drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

T = TypeVar("T")

FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16
INT32 = TensorProto.INT32
INT64 = TensorProto.INT64
BOOL = TensorProto.BOOL
FLOATS = (FLOAT, FLOAT16)


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the model; `dtype` is a TensorProto.DataType."""

    name: str
    shape: tuple[int, ...]
    dtype: int = FLOAT


class Builder:
    """Collects nodes and initializers; `values` are the tensors that the next node may read."""

    def __init__(self, draw: st.DrawFn, opset: int) -> None:
        self._draw = draw
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.values: list[Value] = []
        self._count = 0

    # ── choices ──────────────────────────────────────────────────────────────────────────────

    def pick(self, *choices: T) -> T:
        """Draw one; hypothesis prefers the first."""
        return self._draw(st.sampled_from(choices))

    def rarely(self) -> bool:
        return self._draw(st.integers(0, 9)) == 9

    def often(self) -> bool:
        """Draw a coin that prefers tails when an example is made smaller."""
        return self._draw(st.booleans())

    def like(self, value: Value) -> Value:
        """Draw a tensor of the shape and type of `value`, it itself included."""
        twins = (v for v in self.values if (v.shape, v.dtype) == (value.shape, value.dtype) and v != value)
        return self.pick(value, *twins)

    # ── tensors and nodes ────────────────────────────────────────────────────────────────────

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, shape: tuple[int, ...], dtype: int = FLOAT, fill: float = 0.5) -> Value:
        """Draw a constant: an initializer, one that the model has already, or a Constant node."""
        name = self.fresh("c")
        array = np.full(shape, fill, helper.tensor_dtype_to_np_dtype(dtype))
        shared = [k for k, t in self.initializers.items() if (tuple(t.dims), t.data_type) == (shape, dtype)]
        how = self.pick("initializer", "node", *(("shared",) if shared and dtype in FLOATS else ()))
        if how == "shared":
            return Value(self.pick(*shared), shape, dtype)
        tensor = numpy_helper.from_array(array, name)
        if how == "initializer":
            self.initializers[name] = tensor
        elif not shape and dtype == FLOAT and self.often():
            self.nodes.append(helper.make_node("Constant", [], [name], value_float=fill))
        elif len(shape) == 1 and dtype == FLOAT and self.often():
            self.nodes.append(helper.make_node("Constant", [], [name], value_floats=[fill] * shape[0]))
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return Value(name, shape, dtype)

    def numbers(self, values: Sequence[int | float], dtype: int = INT64) -> Value:
        """Return a list of numbers that steers a node: an initializer or a Constant node."""
        name = self.fresh("s")
        tensor = numpy_helper.from_array(np.array(values, helper.tensor_dtype_to_np_dtype(dtype)), name)
        if self.rarely():
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers[name] = tensor
        return Value(name, (len(values),), dtype)

    def param(self, shape: tuple[int, ...], dtype: int = FLOAT) -> Value:
        """Draw a parameter: mostly constant, sometimes through Identity, sometimes computed."""
        how = self.pick("plain", "plain", "plain", "identity", "identities", "computed", "any")
        if how == "any":
            found = [v for v in self.values if (v.shape, v.dtype) == (shape, dtype)]
            return self.pick(*found) if found else self.constant(shape, dtype)
        value = self.constant(shape, dtype)
        steps = {"identity": ["Identity"], "identities": ["Identity", "Identity"], "computed": ["Tanh"]}.get(how, [])
        for op in steps:
            value = self.node(op, [value], shape)
        return value

    def node(self, op: str, inputs: Sequence[Value | None], shape: tuple[int, ...], **attributes: Any) -> Value:
        """Add a node with one output of the first input's type."""
        return self.outputs(op, inputs, [shape], **attributes)[0]

    def outputs(
        self,
        op: str,
        inputs: Sequence[Value | None],
        shapes: Sequence[tuple[int, ...] | None],
        dtypes: Sequence[int] = (),
        **attributes: Any,
    ) -> list[Value]:
        """Add a node; a None among inputs or shapes is an optional port that stays empty."""
        first = next((v.dtype for v in inputs if v is not None), FLOAT)
        kinds = [*dtypes, *[first] * (len(shapes) - len(dtypes))]
        made = [
            None if shape is None else Value(self.fresh("t"), shape, kind)
            for shape, kind in zip(shapes, kinds, strict=True)
        ]
        read, written = ([v.name if v else "" for v in ports] for ports in (inputs, made))
        number = len(self.nodes)
        name = self.pick("", f"n{number}", f"block/{number}/{op}", "twin")
        self.nodes.append(helper.make_node(op, read, written, name=name, **attributes))
        return [v for v in made if v is not None]

    def model(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> onnx.ModelProto:
        """Return the model; its inputs may have an unknown batch size."""
        batch = "N" if self.rarely() else None
        graph = helper.make_graph(
            self.nodes,
            "g",
            [_described(v, batch) for v in inputs],
            [_described(v, batch) for v in outputs],
            list(self.initializers.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def _described(value: Value, batch: str | None) -> onnx.ValueInfoProto:
    """Describe an input or output; with an unknown batch size, an output of the model is unknown in every axis."""
    shape: list[int | str | None] = list(value.shape)
    if batch is not None and shape:
        shape = [batch, *shape[1:]] if value.name.startswith("x") else [None] * len(shape)
    return helper.make_tensor_value_info(value.name, value.dtype, shape)
