"""From a range to an encoding as aimet_onnx does it: its C++ computes in double.

Source: AIMET, `getComputedEncodings` in `quantization_utils.cpp`, as recordings of release 2.42 show it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F64, FLOAT_EPSILON, FLOAT_MAX, I64, round_half_away
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.levels import Levels

FIXED_RANGE_WIDTH = 0.01
"""The least width of a range that the config states."""


def minimum_scale(steps: int) -> float:
    """Return the smallest scale that AIMET makes from data."""
    return min(FLOAT_EPSILON, 0.01 / steps)


def encode_range(low: F64, high: F64, levels: Levels, axis: int | None) -> Encoding:
    """Return the encoding of an observed range, shape (C,)."""
    low, high = _with_zero(low, high)
    step = minimum_scale(levels.steps)
    flat = (high - low) / levels.steps < step
    two_sided = _two_sided(low, levels)
    # With 2 bits a symmetric grid reaches one step further up when its scale is made: see `_centred_scale`.
    flat_high = np.where(two_sided, _reach_above(levels) * step, low + levels.steps * step)
    flat_low = np.where(two_sided, -levels.below * step, low)
    return _on_grid(np.where(flat, flat_low, low), np.where(flat, flat_high, high), levels, axis)


def encode_fixed(low: F64, high: F64, levels: Levels, axis: int | None) -> Encoding:
    """Return the encoding of a range stated in the config (`encoding_constraints`), shape (C,).

    A narrow range takes the scale of the full one, so it ends one step short of a negative bound.
    """
    low, high = _with_zero(low, high)
    full = _on_grid(low, np.maximum(high, low + FIXED_RANGE_WIDTH), replace(levels, narrow=False), axis)
    offset = full.qmin - full.zero_point
    return from_offset(full.scale, np.maximum(offset, -levels.below) if levels.narrow else offset, levels, axis)


def _on_grid(low: F64, high: F64, levels: Levels, axis: int | None) -> Encoding:
    two_sided = _two_sided(low, levels)
    scale = np.where(two_sided, _centred_scale(low, high, levels), (high - low) / levels.steps)
    # C++ counts from whichever end is not zero; where only one end is not, both counts agree.
    offset = np.where(high > 0, -np.clip(round_half_away(-low / scale), 0, levels.steps), round_half_away(low / scale))
    offset = np.where(two_sided, -levels.below, offset)
    return from_offset(scale, offset.astype(np.int64), levels, axis)


def from_offset(scale: F64, offset: I64, levels: Levels, axis: int | None) -> Encoding:
    """Return the encoding of AIMET's own two numbers, shape (C,); the integers are signed if zero is their middle."""
    return levels.encoding(scale, offset, signed=levels.centred(offset), numerics="aimet", axis=axis)


def _centred_scale(low: F64, high: F64, levels: Levels) -> F64:
    return np.maximum(high / _reach_above(levels), -low / levels.below)


def _reach_above(levels: Levels) -> int:
    return levels.above + int(levels.steps == 3)


def _two_sided(low: F64, levels: Levels) -> NDArray[np.bool_]:
    """Return, per channel, whether zero is put at the middle of the grid."""
    return np.full(low.shape, levels.symmetric) & ((low < 0) | (not levels.unsigned))


def _with_zero(low: F64, high: F64) -> tuple[F64, F64]:
    return np.clip(low, -FLOAT_MAX, 0.0), np.clip(high, 0.0, FLOAT_MAX)
