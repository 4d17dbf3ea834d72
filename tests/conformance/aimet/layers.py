"""Operators with parameters: how each may be added to a model that reads `x`."""

from __future__ import annotations

from tests.conformance.aimet.builder import FLOAT, FLOATS, Builder, Value


def conv(b: Builder, x: Value) -> list[Value]:
    channels, spatial = x.shape[1], len(x.shape) - 2
    groups = b.pick(*(g for g in (1, channels, 2) if channels % g == 0))
    out = groups * b.pick(1, 2)
    kernel = b.pick(1, 3)
    inputs = [x, b.param((out, channels // groups, *[kernel] * spatial), x.dtype)]
    if b.often():
        inputs.append(b.param((out,), x.dtype))
    pads = [kernel // 2] * (2 * spatial)
    extra = {"group": groups} if groups > 1 or b.rarely() else {}
    return [b.node("Conv", inputs, (x.shape[0], out, *x.shape[2:]), pads=pads, **extra)]


def conv_transpose(b: Builder, x: Value) -> list[Value]:
    channels, spatial = x.shape[1], len(x.shape) - 2
    groups = b.pick(*(g for g in (1, channels, 2) if channels % g == 0))
    each = b.pick(1, 2, 3)
    inputs = [x, b.param((channels, each, *[1] * spatial), x.dtype)]
    if b.often():
        inputs.append(b.param((groups * each,), x.dtype))
    extra = {"group": groups} if groups > 1 or b.rarely() else {}
    return [b.node("ConvTranspose", inputs, (x.shape[0], groups * each, *x.shape[2:]), **extra)]


def gemm(b: Builder, x: Value) -> list[Value]:
    out = b.pick(3, 1, x.shape[1])
    attributes: dict[str, int | float] = {}
    match b.pick("", "transB", "transB0", "alpha"):
        case "transB":
            attributes["transB"] = 1
        case "transB0":
            attributes["transB"] = 0
        case "alpha":
            attributes["alpha"] = 0.5
    shape = (x.shape[1], out)
    inputs = [x, b.param(shape[::-1] if attributes.get("transB") else shape, x.dtype)]
    if b.often():
        inputs.append(b.param(b.pick((out,), (1, out), ()), x.dtype))
    return [b.node("Gemm", inputs, (x.shape[0], out), **attributes)]


def matmul(b: Builder, x: Value) -> list[Value]:
    """A constant, transposed, computed, batched, vector or left-hand weight."""
    inner, out = x.shape[-1], b.pick(3, 1, x.shape[-1])
    how = b.pick("plain", "transpose", "identity-transpose", "transpose-identity", "batched", "vector", "left")
    if how == "left" and len(x.shape) >= 2:
        return [b.node("MatMul", [b.param((out, x.shape[-2]), x.dtype), x], (*x.shape[:-2], out, inner))]
    if how == "vector":
        return [b.node("MatMul", [x, b.param((inner,), x.dtype)], x.shape[:-1])]
    if how == "batched" and len(x.shape) >= 3:
        leading = x.shape[:-2] if b.often() else (1,) * (len(x.shape) - 2)
        return [b.node("MatMul", [x, b.param((*leading, inner, out), x.dtype)], (*x.shape[:-1], out))]
    if how in ("plain", "left", "batched"):
        weight = b.param((inner, out), x.dtype)
    else:
        weight = b.constant((out, inner), x.dtype)
        if how == "identity-transpose":
            weight = b.node("Identity", [weight], weight.shape)
        weight = b.node("Transpose", [weight], (inner, out), perm=[1, 0])
        if how == "transpose-identity":
            weight = b.node("Identity", [weight], weight.shape)
    return [b.node("MatMul", [x, weight], (*x.shape[:-1], out))]


def attention_matmul(b: Builder, x: Value) -> list[Value]:
    """x times x transposed, or another tensor of its shape."""
    other = b.like(x)
    axes = list(range(len(x.shape)))
    axes[-2:] = axes[-1], axes[-2]
    turned = b.node("Transpose", [other], tuple(other.shape[a] for a in axes), perm=axes)
    return [b.node("MatMul", [x, turned], (*x.shape[:-1], x.shape[-2]))]


def batch_norm(b: Builder, x: Value) -> list[Value]:
    return [b.node("BatchNormalization", [x, *(b.param((x.shape[1],), x.dtype) for _ in range(4))], x.shape)]


def layer_norm(b: Builder, x: Value) -> list[Value]:
    axis = b.pick(-1, -2) if len(x.shape) > 2 else -1
    inputs = [x, *(b.param(x.shape[axis:], x.dtype) for _ in range(b.pick(2, 1)))]
    return [b.node("LayerNormalization", inputs, x.shape, axis=axis)]


def group_norm(b: Builder, x: Value) -> list[Value]:
    groups = b.pick(*(g for g in (1, 2, x.shape[1]) if x.shape[1] % g == 0))
    inputs = [x, b.param((x.shape[1],), x.dtype), b.param((x.shape[1],), x.dtype)]
    return [b.node("GroupNormalization", inputs, x.shape, num_groups=groups)]


def instance_norm(b: Builder, x: Value) -> list[Value]:
    inputs = [x, b.param((x.shape[1],), x.dtype), b.param((x.shape[1],), x.dtype)]
    return [b.node("InstanceNormalization", inputs, x.shape)]


def rms_norm(b: Builder, x: Value) -> list[Value]:
    return [b.node("RMSNormalization", [x, b.param(x.shape[-1:], x.dtype)], x.shape, axis=-1)]


def prelu(b: Builder, x: Value) -> list[Value]:
    return [b.node("PRelu", [x, b.param(b.pick((1,), x.shape[-1:]), x.dtype)], x.shape)]


_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(b: Builder, x: Value) -> list[Value]:
    """RNN, GRU or LSTM, with any of its optional inputs and outputs."""
    op = b.pick(*_GATES)
    steps, batch, features = x.shape
    hidden, directions = 2, b.pick(1, 2)
    rows = _GATES[op] * hidden
    inputs: list[Value | None] = [x, *(b.param((directions, rows, n), x.dtype) for n in (features, hidden))]
    state = (directions, batch, hidden)
    optional = [(directions, 2 * rows), None, state, *([state] if op == "LSTM" else [])]
    for shape in optional[: b.pick(0, 1, 3, len(optional))]:
        present = shape is not None and b.pick(True, True, False)
        inputs.append(b.param(shape, x.dtype) if present and shape is not None else None)
    while inputs[-1] is None:
        inputs.pop()
    sequence = (steps, directions, batch, hidden)
    everything = [sequence, state, *([state] if op == "LSTM" else [])]
    shapes: list[tuple[int, ...] | None] = list(everything[: b.pick(1, 2, len(everything))])
    if len(shapes) > 1 and b.rarely():
        shapes[0] = None
    direction = "bidirectional" if directions == 2 else "forward"
    return b.outputs(op, inputs, shapes, hidden_size=hidden, direction=direction)


def applicable(b: Builder, x: Value) -> list[str]:
    """Return the names in LAYERS of what can read `x`."""
    rank = len(x.shape)
    if x.dtype not in FLOATS or rank < 2:
        return []
    names = ["matmul", "prelu", "layer_norm", "attention_matmul"]
    if rank == 2:
        names.append("gemm")
    if rank >= 3:
        names += ["conv", "conv_transpose", "instance_norm", "batch_norm"]
        if b.opset >= 21:
            names.append("group_norm")
    if rank == 3 and x.dtype == FLOAT:
        names.append("recurrent")
    if b.opset >= 23:
        names.append("rms_norm")
    return names


LAYERS = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "gemm": gemm,
    "matmul": matmul,
    "attention_matmul": attention_matmul,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "rms_norm": rms_norm,
    "prelu": prelu,
    "recurrent": recurrent,
}
