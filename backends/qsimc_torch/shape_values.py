"""Tensors of sizes, worked out before the model runs: what exporters compute with `Shape` is integers in a module.

A value is an array of items, `qsimc_torch.sizes`: numbers, and formulas over the shapes of other tensors.  Nothing of a
model is run for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto
from qsimc_onnx.protos import ONNX_DOMAINS, is_external

from qsimc.graph import Node
from qsimc_torch import sizes
from qsimc_torch.known import Known
from qsimc_torch.sizes import Item, Size, Undecided, Value

_MOST = 16
"""Items of a value: the pads of eight dimensions.  What has more is no list of sizes."""

_DTYPES = ("bool", "int32", "int64", "float32")


def with_shape_values(known: Known, protos: Sequence[NodeProto]) -> Known:
    """Return what is known, with the values that follow from shapes and constants; what is quantized has none."""
    found: dict[str, Value] = {}
    for node, proto in zip(known.graph.nodes, protos, strict=True):
        if node.op not in _RULES or node.domain not in ONNX_DOMAINS or not known.quantized.isdisjoint(node.outputs):
            continue
        reader = _Reader(node, proto, known, found)
        try:
            made = [reader.settled(*pair) for pair in zip(_RULES[node.op](reader), node.outputs, strict=True)]
        except (Undecided, ArithmeticError, IndexError, ValueError):  # the last three: what a malformed model computes
            continue
        found |= {tensor: value for tensor, value in zip(node.outputs, made, strict=True) if tensor}
    return replace(known, values=found, shapes={**known.shapes, **{name: v.shape for name, v in found.items()}})


@dataclass(frozen=True, slots=True)
class _Reader:
    """A node whose inputs are values, if they are."""

    node: Node
    proto: NodeProto
    known: Known
    found: Mapping[str, Value]

    def has(self, position: int) -> bool:
        return position < len(self.node.inputs) and self.node.inputs[position] != ""

    def value(self, position: int) -> Value:
        """Return an input.

        Raises:
            Undecided: it is no value.
        """
        tensor = self.node.inputs[position]
        if tensor in self.found:
            return self.found[tensor]
        stored = self.known.constant(tensor)
        if stored is None or stored.size > _MOST or stored.dtype.name not in _DTYPES:
            raise Undecided
        return stored.astype(object)

    def values(self, count: int | None = None) -> list[Value]:
        """Return all inputs, of which there are at least one, or `count`."""
        if not self.node.inputs or (count is not None and len(self.node.inputs) != count):
            raise Undecided
        return [self.value(position) for position in range(len(self.node.inputs))]

    def numbers(self, position: int, name: str) -> tuple[int, ...] | None:
        """Return integers that are an input, or an attribute, or neither."""
        if self.has(position):
            return tuple(_number(item) for item in self.value(position).reshape(-1))
        stated = self.node.attributes.get(name)
        return tuple(int(item) for item in stated) if isinstance(stated, tuple) else None

    def integer(self, name: str, default: int) -> int:
        stated = self.node.attributes.get(name, default)
        return int(stated) if isinstance(stated, int | float) else default

    def shape(self) -> list[Item]:
        """Return the shape of the first input."""
        tensor = self.node.inputs[0]
        shape = self.known.shape(tensor) if tensor not in self.found else self.found[tensor].shape
        if shape is None:
            raise Undecided
        return [Size(tensor, axis) if size is None else size for axis, size in enumerate(shape)]

    def is_float(self) -> bool:
        return self.known.dtype(self.node.outputs[0]).startswith("float")

    def settled(self, value: Value, tensor: str) -> Value:
        """Return a value as its element type has it.  Of floats only what is computed of sizes is one: factors."""
        dtype = self.known.dtype(tensor)
        computed = self.node.op == "Cast" or any(name in self.found for name in self.node.inputs)
        if value.size > _MOST or dtype not in _DTYPES or (dtype == "float32" and not (computed and value.ndim < 2)):
            raise Undecided
        return _array([_as(dtype, item) for item in value.reshape(-1)], value.shape)


def _as(dtype: str, item: Item) -> Item:
    """Return an item as an element type holds it."""
    if dtype == "bool":
        return not sizes.equal(item, 0)
    if not isinstance(item, int | float):
        return item
    if dtype == "float32":
        return float(np.float32(item))
    bounds = np.iinfo(dtype)
    if not bounds.min <= int(item) <= bounds.max:
        raise Undecided
    return int(item)


def _number(item: Item) -> int:
    if not isinstance(item, int | float):
        raise Undecided
    return int(item)


def _array(items: Iterable[Item], shape: Sequence[int]) -> Value:
    made = np.empty(math.prod(shape), object)
    made[:] = [*items]
    return made.reshape(shape)


# ── arithmetic ───────────────────────────────────────────────────────────────────────────────


def _each(function: Callable[..., Any], *values: Value) -> Value:
    """Return what a function makes of each item, or of each pair that broadcasting makes."""
    made = np.empty(np.broadcast_shapes(*(value.shape for value in values)), object)
    if made.size > _MOST:
        raise Undecided
    made[...] = np.frompyfunc(function, len(values), 1)(*values)
    return made


_BINARY: Mapping[str, Callable[[Any, Any], Item]] = {
    "Add": sizes.plus,
    "Sub": sizes.minus,
    "Mul": sizes.times,
    "Div": sizes.quotient,
    "Mod": sizes.remainder,
    "Equal": sizes.equal,
    "Less": sizes.less,
    "LessOrEqual": lambda a, b: not sizes.less(b, a),
    "Greater": lambda a, b: sizes.less(b, a),
    "GreaterOrEqual": lambda a, b: not sizes.less(a, b),
    "And": lambda a, b: a and b,
    "Or": lambda a, b: a or b,
}

_UNARY: Mapping[str, Callable[[Any], Item]] = {
    "Identity": lambda item: item,
    "Cast": lambda item: item,
    "Neg": lambda item: sizes.minus(0, item),
    "Abs": lambda item: _absolute(item),
    "Not": lambda item: not item,
    "Floor": lambda item: math.floor(item) if isinstance(item, float) else item,
    "Ceil": lambda item: math.ceil(item) if isinstance(item, float) else item,
    "Sqrt": lambda item: math.sqrt(_float(item)),
    "Reciprocal": lambda item: 1 / _float(item),
}

_FOLDED: Mapping[str, tuple[Callable[[Any, Any], Item], Item]] = {
    "ReduceProd": (sizes.times, 1),
    "ReduceSum": (sizes.plus, 0),
}


def _absolute(item: Item) -> Item:
    if isinstance(item, int | float):
        return abs(item)
    if sizes.lowest(item) < 0:
        raise Undecided
    return item


def _float(item: Item) -> float:
    if not isinstance(item, float):
        raise Undecided
    return item


def _binary(node: _Reader) -> list[Value]:
    if node.integer("fmod", 0):
        raise Undecided
    function = (lambda a, b: _float(a) / _float(b)) if node.node.op == "Div" and node.is_float() else None
    return [_each(function or _BINARY[node.node.op], *node.values(2))]


def _unary(node: _Reader) -> list[Value]:
    return [_each(_UNARY[node.node.op], node.value(0))]


def _variadic(node: _Reader) -> list[Value]:
    function = sizes.largest if node.node.op == "Max" else sizes.smallest
    return [reduce(lambda a, b: _each(function, a, b), node.values())]


def _where(node: _Reader) -> list[Value]:
    return [_each(lambda condition, a, b: a if condition else b, *node.values(3))]


def _folded(node: _Reader) -> list[Value]:
    """Reduce lists of sizes; more dimensions no exporter computes with."""
    function, start = _FOLDED[node.node.op]
    value = node.value(0)
    if value.ndim != 1 or node.numbers(1, "axes") not in (None, (0,), (-1,)):
        raise Undecided
    return [_array([reduce(function, value, start)], (1,) if node.integer("keepdims", 1) else ())]


# ── arrangement ──────────────────────────────────────────────────────────────────────────────


def _shape(node: _Reader) -> list[Value]:
    shape = node.shape()
    found = shape[node.integer("start", 0) : node.integer("end", len(shape))]
    return [_array(found, (len(found),))]


def _size(node: _Reader) -> list[Value]:
    one: Item = 1
    return [_array([reduce(sizes.times, node.shape(), one)], ())]


def _concat(node: _Reader) -> list[Value]:
    return [np.concatenate(node.values(), axis=node.integer("axis", 1))]


def _gather(node: _Reader) -> list[Value]:
    indices = np.array([_number(item) for item in node.value(1).reshape(-1)], np.int64).reshape(node.value(1).shape)
    found = np.take(node.value(0), indices, axis=node.integer("axis", 0))
    return [_array(np.asarray(found, object).reshape(-1), np.shape(found))]


def _slice(node: _Reader) -> list[Value]:
    starts, ends = node.numbers(1, "starts") or (), node.numbers(2, "ends") or ()
    axes = node.numbers(3, "axes") or tuple(range(len(starts)))
    steps = node.numbers(4, "steps") or (1,) * len(starts)
    value = node.value(0)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:  # counted from the other end, where `~` takes an index
            value, start, end, step = np.flip(value, axis), ~start, ~end, -step
        value = value[(slice(None),) * (axis % value.ndim) + (slice(start, end, step),)]
    return [value]


def _split(node: _Reader) -> list[Value]:
    count, parts = len(node.node.outputs), node.numbers(1, "split")
    where: Any = count if parts is None else np.cumsum(parts)[:-1]
    return list(np.split(node.value(0), where, axis=node.integer("axis", 0)))


def _reshape(node: _Reader) -> list[Value]:
    value, wanted = node.value(0), node.numbers(1, "shape") or ()
    copied = not node.integer("allowzero", 0)
    return [value.reshape([value.shape[axis] if size == 0 and copied else size for axis, size in enumerate(wanted)])]


def _unsqueeze(node: _Reader) -> list[Value]:
    return [np.expand_dims(node.value(0), node.numbers(1, "axes") or ())]


def _squeeze(node: _Reader) -> list[Value]:
    value = np.squeeze(node.value(0), node.numbers(1, "axes"))
    return [_array(np.asarray(value, object).reshape(-1), np.shape(value))]


def _transpose(node: _Reader) -> list[Value]:
    return [np.transpose(node.value(0), node.numbers(1, "perm"))]


def _expand(node: _Reader) -> list[Value]:
    value, wanted = node.value(0), node.numbers(1, "shape") or ()
    shape = np.broadcast_shapes(value.shape, wanted)
    if math.prod(shape) > _MOST or node.is_float():
        raise Undecided
    return [np.broadcast_to(value, shape)]


def _constant_of_shape(node: _Reader) -> list[Value]:
    shape = node.numbers(0, "") or ()
    stored = next((a.t for a in node.proto.attribute if a.name == "value"), None)
    if stored is None or is_external(stored) or math.prod(shape) > _MOST:
        raise Undecided
    return [np.full(shape, onnx.numpy_helper.to_array(stored).reshape(-1)[0].item(), object)]


def _range(node: _Reader) -> list[Value]:
    start, limit, step = (_number(value.item()) for value in node.values(3))
    found = range(start, limit, step)
    if node.is_float() or len(found) > _MOST:
        raise Undecided
    return [_array(found, (len(found),))]


_RULES: Mapping[str, Callable[[_Reader], list[Value]]] = {
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_FOLDED, _folded),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Gather": _gather,
    "Max": _variadic,
    "Min": _variadic,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
