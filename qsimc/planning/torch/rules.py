"""The built-in rules of aimet_torch by their ids; specs/rules/<id>.md is the page of each."""

from __future__ import annotations

from qsimc.planning.rules import TIE_PORTS

FUNCTION = "aimet-torch-function"
INSIDE = "aimet-torch-inside"
FOLD = "aimet-torch-fold"
NORM_PARAMS = "aimet-torch-norm-params"
MATMUL_HARDWARE = "aimet-torch-matmul-hardware"
SCALAR = "aimet-torch-scalar"
RANGE_POSITION = "aimet-torch-range-position"
INTEGER_RANGE = "aimet-torch-integer-range"
REUSED = "aimet-torch-reused"
TIE = TIE_PORTS

IDS: tuple[str, ...] = (
    FUNCTION,
    INSIDE,
    FOLD,
    NORM_PARAMS,
    MATMUL_HARDWARE,
    SCALAR,
    RANGE_POSITION,
    INTEGER_RANGE,
    REUSED,
    TIE,
)
"""Every id, for the test that each has its page."""
