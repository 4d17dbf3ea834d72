"""Rounding to the narrow floats that a plan can ask for: what a Cast to them and back gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.arithmetic import F32
from qsimc.ir.quant import Numeric

_KEPT = 16
"""Bits of a float32 that a bfloat16 keeps."""


def cast(values: NDArray[Any], family: Numeric, bits: int) -> F32:
    """Return float32 values rounded to a float type, ties to even; a type as wide as float32 changes nothing."""
    plain = values.astype(np.float32)
    if family is Numeric.BFLOAT:
        return _bfloat16(plain)
    if family is Numeric.FLOAT and bits == 16:
        with np.errstate(over="ignore"):
            return plain.astype(np.float16).astype(np.float32)
    return plain


def _bfloat16(values: F32) -> F32:
    """Return the nearest bfloat16; NaN stays NaN."""
    pattern = np.ascontiguousarray(values).view(np.uint32)
    odd = (pattern >> np.uint32(_KEPT)) & np.uint32(1)
    rounded = pattern + np.uint32((1 << (_KEPT - 1)) - 1) + odd
    kept = (rounded >> np.uint32(_KEPT)) << np.uint32(_KEPT)
    return np.asarray(np.where(np.isnan(values), values, kept.view(np.float32)), np.float32)
