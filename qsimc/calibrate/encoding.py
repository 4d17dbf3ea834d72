"""An encoding: the affine map between a tensor's integers and its reals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numerics: TypeAlias = Literal["onnx", "aimet", "aimet-torch"]
"""Whose arithmetic: `onnx` is ONNX's QuantizeLinear, `aimet` aimet_onnx's C++, `aimet-torch` aimet_torch's."""


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
        numerics: whose rounding `quantize` and `fake_quantize` use.
    """

    scale: NDArray[np.float64]
    zero_point: NDArray[np.int64]
    qmin: int
    qmax: int
    bits: int
    symmetric: bool
    axis: int | None = None
    numerics: Numerics = "onnx"

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

    def quantize(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the integers nearest to `values` (any shape; channels on `axis`)."""
        raise NotImplementedError

    def dequantize(self, integers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the reals of `integers`."""
        raise NotImplementedError

    def fake_quantize(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return `values` after a round trip through the grid, in float32, as `numerics` computes it."""
        raise NotImplementedError
