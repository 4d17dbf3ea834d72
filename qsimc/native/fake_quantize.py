"""Fake quantization in C: values through the grid of an encoding, and gradients past it, as fast as memory is."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Literal, TypeAlias

from qsimc import native
from qsimc.calibrate.encoding import Numerics
from qsimc.ir.quant import Round

ARITHMETIC: dict[Numerics, tuple[int, int]] = {
    "onnx": (0, 0),
    "aimet": (1, 1),
    "aimet-torch": (2, 2),
    "vitis-dpu": (3, 4),
    "vitis-cpu": (3, 4),
}
"""Numerics -> `Numerics` in fake_quantize.c, per tensor and per channel."""

ROUNDINGS = {Round.HALF_EVEN: 0, Round.HALF_UP: 1, Round.HALF_DOWN: 2, Round.STD: 3}
"""Rounding -> `Rounding` in fake_quantize.c."""

OF_STEPS, OF_RANGE = 1, 2
"""Where a value was, as `Inside` in fake_quantize.c: both, if its gradient passes."""


class GridJob(ctypes.Structure):
    """What the kernels are told: addresses, of float32 values and float64 encodings, and numbers.

    Attributes:
        x, y: outer * channels * inner values in row-major order, read and written; they may be the same.
        inside: a byte for each value: where it was.  `fake_quantize` writes it unless it is None; `pass_gradients`
            reads it.
        scale, zero_point: one for each channel.
        numerics, rounding: as `ARITHMETIC` and `ROUNDINGS` have them.
        threads: how many to use, if there is `parallel`.
        parallel: `GOMP_parallel` of the caller's threads, or None.
    """

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "y", "inside", "scale", "zero_point")),
        *((name, ctypes.c_double) for name in ("qmin", "qmax")),
        *((name, ctypes.c_int64) for name in ("outer", "channels", "inner", "numerics", "rounding", "threads")),
        ("parallel", ctypes.c_void_p),
    )


Task: TypeAlias = Literal["fake_quantize", "pass_gradients"]


@cache
def kernel(task: Task) -> Any:
    """Return a function that takes a `GridJob` by reference; None where there are no kernels.

    `fake_quantize` makes of values x what they are after a round trip through the grid, y; `pass_gradients` makes of
    the gradients of results, x, those of the values, y.
    """
    library = native.kernels()
    if library is None:
        return None
    function: Any = getattr(library, f"qsimc_{task}", None)
    if function is not None:
        function.argtypes, function.restype = [ctypes.POINTER(GridJob)], None
    return function
