"""From a range of reals to an encoding, by the rules of each tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate import aimet_ranges, aimet_torch_ranges, vitis_scales
from qsimc.calibrate.arithmetic import F64, FLOAT_MAX, SMALLEST_NORMAL
from qsimc.calibrate.encoding import VITIS, Encoding, Numerics
from qsimc.calibrate.levels import Levels
from qsimc.calibrate.vitis_rules import Rules
from qsimc.ir.quant import Calib, QuantSpec, ScaleKind

WIDEST = FLOAT_MAX / 2
"""Bound of a range under `onnx`: an end moves by less than a step, and every grid point stays finite."""


def encode_range(
    low: NDArray[Any], high: NDArray[Any], spec: QuantSpec, numerics: Numerics = "onnx", axis: int | None = None
) -> Encoding:
    """Return the encoding of the range [low, high] of each channel, widened to contain zero (but not by Vitis AI).

    The scale is always positive and finite.  Under `onnx` it is also a normal float32, so that an
    ONNX file holds it exactly, and a range too narrow for that becomes one of width 1.

    Args:
        low, high: shape (C,); low <= high.
        spec: `bits`, `symmetric`, `narrow_range`, `unsigned_symmetric`; under `onnx` also `signed`
            (None: signed if symmetric) and `scale`; under Vitis AI's numerics all these and `round`,
            but `unsigned_symmetric`.

    Raises:
        ValueError: a bound is NaN, or low > high: nothing was observed; or Vitis AI's rules have no
            scale for it.
    """
    if np.isnan(low).any() or np.isnan(high).any():
        raise ValueError("the range has a bound that is not a number")
    if (low > high).any():
        raise ValueError("the range is empty: low is greater than high, as when no values were observed")
    if numerics in VITIS:
        rules = Rules.of(replace(spec, calib=Calib.MINMAX), numerics, per_channel=len(low) > 1)
        return vitis_scales.encode_range(low.astype(np.float32), high.astype(np.float32), rules, axis)
    levels = Levels.of(spec)
    if numerics == "aimet":
        return aimet_ranges.encode_range(low.astype(np.float64), high.astype(np.float64), levels, axis)
    if numerics == "aimet-torch":
        return aimet_torch_ranges.encode_range(low.astype(np.float32), high.astype(np.float32), levels, axis)
    low, high = np.clip(low.astype(np.float64), -WIDEST, 0.0), np.clip(high.astype(np.float64), 0.0, WIDEST)
    return _encode_onnx(low, high, levels, spec, axis)


def fixed_range(spec: QuantSpec, numerics: Numerics = "onnx", axis: int | None = None, channels: int = 1) -> Encoding:
    """Return the encoding of a range that the spec states in full (AIMET's `encoding_constraints`).

    Raises:
        ValueError: a bound is open, not finite, or the lower one is the greater.
    """
    stated_low, stated_high = spec.range or (None, None)
    if stated_low is None or stated_high is None:
        raise ValueError(f"the range {spec.range} does not have two bounds")
    if not -FLOAT_MAX <= stated_low <= stated_high <= FLOAT_MAX:
        raise ValueError(f"the range {spec.range} is not an interval of finite float32 numbers")
    low, high = np.full(channels, stated_low), np.full(channels, stated_high)
    if numerics == "aimet":
        return aimet_ranges.encode_fixed(low, high, Levels.of(spec), axis)
    if numerics == "aimet-torch":
        return aimet_torch_ranges.encode_state(low.astype(np.float32), high.astype(np.float32), Levels.of(spec), axis)
    return encode_range(low, high, spec, numerics, axis)


def within_stated(
    spec: QuantSpec, numerics: Numerics, axis: int | None, channels: int, search: Callable[[], Encoding]
) -> Encoding:
    """Return the encoding that `search` finds in data, unless and as far as the spec states the range.

    Of a range with one bound (aimet_onnx accepts `min` alone) that bound holds, and the other is the
    end of the encoding that the data gives; both then go through the tool's min-max rule.
    """
    stated_low, stated_high = spec.range or (None, None)
    if stated_low is not None and stated_high is not None:
        return fixed_range(spec, numerics, axis, channels)
    found = search()
    if stated_low is None and stated_high is None:
        return found
    low = found.min if stated_low is None else np.full(channels, stated_low)
    high = found.max if stated_high is None else np.full(channels, stated_high)
    # Data wholly outside the stated half-line leaves the point where that begins.
    if stated_low is None:
        return encode_range(np.minimum(low, high), high, spec, numerics, axis)
    return encode_range(low, np.maximum(low, high), spec, numerics, axis)


def _encode_onnx(low: F64, high: F64, levels: Levels, spec: QuantSpec, axis: int | None) -> Encoding:
    """Return qsimc's own encoding: affine, or symmetric on the full signed grid.

    The unsigned grid of `unsigned_symmetric` is taken if no channel is negative: ONNX has one
    integer type for all channels.
    """
    if levels.symmetric and not (levels.unsigned and (low >= 0).all()):
        scale = _usable(np.maximum(high / levels.above, -low / levels.below), 1 / levels.above, spec)
        offset = np.full(scale.shape, -levels.below, np.int64)
        signed = spec.signed is not False
    else:
        scale = _usable((high - low) / levels.steps, 1 / levels.steps, spec)
        offset = np.clip(np.rint(low / scale), -levels.steps, 0).astype(np.int64)
        signed = bool(spec.signed) and not levels.symmetric
    return levels.encoding(scale, offset, signed=signed, numerics="onnx", axis=axis)


def _usable(scale: F64, otherwise: float, spec: QuantSpec) -> F64:
    """Return the scale as float32 or the next power of two can hold it, `otherwise` where it is (nearly) zero."""
    scale = np.where(scale < SMALLEST_NORMAL, otherwise, scale)
    if spec.scale == ScaleKind.POW2:
        return np.asarray(np.exp2(np.ceil(np.log2(scale))), np.float64)
    return scale.astype(np.float32).astype(np.float64)
