"""Activations that depend on more than numbers, and those that onnxruntime fuses (domain `com.microsoft`)."""

from __future__ import annotations

import numpy as np

from qsimc_torch.call import Call, call, literal
from qsimc_torch.operators import operator

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Alpha and gamma since operator set 6, as torch has them (ONNX documentation, Selu)."""

_SELU_1 = (1.6732, 1.0507)


@operator("Selu")
def selu(node: Call) -> str:
    """gamma * elu(x); torch has the two numbers of the paper only."""
    alpha, gamma = _SELU if node.opset >= 6 else _SELU_1
    alpha, gamma = node.number("alpha", alpha), node.number("gamma", gamma)
    if np.float32(alpha) == np.float32(_SELU[0]) and np.float32(gamma) == np.float32(_SELU[1]):
        return call("F.selu", node[0])
    return f"{call('F.elu', node[0], alpha=alpha)} * {literal(gamma)}"


@operator("Shrink")
def shrink(node: Call) -> str:
    """x + bias below -lambd, x - bias above lambd, 0 between."""
    bias, lambd = node.number("bias", 0.0), node.number("lambd", 0.5)
    if bias == 0.0:
        return call("F.hardshrink", node[0], lambd=lambd)
    if bias == lambd:
        return call("F.softshrink", node[0], lambd=lambd)
    outside = f"{node[0]}.abs() > {literal(lambd)}"
    return call("torch.where", outside, f"{node[0]} - {node[0]}.sign() * {literal(bias)}", "0.0")


@operator("HardSwish")
def hard_swish(node: Call) -> str:
    """x * hardsigmoid(x), which is x above 3; F.hardswish multiplies by 6 and by a rounded 1/6, which 16 bits show."""
    return f"{node[0]} * {call('F.hardsigmoid', node[0])}"


@operator("Hardmax")
def hardmax(node: Call) -> str:
    """Before operator set 13 everything from the axis on is one dimension."""
    axis = node.integer("axis", -1 if node.opset >= 13 else 1)
    rank = node.rank()
    if node.opset >= 13 or (rank is not None and axis in (-1, rank - 1)):
        return _one_at_maximum(node[0], axis)
    flat = node.let("flat", f"{node[0]}.flatten({axis})")
    return f"{_one_at_maximum(flat, -1)}.reshape({node[0]}.shape)"


def _one_at_maximum(x: str, axis: int) -> str:
    return f"torch.zeros_like({x}).scatter({axis}, {x}.argmax(dim={axis}, keepdim=True), 1.0)"


@operator("Swish", "com.microsoft.QuickGelu")
def swish(node: Call) -> str:
    """x * sigmoid(alpha * x)."""
    alpha = node.number("alpha", 1.0 if node.node.op == "Swish" else 1.702)
    return _swish(node[0], alpha)


def _swish(x: str, alpha: float) -> str:
    return call("F.silu", x) if alpha == 1.0 else f"{x} * torch.sigmoid({x} * {literal(alpha)})"


@operator("SwiGLU")
def swiglu(node: Call) -> str:
    return f"{_swish(node[0], node.number('alpha', 1.0))} * {node[1]}"


@operator("com.microsoft.BiasGelu", "com.microsoft.FastGelu")
def biased_gelu(node: Call) -> str:
    """onnxruntime's contrib operators: FastGelu is the tanh approximation, its bias is optional."""
    x = f"{node[0]} + {node[1]}" if node.has(1) else node[0]
    return call("F.gelu", x, approximate='"tanh"' if node.node.op == "FastGelu" else None)
