"""Quantizers as model-local functions: plain onnxruntime runs them, and a reader sees one node per quantizer.

onnxruntime inlines a body with the operator set of the model, not of the function, so bodies use only what the
model's own operator set has.  All arithmetic is float32, whatever the tensor's type.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import onnx
from onnx import FunctionProto, NodeProto, TensorProto
from onnx.helper import make_node

from qsimc.calibrate.encoding import VITIS as VITIS_NUMERICS
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.ir.quant import Round

DOMAIN = "qsimc"


class Kernel(StrEnum):
    """What a quantizer computes; the value is the name of its function.

    ONNX rounds x / scale, ties to even, and clips the integer, as QuantizeLinear does.
    AIMET clamps x first and rounds ties away from zero on a grid that begins at 0, as aimet_onnx's C++ does.
    AIMET_TORCH multiplies by the reciprocal of the scale, as torch.fake_quantize does.
    VITIS multiplies by an amplitude and by its inverse, and has four ways to round, as vai_q_pytorch's kernels do.
    """

    UNCALIBRATED = "Uncalibrated"
    ONNX = "FakeQuantize"
    AIMET = "FakeQuantizeAimet"
    AIMET_TORCH = "FakeQuantizeTorch"
    VITIS_HALF_EVEN = "FakeQuantizeVitisHalfEven"
    VITIS_HALF_UP = "FakeQuantizeVitisHalfUp"
    VITIS_HALF_DOWN = "FakeQuantizeVitisHalfDown"
    VITIS_STD = "FakeQuantizeVitisStd"
    FLOAT16 = "CastFloat16"
    BFLOAT16 = "CastBfloat16"


_KERNELS: Mapping[Numerics, Kernel] = {
    "onnx": Kernel.ONNX,
    "aimet": Kernel.AIMET,
    "aimet-torch": Kernel.AIMET_TORCH,
}

_VITIS: Mapping[Round, Kernel] = {
    Round.HALF_EVEN: Kernel.VITIS_HALF_EVEN,
    Round.HALF_UP: Kernel.VITIS_HALF_UP,
    Round.HALF_DOWN: Kernel.VITIS_HALF_DOWN,
    Round.STD: Kernel.VITIS_STD,
}

VITIS = frozenset(_VITIS.values())
"""The kernels of vai_q_pytorch."""


def kernel_of(encoding: Encoding) -> Kernel:
    """Return the kernel whose arithmetic an encoding asks for, equal to `Encoding.fake_quantize` bit for bit."""
    return _VITIS[encoding.rounding] if encoding.numerics in VITIS_NUMERICS else _KERNELS[encoding.numerics]


CASTS = {Kernel.FLOAT16: TensorProto.FLOAT16, Kernel.BFLOAT16: TensorProto.BFLOAT16}

_AFFINE = ("scale", "zero_point", "qmin", "qmax")
"""All float32; scale and zero_point are shaped to broadcast along the channel axis."""

_AMPLITUDE = ("amplitude", "inverse", "zero_point", "qmin", "qmax")
"""All float32: the factor to steps, and the factor back."""

_AIMET = ("scale", "offset", "low", "high")
"""offset = qmin - zero_point, the integer of `low` on a grid that begins at 0; low and high are reals."""


def inputs(kernel: Kernel) -> tuple[str, ...]:
    """Return the names of what a quantizer needs besides the tensor."""
    if kernel is Kernel.UNCALIBRATED or kernel in CASTS:
        return ()
    if kernel in VITIS:
        return _AMPLITUDE
    return _AIMET if kernel is Kernel.AIMET else _AFFINE


def function_name(kernel: Kernel, dtype: int) -> str:
    """Return the function that runs `kernel` on a tensor of an ONNX element type."""
    if dtype == TensorProto.FLOAT or kernel is Kernel.UNCALIBRATED:
        return kernel.value
    return f"{kernel.value}_{TensorProto.DataType.Name(dtype).lower()}"


def function(kernel: Kernel, dtype: int, opset: int) -> FunctionProto:
    """Return the function of a quantizer, for a model of the given operator set (9 or later)."""
    body = _Body(opset)
    if kernel is Kernel.UNCALIBRATED:
        body.op("Identity", "x", result="y")
    elif kernel in CASTS:
        body.op("Cast", body.op("Cast", "x", to=CASTS[kernel]), result="y", to=dtype)
    else:
        x = "x" if dtype == TensorProto.FLOAT else body.op("Cast", "x", to=TensorProto.FLOAT)
        last = _steps(body, x, kernel)
        factor = "inverse" if kernel in VITIS else "scale"
        if dtype == TensorProto.FLOAT:
            body.op("Mul", last, factor, result="y")
        else:
            body.op("Cast", body.op("Mul", last, factor), result="y", to=dtype)
    imports = [onnx.helper.make_opsetid("", opset)]
    name = function_name(kernel, dtype)
    return onnx.helper.make_function(DOMAIN, name, ["x", *inputs(kernel)], ["y"], body.nodes, imports)


_BEYOND = 2.0**40
"""Steps that are beyond every grid."""


class _Body:
    """The nodes of a function so far; values are numbered, only `x` and `y` have names."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []

    def op(self, op: str, *values: str, result: str = "", **attributes: Any) -> str:
        """Append a node and return its output."""
        result = result or f"v{len(self.nodes)}"
        self.nodes.append(make_node(op, values, [result], **attributes))
        return result

    def number(self, value: float) -> str:
        """Append a float32 constant."""
        result = f"v{len(self.nodes)}"
        stored = onnx.numpy_helper.from_array(np.array(value, np.float32))
        self.nodes.append(make_node("Constant", [], [result], value=stored))
        return result

    def clip(self, value: str, low: str, high: str) -> str:
        """Clip to bounds; per-channel bounds need Max and Min, and so does what came before Clip-11."""
        return self.op("Min", self.op("Max", value, low), high)

    def half_even(self, value: str) -> str:
        """Round ties to even."""
        if self.opset >= 11:
            return self.op("Round", value)
        # Adding 1.5 * 2^23 leaves float32 no room for a fraction, and the addition itself rounds ties to even.
        # It gets only the distance from the even integer below.  Of a size that distance is exact; of a negative
        # value it is not: -0.50000006 + 2 is 1.5.
        size = self.op("Min", self.op("Abs", value), self.number(2.0**64))
        half = self.op("Floor", self.op("Mul", size, self.number(0.5)))
        even, magic = self.op("Add", half, half), self.number(1.5 * 2.0**23)
        rest = self.op("Sub", self.op("Add", self.op("Sub", size, even), magic), magic)
        return self.op("Mul", self.op("Sign", value), self.op("Add", even, rest))

    def half_up(self, value: str) -> str:
        """Round ties toward +infinity."""
        floor = self.op("Floor", value)
        fraction = self.op("Sub", value, floor)
        above = self.op("Floor", self.op("Add", fraction, fraction))
        # The fraction of a negative number next to zero rounds to 1.
        return self.op("Add", floor, self.op("Min", above, self.number(1.0)))

    def half_down(self, value: str) -> str:
        """Round ties toward zero."""
        size = self.op("Abs", value)
        floor = self.op("Floor", size)
        fraction = self.op("Sub", size, floor)
        above = self.op("Sub", self.op("Ceil", self.op("Add", fraction, fraction)), self.number(1.0))
        rounded = self.op("Add", floor, self.op("Max", above, self.number(0.0)))
        return self.op("Mul", self.op("Sign", value), rounded)

    def half_away(self, value: str) -> str:
        """Round ties away from zero.  floor(|x| + 0.5) would round 0.49999997 up: the sum itself is rounded."""
        size = self.op("Abs", value)
        floor = self.op("Floor", size)
        fraction = self.op("Sub", size, floor)
        rounded = self.op("Add", floor, self.op("Floor", self.op("Add", fraction, fraction)))
        return self.op("Mul", self.op("Sign", value), rounded)


def _steps(body: _Body, x: str, kernel: Kernel) -> str:
    """Return x in whole steps from zero, in float32."""
    if kernel in VITIS:
        return _vitis(body, x, kernel)
    return _aimet(body, x) if kernel is Kernel.AIMET else _affine(body, x, kernel)


def _vitis(body: _Body, x: str, kernel: Kernel) -> str:
    """clip(round(x * amplitude) + zero_point, qmin, qmax) - zero_point."""
    rounds = {
        Kernel.VITIS_HALF_EVEN: body.half_even,
        Kernel.VITIS_HALF_UP: body.half_up,
        Kernel.VITIS_HALF_DOWN: body.half_down,
        Kernel.VITIS_STD: body.half_away,
    }
    # Infinity has no fraction to look at.
    inside = body.clip(body.op("Mul", x, "amplitude"), body.number(-_BEYOND), body.number(_BEYOND))
    steps = rounds[kernel](inside)
    integer = body.clip(body.op("Add", steps, "zero_point"), "qmin", "qmax")
    return body.op("Sub", integer, "zero_point")


def _affine(body: _Body, x: str, kernel: Kernel) -> str:
    """clip(round(x / scale) + zero_point, qmin, qmax) - zero_point: what is left is to multiply by the scale."""
    if kernel is Kernel.AIMET_TORCH:
        ratio = body.op("Mul", x, body.op("Div", body.number(1.0), "scale"))
    else:
        ratio = body.op("Div", x, "scale")
    integer = body.clip(body.op("Add", body.half_even(ratio), "zero_point"), "qmin", "qmax")
    return body.op("Sub", integer, "zero_point")


def _aimet(body: _Body, x: str) -> str:
    """round(clamp(x, low, high) / scale - offset) + offset, for what aimet_onnx's C++ computes in float32."""
    steps = body.op("Sub", body.op("Div", body.clip(x, "low", "high"), "scale"), "offset")
    return body.op("Add", body.half_away(steps), "offset")
