"""Operators without parameters that compute: element by element, over an axis, or over a window."""

from __future__ import annotations

from tests.conformance.aimet.builder import BOOL, FLOAT, FLOATS, INT64, Builder, Value

_UNARY = ("Relu", "Sigmoid", "Tanh", "Sqrt", "Erf", "LeakyRelu", "HardSwish", "Neg")


def unary(b: Builder, x: Value) -> list[Value]:
    return [b.node(b.pick(*_UNARY), [x], x.shape)]


def relu(b: Builder, x: Value) -> list[Value]:
    return [b.node("Relu", [x], x.shape)]


def clip(b: Builder, x: Value) -> list[Value]:
    low = b.constant((), x.dtype, 0.0) if b.often() else None
    high = b.constant((), x.dtype, 6.0) if b.often() else None
    inputs = [x, *([low, high] if high else [low] if low else [])]
    return [b.node("Clip", inputs, x.shape)]


def softmax(b: Builder, x: Value) -> list[Value]:
    return [b.node(b.pick("Softmax", "LogSoftmax"), [x], x.shape, axis=b.pick(-1, 0))]


def binary(b: Builder, x: Value) -> list[Value]:
    return [b.node(b.pick("Add", "Mul", "Sub", "Div", "Max", "Sum"), [x, b.like(x)], x.shape)]


def with_constant(b: Builder, x: Value) -> list[Value]:
    operands = [x, b.constant(b.pick((), (1,), x.shape[-1:], x.shape), x.dtype)]
    if b.often():
        operands.reverse()
    return [b.node(b.pick("Add", "Mul", "Sub", "Div", "Pow"), operands, x.shape)]


def concat(b: Builder, x: Value) -> list[Value]:
    axis = b.pick(*range(len(x.shape)))
    parts = [x, *(b.like(x) for _ in range(b.pick(1, 0, 2)))]
    if b.rarely():
        parts.append(b.constant(x.shape, x.dtype))
    shape = list(x.shape)
    shape[axis] *= len(parts)
    return [b.node("Concat", parts, tuple(shape), axis=axis)]


def scatter(b: Builder, x: Value) -> list[Value]:
    if b.often():
        rows = (1, *x.shape[1:])
        index = b.constant((1, 1), INT64, 0)
        updates = b.constant(rows, x.dtype) if b.often() else b.like(Value("", rows, x.dtype))
        if updates.name:
            return [b.node("ScatterND", [x, index, updates], x.shape)]
    index = b.constant(x.shape, INT64, 0)
    return [b.node("ScatterElements", [x, index, b.like(x)], x.shape, axis=b.pick(0, -1))]


def where(b: Builder, x: Value) -> list[Value]:
    condition = b.outputs(b.pick("Less", "Equal"), [x, b.constant((), x.dtype)], [x.shape], [BOOL])[0]
    other = b.constant((), x.dtype, -100.0) if b.often() else b.like(x)
    inputs = [condition, *((x, other) if b.often() else (other, x))]
    return [Value(b.outputs("Where", inputs, [x.shape], [x.dtype])[0].name, x.shape, x.dtype)]


def pool(b: Builder, x: Value) -> list[Value]:
    spatial = len(x.shape) - 2
    op = b.pick("MaxPool", "AveragePool", "GlobalAveragePool", "MaxPool+indices")
    if op == "GlobalAveragePool":
        return [b.node(op, [x], (*x.shape[:2], *[1] * spatial))]
    if op == "MaxPool+indices":
        return b.outputs("MaxPool", [x], [x.shape] * 2, [x.dtype, INT64], kernel_shape=[1] * spatial)
    return [b.node(op, [x], x.shape, kernel_shape=[1] * spatial)]


def resize(b: Builder, x: Value) -> list[Value]:
    spatial = len(x.shape) - 2
    factor = b.pick(1, 2)
    shape = (*x.shape[:2], *(n * factor for n in x.shape[2:]))
    if b.often():
        inputs = [x, None, None, b.numbers(shape)]
    else:
        inputs = [x, None, b.numbers([1.0, 1.0, *[float(factor)] * spatial], FLOAT)]
    return [b.node("Resize", inputs, shape, mode="nearest")]


def reduce(b: Builder, x: Value) -> list[Value]:
    op = b.pick("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin")
    shape = (*x.shape[:-1], 1)
    if b.opset >= 18 or op == "ReduceSum":
        return [b.node(op, [x, b.numbers([-1])], shape, keepdims=1)]
    return [b.node(op, [x], shape, axes=[-1], keepdims=1)]


def cumulative(b: Builder, x: Value) -> list[Value]:
    return [b.node("CumSum", [x, b.constant((), INT64, 0)], x.shape)]


def applicable(b: Builder, x: Value) -> list[str]:
    """Return the names in POINTWISE of what can read `x`."""
    if x.dtype not in FLOATS:
        return []
    names = ["unary", "relu", "clip", "binary", "with_constant", "where"]
    if x.shape:
        names += ["softmax", "concat", "scatter", "reduce"]
    if 3 <= len(x.shape) <= 5 and x.dtype == FLOAT:
        names += ["pool", "resize", "cumulative"]
    return names


POINTWISE = {
    "unary": unary,
    "relu": relu,
    "clip": clip,
    "softmax": softmax,
    "binary": binary,
    "with_constant": with_constant,
    "concat": concat,
    "scatter": scatter,
    "where": where,
    "pool": pool,
    "resize": resize,
    "reduce": reduce,
    "cumulative": cumulative,
}
