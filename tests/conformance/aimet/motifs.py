"""Groups of nodes that AIMET's graph passes and supergroups look for, and near misses of them."""

from __future__ import annotations

from tests.conformance.aimet.builder import BOOL, FLOAT, FLOATS, INT64, Builder, Value


def matmul_add(b: Builder, x: Value) -> list[Value]:
    """MatMul(x, weight) + bias, the weight possibly through Transpose, the bias on either side."""
    inner, out = x.shape[-1], b.pick(3, 2)
    if b.often():
        weight = b.constant((inner, out), x.dtype)
    else:
        weight = b.node("Transpose", [b.constant((out, inner), x.dtype)], (inner, out), perm=[1, 0])
    shape = (*x.shape[:-1], out)
    product = b.node("MatMul", [x, weight], shape)
    bias = b.constant(b.pick((out,), (1,), (1, out)), x.dtype)
    total = b.node("Add", _either(b, product, bias), shape)
    return [product, total] if b.rarely() else [total]


def norm(b: Builder, x: Value) -> list[Value]:
    """LayerNormalization or RMSNormalization, written out."""
    made: list[Value] = []
    if b.often():
        x = b.node("Sub", [x, _mean(b, x)], x.shape)
    square = b.node(*(("Mul", [x, x]) if b.often() else ("Pow", [x, b.constant((), x.dtype, 2.0)])), x.shape)
    mean = _mean(b, square)
    variance = b.node("Add", _either(b, mean, b.constant((), x.dtype, 1e-5)), mean.shape)
    spelling = b.pick("divide", "reciprocal", "one over", "power")
    if spelling == "power":
        root = b.node("Pow", [variance, b.constant((), x.dtype, -0.5)], variance.shape)
    else:
        root = b.node("Sqrt", [variance], variance.shape)
    match spelling:
        case "divide":
            made.append(b.node("Div", [x, root], x.shape))
        case "reciprocal":
            made.append(b.node("Mul", _either(b, x, b.node("Reciprocal", [root], root.shape)), x.shape))
        case "power":
            made.append(b.node("Mul", _either(b, x, root), x.shape))
        case _:
            over = b.node("Div", [b.constant((), x.dtype, 1.0), root], root.shape)
            made.append(b.node("Mul", _either(b, x, over), x.shape))
    if b.rarely():
        made.append(b.node("Cast", made[-1:], x.shape, to=x.dtype))
    for op in ("Mul", "Add")[: b.pick(2, 1, 0)]:
        made.append(b.node(op, _either(b, made[-1], b.constant(x.shape[-1:], x.dtype)), x.shape))
    return made if b.rarely() else made[-1:]


def masked_softmax(b: Builder, x: Value) -> list[Value]:
    """Softmax over the unmasked scores: Where(mask, x, ReduceMin(x) - 100)."""
    mask = b.outputs("Less", [x, b.constant((), x.dtype)], [x.shape], [BOOL])[0]
    lowest = b.node("ReduceMin", [x, b.numbers([-1])], (*x.shape[:-1], 1), keepdims=1)
    lower = b.node("Add", [lowest, b.constant((), x.dtype, b.pick(-100.0, -1.0))], lowest.shape)
    kept = b.outputs("Where", [mask, x, lower], [x.shape], [x.dtype])[0]
    return [b.node("Softmax", [kept], x.shape, axis=-1)]


def convolution_chain(b: Builder, x: Value) -> list[Value]:
    """Conv, perhaps a norm, and an activation: what most supergroups name."""
    channels = x.shape[1]
    y = b.node("Conv", [x, b.constant((channels, channels, 1, 1), x.dtype)], x.shape)
    if b.often():
        y = b.node("BatchNormalization", [y, *(b.constant((channels,), x.dtype) for _ in range(4))], x.shape)
    if b.often():
        y = b.node("Add", [y, x], x.shape)
    return [b.node(b.pick("Relu", "Clip", "Sigmoid"), [y], x.shape)]


def lookup(b: Builder, x: Value) -> list[Value]:
    """An embedding: rows of a table chosen by TopK's indices."""
    index = b.outputs("TopK", [x, b.numbers([1])], [(*x.shape[:-1], 1)] * 2, [x.dtype, INT64], axis=-1)[1]
    return [b.node("Gather", [b.param((9, 4)), index], (*index.shape, 4), axis=0)]


def _mean(b: Builder, x: Value) -> Value:
    shape = (*x.shape[:-1], 1)
    if b.opset >= 18:
        return b.node("ReduceMean", [x, b.numbers([-1])], shape, keepdims=1)
    return b.node("ReduceMean", [x], shape, axes=[-1], keepdims=1)


def _either(b: Builder, first: Value, second: Value) -> list[Value]:
    return [second, first] if b.often() else [first, second]


def applicable(b: Builder, x: Value) -> list[str]:
    """Return the names in MOTIFS of what can read `x`."""
    if x.dtype not in FLOATS or not x.shape:
        return []
    names = ["norm"]
    if len(x.shape) >= 2:
        names += ["matmul_add", "lookup"]
    if len(x.shape) == 4:
        names.append("convolution_chain")
        if b.opset >= 18 and x.dtype == FLOAT:
            names.append("masked_softmax")
    return names


MOTIFS = {
    "matmul_add": matmul_add,
    "norm": norm,
    "masked_softmax": masked_softmax,
    "convolution_chain": convolution_chain,
    "lookup": lookup,
}
