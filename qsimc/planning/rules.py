"""The built-in rules by their ids, the vendors' and qsimc's own; specs/rules/<id>.md is the page of each."""

from __future__ import annotations

from qsimc.planning.plan import Reason

DEFAULT = Reason("default")
GRID_PRESERVING = Reason("aimet-grid-preserving")
CONSTANTS = Reason("aimet-constants")
SIGNED_GRID = Reason("aimet-signed-grid")
ROUNDING = Reason("aimet-rounding")
KNOWN_RANGE = Reason("known-range")
INFINITE = "infinite-values"
NEVER_QUANTIZED = "aimet-never-quantized"
CONTROL_INPUT = "aimet-control-input"
FLOATS_ONLY = "aimet-floats-only"
SYMMETRIC_RANGE = "aimet-symmetric-range"
DYNAMIC_WEIGHT = "aimet-dynamic-weight"
NORM_PARAMS = "aimet-norm-params"
MATMUL_HARDWARE = "aimet-matmul-hardware"
GROUPED_TRANSPOSE = "aimet-grouped-conv-transpose"
CHANNEL_AXIS = "aimet-channel-axis"
RMS_CONSTANTS = "aimet-rms-constants"
UNUSED = "aimet-unused-nodes"
TIE_BACKWARD = "aimet-tie-backward"
TIE_FORWARD = "aimet-tie-forward"
TIE_RECURRENT = "aimet-tie-recurrent"
BODY = "aimet-subgraph-body"

VITIS_DEVICE = Reason("vitis-device")
VITIS_METHOD = Reason("vitis-dpu-method")
VITIS_ROUNDING = Reason("vitis-dpu-rounding")
VITIS_INPUT = Reason("vitis-input-range")
VITIS_PERCENTILE = Reason("vitis-percentage")
VITIS_GROUP = "vitis-group"
VITIS_FLOAT = "vitis-float-operator"
VITIS_MIXED = "vitis-mixed-datatypes"
VITIS_WIDTHS = "vitis-input-width"
VITIS_WEIGHTS_ONLY = Reason("vitis-channels-of-weights")

TIE_PORTS = "aimet-torch-tie"
TIES = frozenset({TIE_BACKWARD, TIE_FORWARD, TIE_RECURRENT, TIE_PORTS})
"""Rules that bind a tensor to another's quantizer: `why` goes on at its owner."""

IDS: tuple[str, ...] = (
    GRID_PRESERVING.rule,
    CONSTANTS.rule,
    SIGNED_GRID.rule,
    ROUNDING.rule,
    KNOWN_RANGE.rule,
    INFINITE,
    NEVER_QUANTIZED,
    CONTROL_INPUT,
    FLOATS_ONLY,
    SYMMETRIC_RANGE,
    DYNAMIC_WEIGHT,
    NORM_PARAMS,
    MATMUL_HARDWARE,
    GROUPED_TRANSPOSE,
    CHANNEL_AXIS,
    RMS_CONSTANTS,
    UNUSED,
    TIE_BACKWARD,
    TIE_FORWARD,
    TIE_RECURRENT,
    BODY,
    VITIS_DEVICE.rule,
    VITIS_METHOD.rule,
    VITIS_ROUNDING.rule,
    VITIS_INPUT.rule,
    VITIS_PERCENTILE.rule,
    VITIS_GROUP,
    VITIS_FLOAT,
    VITIS_MIXED,
    VITIS_WIDTHS,
    VITIS_WEIGHTS_ONLY.rule,
)
"""Every id, for the test that each has its page."""
