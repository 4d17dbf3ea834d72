"""Activations and arithmetic that depend on more than numbers."""

from __future__ import annotations

from functools import reduce

import numpy as np

from qsimc_torch.call import Call, Unsupported, call, literal, shortest
from qsimc_torch.operators import operator

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@operator("Clip")
def clip(node: Call) -> str:
    """Before operator set 11 the bounds are attributes."""
    if node.opset < 11:
        bounds = [node.number(name, float("nan")) if name in node.node.attributes else None for name in ("min", "max")]
        low, high = (None if bound is None else literal(bound) for bound in bounds)
    else:
        low, high = (_bound(node, position) if node.has(position) else None for position in (1, 2))
        if low and high and (node.constant(1) is None) != (node.constant(2) is None):
            # torch takes two numbers or two tensors.
            return call("torch.clamp", call("torch.clamp", node[0], min=low), max=high)
    if (low, high) == ("0.0", "6.0"):
        return call("F.relu6", node[0])
    return call("torch.clamp", node[0], min=low, max=high) if (low or high) else node[0]


def _bound(node: Call, position: int) -> str:
    value = node.constant(position)
    if value is None:
        return node[position]
    number = value.reshape(()).item()
    return literal(shortest(number) if value.dtype.kind == "f" else number)


@operator("Div")
def div(node: Call) -> str:
    """Integers are divided as in C."""
    if node.dtype() in _INTEGERS:
        return call("torch.div", node[0], node[1], rounding_mode='"trunc"')
    return f"{node[0]} / {node[1]}"


@operator("HardSigmoid")
def hard_sigmoid(node: Call) -> str:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    if np.float32(alpha) == np.float32(1 / 6) and beta == 0.5:
        return call("F.hardsigmoid", node[0])
    return call("torch.clamp", f"{node[0]} * {literal(alpha)} + {literal(beta)}", min=0.0, max=1.0)


@operator("PRelu")
def prelu(node: Call) -> str:
    """torch's slope has one number, or one per channel; any other broadcasts by hand."""
    slope, rank = node.shape(1), node.rank()
    if slope is not None and None not in slope and rank is not None:
        sizes = (1,) * (rank - len(slope)) + slope
        if all(size == 1 for axis, size in enumerate(sizes) if axis != 1):
            return call("F.prelu", node[0], node[1] if len(slope) == 1 else f"{node[1]}.flatten()")
    return call("torch.where", f"{node[0]} < 0", f"{node[0]} * {node[1]}", node[0])


@operator("Gelu", "com.microsoft.Gelu")
def gelu(node: Call) -> str:
    return call("F.gelu", node[0], approximate='"tanh"' if node.word("approximate", "none") == "tanh" else None)


@operator("Softmax", "LogSoftmax")
def softmax(node: Call) -> str:
    """Before operator set 13 everything from the axis on is one dimension."""
    function = "F.softmax" if node.node.op == "Softmax" else "F.log_softmax"
    axis = node.integer("axis", -1 if node.opset >= 13 else 1)
    rank = node.rank()
    if node.opset >= 13 or (rank is not None and axis in (-1, rank - 1)):
        return call(function, node[0], dim=axis)
    return f"{call(function, f'{node[0]}.flatten({axis})', dim=-1)}.reshape({node[0]}.shape)"


@operator("Min", "Max", "Sum", "Mean")
def variadic(node: Call) -> str:
    values = [node[position] for position in range(len(node.node.inputs))]
    match node.node.op:
        case "Min":
            return reduce(lambda a, b: call("torch.minimum", a, b), values)
        case "Max":
            return reduce(lambda a, b: call("torch.maximum", a, b), values)
    total = " + ".join(values)
    return total if node.node.op == "Sum" else f"({total}) / {len(values)}"


@operator("Dropout")
def dropout(node: Call) -> str:
    """At inference it passes values on."""
    node.only_output()
    refuse_training(node)
    return node[0]


def refuse_training(node: Call) -> None:
    """Refuse a Dropout that draws at random.

    Raises:
        Unsupported: it does, or what the model computes decides whether it does.
    """
    if node.has(2) and ((training := node.constant(2)) is None or bool(training)):
        raise Unsupported("it may be in training mode" if training is None else "it is in training mode")


_DTYPES = {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"}


@operator("Cast", "CastLike")
def cast(node: Call) -> str:
    if node.node.op == "CastLike":
        return f"{node[0]}.to({node[1]}.dtype)"
    wanted = node.known.dtype(node.node.outputs[0])
    if wanted not in _DTYPES:
        raise Unsupported(f"torch has no type `{wanted or 'unknown'}`")
    return f"{node[0]}.to(torch.{wanted})"
