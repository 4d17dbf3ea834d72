"""Which of ONNX's integer types holds an encoding's integers, and since which operator set."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

from qsimc.calibrate.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Storage:
    """An integer type of ONNX, and the operator sets that quantize to it per tensor and per channel."""

    type: int
    low: int
    high: int
    since: int
    since_per_channel: int


_STORAGE = {
    4: (Storage(TensorProto.INT4, -8, 7, 21, 21), Storage(TensorProto.UINT4, 0, 15, 21, 21)),
    8: (Storage(TensorProto.INT8, -128, 127, 10, 13), Storage(TensorProto.UINT8, 0, 255, 10, 13)),
    16: (Storage(TensorProto.INT16, -(2**15), 2**15 - 1, 21, 21), Storage(TensorProto.UINT16, 0, 2**16 - 1, 21, 21)),
}
"""Width -> the signed and the unsigned type.  The versions are those of QuantizeLinear in ONNX's Operators.md."""

CONTRIB = "com.microsoft"
"""onnxruntime's own domain: its QuantizeLinear has every type and axis at every operator set."""

PACKED = (TensorProto.INT4, TensorProto.UINT4)

PACKED_SINCE = 10
"""The IR version that introduced the 4-bit types."""


def storage(encoding: Encoding) -> Storage | None:
    """Return the narrowest type that holds an encoding's grid and zero points, None when there is none.

    Widths 2 and 3 go to 8 bits: hardware reads 4-bit files as 4-bit grids.
    """
    for width in (4, 8, 16):
        if width < encoding.bits or (width == 4 and encoding.bits != 4):
            continue
        signed, unsigned = _STORAGE[width]
        held = signed if encoding.qmin < 0 else unsigned
        lowest = min(encoding.qmin, int(encoding.zero_point.min()))
        highest = max(encoding.qmax, int(encoding.zero_point.max()))
        if held.low <= lowest and highest <= held.high:
            return held
    return None


def domain(held: Storage, opset: int, *, per_channel: bool) -> str:
    """Return the domain of the QuantizeLinear to use: ONNX's own wherever the model's operator set has it."""
    return "" if opset >= (held.since_per_channel if per_channel else held.since) else CONTRIB
