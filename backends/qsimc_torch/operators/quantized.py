"""Operators of quantized models: quantizing, dequantizing, and products of integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qsimc_torch.call import Call, Unsupported, call, literal
from qsimc_torch.operators import operator
from qsimc_torch.operators.linear import conv
from qsimc_torch.operators.making import torch_type

_STEPS = ("int8", "uint8", "int16", "uint16", "int32")
"""Types of quantized values that torch can compute with."""


@operator("QuantizeLinear", "com.microsoft.QuantizeLinear")
def quantize(node: Call) -> str:
    """The zero point says the type, or `output_dtype`; without either it is uint8."""
    dtype = node.dtype(2) if node.has(2) else node.known.dtype(node.node.outputs[0])
    return _quantize(node, node[0], node[1], node[2] if node.has(2) else "None", dtype or "uint8", _axis(node, 1))


@operator("DequantizeLinear", "com.microsoft.DequantizeLinear")
def dequantize(node: Call) -> str:
    _check(node.dtype())
    zero_point = [node[2]] if node.has(2) else []
    made = call("dequantize_linear", node[0], node[1], *zero_point, **_axis(node, 1))
    wanted = node.integer("output_dtype", 0)
    return f"{made}.to({torch_type(wanted)})" if wanted else made


@operator("DynamicQuantizeLinear")
def dynamic_quantize(node: Call) -> str:
    made = call("dynamic_quantize_linear", node[0])
    return f"{made}[0]" if node.outputs == 1 else made


@operator("MatMulInteger")
def matmul_integer(node: Call) -> str:
    """In float64, which holds every sum of products of bytes; torch multiplies integers on few devices."""
    a = _from_zero(node, 0, 2, ".unsqueeze(-1)")
    b = _from_zero(node, 1, 3, "")
    return f"{call('torch.matmul', a, b)}.int()"


@operator("ConvInteger")
def conv_integer(node: Call) -> str:
    """As MatMulInteger; what is padded is the zero point, and so zero after it is taken off."""
    ones = ", 1" * (node.known_rank(1) - 1)
    texts = [_from_zero(node, 0, 2, ""), _from_zero(node, 1, 3, f".reshape(-1{ones})")]
    return f"{conv(_with_inputs(node, (0, 1), texts))}.int()"


@operator("QLinearMatMul")
def qlinear_matmul(node: Call) -> str:
    """Scales of a are per row, of b per column."""
    a = node.let("a", _dequantize(node, 0, axis=-2))
    b = node.let("b", _dequantize(node, 3, axis=-1))
    return _quantize(node, call("torch.matmul", a, b), node[6], node[7], node.dtype(7), {"axis": -2})


@operator("QLinearConv")
def qlinear_conv(node: Call) -> str:
    """The scale of the bias is that of the input times that of the weight (ONNX documentation, QLinearConv)."""
    texts = [
        node.let("image", _dequantize(node, 0, axis=None)),
        node.let("weight", _dequantize(node, 3, axis=0)),
        *([f"{node[8]} * ({node[1]} * {node[4]})"] if node.has(8) else []),
    ]
    positions = (0, 3, 8)[: len(texts)]
    made = node.let("convolved", conv(_with_inputs(node, positions, texts)))
    return _quantize(node, made, node[6], node[7], node.dtype(7), {})


def _check(dtype: str) -> None:
    if dtype not in _STEPS:
        raise Unsupported(f"torch does not compute with `{dtype or 'unknown'}`")


def _quantize(node: Call, x: str, scale: str, zero_point: str, dtype: str, options: dict[str, int | None]) -> str:
    _check(dtype)
    return call("quantize_linear", x, scale, zero_point, f"torch.{dtype}", **options)


def _axis(node: Call, default: int) -> dict[str, int | None]:
    """Return the axis where there is a scale per channel or per block, and the size of blocks."""
    shape, block = node.shape(1), node.integer("block_size", 0)
    axis = None if shape in ((), (1,)) else node.integer("axis", default)
    return {"axis": axis, "block": block or None}


def _dequantize(node: Call, position: int, axis: int | None) -> str:
    """Return what an input stands for that is followed by its scale and its zero point."""
    _check(node.dtype(position))
    many = None if node.shape(position + 1) in ((), (1,)) else axis
    return call("dequantize_linear", *(node[position + place] for place in range(3)), axis=many)


def _from_zero(node: Call, position: int, zero_position: int, shape: str) -> str:
    """Return an input in float64, its zero point taken off; `shape` is what gives one per channel its place."""
    x = f"{node[position]}.double()"
    if not node.has(zero_position):
        return x
    value = node.constant(zero_position)
    if value is not None and value.size == 1:
        zero = int(value.reshape(()))
        return f"{x} - {literal(zero)}" if zero else x
    many = node.rank(zero_position) == 1 and node.shape(zero_position) != (1,)
    return f"{x} - {node[zero_position]}{shape if many else ''}"


def _with_inputs(node: Call, positions: Sequence[int], texts: Sequence[str]) -> Call:
    """Return the call of a convolution of some of the inputs, which have other texts now."""
    inputs = tuple(node.node.inputs[position] for position in positions)
    return replace(node, node=replace(node.node, inputs=inputs), text=lambda position: texts[position])
