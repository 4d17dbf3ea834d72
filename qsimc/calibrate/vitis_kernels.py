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

_EXACT = 1 << 22
"""Below this, float32 holds every integer and its neighbouring halves."""

_CHUNK = 1 << 15
"""Values that are taken through the grid at a time: few enough to stay in the cache."""


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


def fake_quantized(
    values: NDArray[Any], factor: F32, zero_point: I64, grid: tuple[int, int], rounding: Round = Round.HALF_EVEN
) -> F32:
    """Return `values` after a round trip through the integers: what `reals(integers(...))` is, and sooner.

    Where float32 holds every integer of the grid exactly, no integer is made.
    """
    low, high = grid[0] - zero_point, grid[1] - zero_point
    largest = max(abs(grid[0]), abs(grid[1]), int(np.abs(zero_point).max()), int(np.abs([low, high]).max()))
    if largest >= _EXACT or values.dtype == np.float64:
        return reals(integers(values, factor, zero_point, grid, rounding), factor, zero_point)
    inverse = np.float32(1) / factor
    plain = np.ascontiguousarray(values, np.float32)
    result = np.empty_like(plain)
    if factor.size > 1:
        _through_grid(plain, result, factor, (low.astype(np.float32), high.astype(np.float32)), inverse, rounding)
        return result
    ends = np.float32(low.reshape(())), np.float32(high.reshape(()))
    source, target = plain.reshape(-1), result.reshape(-1)
    one, back = np.float32(factor.reshape(())), np.float32(inverse.reshape(()))
    for start in range(0, source.size, _CHUNK):
        piece = slice(start, start + _CHUNK)
        _through_grid(source[piece], target[piece], one, ends, back, rounding)
    return result


def _through_grid(values: F32, out: F32, factor: Any, ends: tuple[Any, Any], inverse: Any, rounding: Round) -> None:
    """Write `values` after a round trip into `out`; the ends of the grid are in steps from zero."""
    with np.errstate(all="ignore"):
        np.multiply(values, factor, out=out)
        # The ends are whole numbers, so it is all the same whether what is beyond them is rounded first.
        # NaN takes the smaller one.
        np.fmax(out, ends[0], out=out)
        np.fmin(out, ends[1], out=out)
        if rounding == Round.HALF_EVEN:
            np.rint(out, out=out)
        else:
            out[...] = rounded(out, rounding)
        out += np.float32(0)  # -0.0 is no integer
        out *= inverse


def reals(numbers: I64, factor: F32, zero_point: I64) -> F32:
    """Return the reals of integers; one beyond 2^24 loses its last bits to float32, as in the original."""
    with np.errstate(all="ignore"):
        return np.asarray((numbers.astype(np.float32) - zero_point.astype(np.float32)) * (np.float32(1) / factor))
