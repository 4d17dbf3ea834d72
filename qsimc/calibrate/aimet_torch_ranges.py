"""From a range to an encoding as aimet_torch does it: float32 throughout, the range being the state.

A quantizer stores (min, max) and derives scale and offset from them whenever it runs, so a range
is rounded twice.  Source: AIMET 2.42, `aimet_torch/v2/quantization/affine` and `encoding_analyzer.py`.
"""

from __future__ import annotations

import numpy as np

from qsimc.calibrate.aimet_ranges import minimum_scale
from qsimc.calibrate.arithmetic import F32, FLOAT_MAX
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.levels import Levels


def encode_range(low: F32, high: F32, levels: Levels, axis: int | None) -> Encoding:
    """Return the encoding of an observed range, shape (C,)."""
    return encode_state(*stored_range(low, high, levels, two_bit_rule=True), levels, axis)


def stored_range(low: F32, high: F32, levels: Levels, *, two_bit_rule: bool) -> tuple[F32, F32]:
    """Return the (min, max) that the analyzer stores for an observed range, shape (C,).

    Args:
        two_bit_rule: with 2 bits, make the scale as if the grid had one step more above zero; the
            min-max analyzer does, the percentile analyzer does not.
    """
    low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    steps, below, above = np.float32(levels.steps), np.float32(levels.below), np.float32(levels.above)
    least = np.float32(minimum_scale(levels.steps))
    with np.errstate(over="ignore"):
        flat = least * ((high - low) / steps < least)
        if levels.symmetric:
            reach = above + np.float32(two_bit_rule and levels.steps == 3)
            scale = np.maximum((high + above * flat) / reach, -(low - below * flat) / below)
            low, high = -below * scale, above * scale
        else:
            high = high + steps * flat
    return np.maximum(low, np.float32(-FLOAT_MAX)), np.minimum(high, np.float32(FLOAT_MAX))


def encode_state(low: F32, high: F32, levels: Levels, axis: int | None) -> Encoding:
    """Return the encoding of a stored (min, max), shape (C,); also that of a fixed range.

    The position of the range does not count where the levels are symmetric: a fixed range [0, 1]
    becomes about [-0.5, 0.5].  AIMET does so.
    """
    half_span = high / np.float32(2) - low / np.float32(2)  # the whole one may be infinite
    with np.errstate(over="ignore"):
        scale = np.abs((high - low) / np.float32(levels.steps))
    scale = np.where(np.isfinite(scale), scale, half_span / np.float32(levels.steps / 2))
    scale = np.maximum(scale, np.float32(minimum_scale(levels.steps)))
    if levels.symmetric:
        offset = np.full(scale.shape, -levels.below, np.int64)
    else:
        offset = np.clip(np.rint(low / scale), -levels.steps, 0).astype(np.int64)
    signed = levels.symmetric and not levels.unsigned
    return levels.encoding(scale.astype(np.float64), offset, signed=signed, numerics="aimet-torch", axis=axis)
