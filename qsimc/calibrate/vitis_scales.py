"""From one batch of values to a scale, as vai_q_pytorch does it: ranges and fix positions.

Source: vai_q_pytorch 3.5 (Xilinx/Vitis-AI b2b227921), `quantization/quant_algo.py`, and `DiffS` of
its kernels, as recordings of its CPU build show them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate import vitis_kernels
from qsimc.calibrate.arithmetic import F32, F64, FLOAT_MAX, I64
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.vitis_rules import Rules

POSITION_OF_NOTHING = 18
"""Fix position of a tensor of zeros, before the cap."""

CANDIDATES = 5
"""How many fix positions `diffs` tries, from the one of min-max upward."""


def encode_range(low: F32, high: F32, rules: Rules, axis: int | None) -> Encoding:
    """Return the encoding of a range of values, shape (C,), which is not searched but taken.

    Raises:
        ValueError: the rules have no scale for that range.
    """
    if rules.pow2:
        scale = np.exp2(-capped(fix_positions(low, high, rules), rules).astype(np.float64))
        return encoding(scale, np.zeros(scale.shape, np.int64), rules, axis)
    return encoding(*float_scales(low, high, rules, per_channel=len(low) > 1), rules, axis)


def encoding(scale: F64, zero_point: I64, rules: Rules, axis: int | None) -> Encoding:
    """Return the encoding of scales and zero points, shape (C,); a scale of 0 becomes 2^-18, as in the kernels."""
    qmin, qmax = rules.grid
    return Encoding(
        scale=np.where(scale <= vitis_kernels.SMALLEST_SCALE, vitis_kernels.SCALE_OF_NOTHING, scale),
        zero_point=zero_point,
        qmin=qmin,
        qmax=qmax,
        bits=rules.bits,
        symmetric=rules.symmetric,
        axis=axis,
        numerics=rules.numerics,
        rounding=rules.rounding,
    )


def fix_positions(low: F32, high: F32, rules: Rules) -> I64:
    """Return the greatest fix position at which [low, high] does not saturate, shape (C,); not yet capped.

    Up to half a step beyond the grid counts as on it, since it is rounded there.
    """
    half_grid = np.float32(1 << (rules.bits - 1))
    half_step = np.float32(0.5)
    step = np.maximum(low / (-half_grid - half_step), high / (half_grid - half_step))
    nothing = step <= vitis_kernels.SMALLEST_SCALE
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / np.where(nothing, np.float32(1), step)
    positions = np.floor(np.log2(np.minimum(inverse, np.float32(FLOAT_MAX)))).astype(np.int64)
    return np.where(nothing, POSITION_OF_NOTHING, positions)


def capped(positions: I64, rules: Rules) -> I64:
    """Return the positions, at most 12, or 15 with more than 8 bits; there is no least one."""
    return np.minimum(positions, 12 if rules.bits <= 8 else 15)


def best_fix_positions(values: F32, rules: Rules) -> I64:
    """Return the fix position with the least squared error for each row of shape (C, n); not yet capped.

    The first of equally good ones wins; `narrow_range` is not regarded.
    """
    first = fix_positions(values.min(axis=1), values.max(axis=1), rules)
    errors = np.stack([_squared_errors(values, first + more, rules) for more in range(CANDIDATES)])
    return np.asarray(first + np.argmin(errors, axis=0), np.int64)


def _squared_errors(values: F32, positions: I64, rules: Rules) -> F32:
    half_grid = 1 << (rules.bits - 1)
    with np.errstate(over="ignore"):
        factor = np.exp2(positions.astype(np.float64)).astype(np.float32)[:, None]
        zero = np.zeros_like(positions)[:, None]
        grid = -half_grid, half_grid - 1
        errors = vitis_kernels.fake_quantized(values, factor, zero, grid, rules.rounding)
        np.subtract(values, errors, out=errors)
        return np.asarray(np.square(errors, out=errors).sum(axis=1, dtype=np.float32))


def float_scales(low: F32, high: F32, rules: Rules, *, per_channel: bool) -> tuple[F64, I64]:
    """Return scales and zero points of min-max ranges, shape (C,); the scale of zeros is 0.

    They are computed in double per tensor, in float32 per channel.  An asymmetric range is not
    widened to contain zero, and its zero point may lie outside the grid.

    Raises:
        ValueError: an asymmetric range has no width, or more than a float can hold.
    """
    precision: np.dtype[Any] = np.dtype(np.float32 if per_channel else np.float64)
    least: NDArray[Any] = low.astype(precision)
    most: NDArray[Any] = high.astype(precision)
    if rules.symmetric:
        return symmetric_scales(np.maximum(np.abs(least), np.abs(most)), rules), np.zeros(low.shape, np.int64)
    qmin, qmax = rules.grid
    with np.errstate(over="ignore"):
        scale = (most - least) / precision.type(qmax - qmin)
    if not np.all((scale > 0) & np.isfinite(scale)):
        raise ValueError(
            "an asymmetric scale needs values that differ, by no more than a float can hold, under Vitis AI's numerics"
        )
    return np.asarray(scale, np.float64), np.asarray(np.rint(-least / scale), np.int64)


def symmetric_scales(reach: NDArray[Any], rules: Rules) -> F64:
    """Return the scales at which the grid ends at `reach`, floats of shape (C,), in the precision of `reach`."""
    return np.asarray(reach / reach.dtype.type(rules.grid[1]), np.float64)
