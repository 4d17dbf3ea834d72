"""Bias correction: what quantization adds to a layer's output on average is taken off its bias, batch by batch.

Source: vai_q_pytorch 3.5 (Xilinx/Vitis-AI b2b227921), `nndct_shared/quantization` (param_corr), as recordings of its
corrections show it: nothing is corrected at once, and it ends as soon as it no longer helps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32

_RATE = np.float32(0.05)
_GOOD = 4.0
"""Efficiency from which the rate is halved."""

_GOOD_ENOUGH = 4.3
_SETTLED = 0.05
_KEPT, _NEW = 0.8, 0.2


def _power(values: F32) -> float:
    """Return the mean square of values, added up in float32."""
    flat = values.reshape(-1)
    return float(np.dot(flat, flat)) / flat.size if flat.size else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class BiasCorrection:
    """The correction of one layer so far.

    Attributes:
        bias: the bias as it is computed with, shape (C,).
        efficiency: running mean of 1.25 log10(power of the output / power of its error).
        deviation: running mean of how far each batch is from that.
        done: nothing is corrected any more.
    """

    bias: F32
    efficiency: float = 0.0
    deviation: float = 0.0
    done: bool = False

    def observe(self, quantized: NDArray[Any], reference: NDArray[Any], axis: int) -> BiasCorrection:
        """Return the correction after one batch.

        Args:
            quantized, reference: the layer's output by quantized and by float parameters, of one shape.
            axis: of the channels.
        """
        if self.done:
            return self
        plain = reference.astype(np.float32, copy=False)
        error = quantized.astype(np.float32, copy=False) - plain
        noise, signal = _power(error), _power(plain)
        if noise == 0 or signal == 0:
            return replace(self, done=True)
        found = 1.25 * float(np.log10(signal / noise))
        distance = abs(found - self.efficiency)
        efficiency = _KEPT * self.efficiency + _NEW * found
        deviation = _KEPT * self.deviation + _NEW * distance
        changed = replace(self, efficiency=efficiency, deviation=deviation)
        settled = distance == 0 or abs(distance - deviation / distance) < _SETTLED
        if efficiency > _GOOD_ENOUGH or (efficiency != 0 and deviation / efficiency < _SETTLED) or settled:
            return replace(changed, done=True)
        rate = _RATE * np.float32(0.5) if efficiency > _GOOD else _RATE
        others = tuple(place for place in range(error.ndim) if place != axis % error.ndim)
        return replace(changed, bias=(self.bias - rate * error.mean(axis=others, dtype=np.float32)).astype(np.float32))
