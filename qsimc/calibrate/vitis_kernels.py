"""vai_q_pytorch's fake quantization: float32 amplitudes, integers, and four ways to round.

Source: vai_q_pytorch 3.5 (Xilinx/Vitis-AI b2b227921), `fake_quantize_per_tensor` and
`fake_quantize_per_channel` and the C++ kernels below them, as recordings of its CPU build show them.
Its C casts wrap or overflow where an integer does not fit (from 2^31, and zero points from 128 per
channel); here such integers saturate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32, F64, I64, round_half_away
from qsimc.ir.quant import Round

SMALLEST_SCALE = float(np.finfo(np.float64).smallest_normal)
"""A scale no greater than this is no scale."""

SCALE_OF_NOTHING = 2.0**-18
"""The scale that takes its place."""

_BEYOND_EVERY_GRID = 2.0**40


def rounded(steps: NDArray[Any], rounding: Round) -> NDArray[Any]:
    """Return `steps`, floats, rounded to the nearest integers; `rounding` decides ties.

    `half_up` takes ties toward +infinity, `half_down` toward zero on both sides (not toward
    -infinity), `std` away from zero, `half_even` to the even neighbour.
    """
    if rounding == Round.HALF_EVEN:
        return np.asarray(np.rint(steps))
    if rounding == Round.STD:
        return round_half_away(steps)
    # The fraction is exact wherever it can decide, which `floor(steps + 0.5)` is not.
    if rounding == Round.HALF_UP:
        below = np.floor(steps)
        return np.asarray(below + (steps - below >= 0.5))
    size = np.abs(steps)
    below = np.floor(size)
    return np.asarray(np.copysign(below + (size - below > 0.5), steps))


def amplitude(scale: F64, *, per_channel: bool) -> F32:
    """Return the factor from reals to steps, shape (C,): 1 / scale by the roundings of the original.

    Per channel the scale is a float32, and its inverse is taken three times.
    """
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        if not per_channel:
            return (1.0 / scale).astype(np.float32)
        inverse = np.float32(1) / (np.float32(1) / scale.astype(np.float32))
        return (1.0 / inverse.astype(np.float64)).astype(np.float32)


def integers(
    values: NDArray[Any], factor: F32, zero_point: I64, grid: tuple[int, int], rounding: Round = Round.HALF_EVEN
) -> I64:
    """Return the integers of `values`.

    Args:
        values: floats; float64 is rounded as such, anything else as float32.
        factor, zero_point: an `amplitude` and its zero point, which broadcast against the values.
        grid: smallest and greatest integer; NaN takes the smallest.
    """
    if values.dtype != np.float64:
        values = values.astype(np.float32)
    with np.errstate(all="ignore"):
        steps = rounded(values * factor, rounding)
        steps = np.where(np.isnan(steps), -_BEYOND_EVERY_GRID, np.clip(steps, -_BEYOND_EVERY_GRID, _BEYOND_EVERY_GRID))
    return np.asarray(np.clip(steps.astype(np.int64) + zero_point, *grid))


def reals(numbers: I64, factor: F32, zero_point: I64) -> F32:
    """Return the reals of integers; one beyond 2^24 loses its last bits to float32, as in the original."""
    with np.errstate(all="ignore"):
        return np.asarray((numbers.astype(np.float32) - zero_point.astype(np.float32)) * (np.float32(1) / factor))
