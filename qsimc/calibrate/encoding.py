"""An encoding: the affine map between a tensor's integers and its reals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate import vitis_kernels
from qsimc.calibrate.arithmetic import round_half_away
from qsimc.ir.quant import Round

Numerics: TypeAlias = Literal["onnx", "aimet", "aimet-torch", "vitis-dpu", "vitis-cpu"]
"""Whose arithmetic: `onnx` is ONNX's QuantizeLinear, `aimet` aimet_onnx's C++, `aimet-torch` aimet_torch's,
`vitis-dpu` vai_q_pytorch's for its target DPU, `vitis-cpu` for its targets CPU and GPU."""

VITIS: tuple[Numerics, ...] = ("vitis-dpu", "vitis-cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """real = (q - zero_point) * scale, with qmin <= q <= qmax.

    Attributes:
        scale: shape (C,), C = 1 per tensor; positive.
        zero_point: shape (C,); integers.
        qmin, qmax: the integer grid, inclusive.
        bits: width of the integer.
        symmetric: whether zero was put at the middle of the grid by rule.
        axis: channel axis of the tensor, None per tensor.
        numerics: whose arithmetic `quantize` and `fake_quantize` use.
        rounding: what happens to ties, if the numerics are Vitis AI's; the other tools leave no choice.
    """

    scale: NDArray[np.float64]
    zero_point: NDArray[np.int64]
    qmin: int
    qmax: int
    bits: int
    symmetric: bool
    axis: int | None = None
    numerics: Numerics = "onnx"
    rounding: Round = Round.HALF_EVEN

    @property
    def signed(self) -> bool:
        """Whether the grid holds negative integers."""
        return self.qmin < 0

    @property
    def min(self) -> NDArray[np.float64]:
        """Smallest representable real, shape (C,)."""
        return (self.qmin - self.zero_point) * self.scale

    @property
    def max(self) -> NDArray[np.float64]:
        """Largest representable real, shape (C,)."""
        return (self.qmax - self.zero_point) * self.scale

    @property
    def fix_position(self) -> NDArray[np.int64]:
        """Vitis AI's word for a scale 2^-n: n, shape (C,).

        Raises:
            ValueError: a scale is no power of two.
        """
        mantissa, exponent = np.frexp(self.scale)
        if np.any(mantissa != 0.5):
            raise ValueError("only a scale that is a power of two has a fix position")
        return np.asarray(1 - exponent, np.int64)

    @property
    def amplitude(self) -> NDArray[np.float32]:
        """Vitis AI's factor from reals to steps, shape (C,)."""
        return vitis_kernels.amplitude(self.scale, per_channel=self.axis is not None)

    @property
    def step(self) -> NDArray[np.float32]:
        """What an integer is multiplied by to give a real, shape (C,): the scale as the arithmetic has it."""
        if self.numerics in VITIS:
            return np.asarray(np.float32(1) / self.amplitude)
        return self.scale.astype(np.float32)

    def quantize(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the integers nearest to `values` (any shape; channels on `axis`).

        Values beyond the range, infinities included, take its nearest end; NaN takes qmin.
        """
        if self.numerics in VITIS:
            values = np.asarray(values)
            factor, zero_point = self._vitis_constants(values.ndim)
            return vitis_kernels.integers(values, factor, zero_point, (self.qmin, self.qmax), self.rounding)
        steps = self._steps(values)
        integers = steps.astype(np.int64) + self._beside(self.zero_point, steps.ndim)
        # A grid wider than float32's 24 bits cannot be clamped exactly before this.
        return np.asarray(np.clip(integers, self.qmin, self.qmax))

    def dequantize(self, integers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the reals of `integers`."""
        if self.numerics in VITIS:
            return vitis_kernels.reals(integers, *self._vitis_constants(np.ndim(integers)))
        steps = integers - self._beside(self.zero_point, np.ndim(integers))
        return self._reals(steps.astype(np.float32))

    def fake_quantize(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return `values` after a round trip through the grid, in float32, as `numerics` computes it."""
        if self.numerics in VITIS:
            values = np.asarray(values)
            factor, zero_point = self._vitis_constants(values.ndim)
            return vitis_kernels.fake_quantized(values, factor, zero_point, (self.qmin, self.qmax), self.rounding)
        return self._reals(self._steps(values))

    def _steps(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return q - zero_point, whole numbers in float32."""
        lowest = self._beside(self.qmin - self.zero_point, np.ndim(values)).astype(np.float32)
        highest = self._beside(self.qmax - self.zero_point, np.ndim(values)).astype(np.float32)
        with np.errstate(all="ignore"):
            steps = self._rounded(np.asarray(values, np.float32), lowest)
            clamped = np.clip(np.where(np.isnan(steps), lowest, steps), lowest, highest)
        return np.asarray(clamped + np.float32(0))  # -0.0 is no integer

    def _rounded(self, values: NDArray[np.float32], lowest: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `values` in whole steps, not yet clamped to the grid; NaN stays.

        Sources: ONNX, operator QuantizeLinear; AIMET 2.42, `TensorQuantizationSim.cpp` and
        `torch.fake_quantize_per_tensor_affine`, which aimet_torch calls when no gradient is wanted.
        """
        scale = self._beside(self.scale, values.ndim).astype(np.float32)
        if self.numerics == "onnx":
            return np.asarray(np.rint(values / scale))
        if self.numerics == "aimet-torch":
            return np.asarray(np.rint(values * (np.float32(1) / scale)))
        low = self._beside(self.min, values.ndim).astype(np.float32)
        high = self._beside(self.max, values.ndim).astype(np.float32)
        # Rounded from the low end, not from zero: the subtraction loses bits in float32, and is meant to.
        return round_half_away(np.clip(values, low, high) / scale - lowest) + lowest

    def _reals(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(steps * self._beside(self.scale, steps.ndim).astype(np.float32))

    def _vitis_constants(self, ndim: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the factor to steps and the zero point, to broadcast against a tensor."""
        return self._beside(self.amplitude, ndim), self._beside(self.zero_point, ndim)

    def _beside(self, per_channel: NDArray[Any], ndim: int) -> NDArray[Any]:
        """Return an array of shape (C,) shaped to broadcast against a tensor with `ndim` dimensions."""
        if self.axis is None:
            return per_channel.reshape(())
        shape = [1] * ndim
        shape[self.axis] = -1
        return per_channel.reshape(shape)
