"""What each codec takes, as a schema: one entry per codec of qsimc/formats/codecs.py and vitis_codecs.py."""

from __future__ import annotations

from typing import Any

from qsimc.formats.vitis_codecs import NARROWEST, WIDEST
from qsimc.spec.keymap import KeyTable

_WHOLE = {"type": "object", "properties": {"bitwidth": {"enum": [4, 8, 16, 32]}, "dtype": {"const": "int"}}}
_REAL = {"type": "object", "properties": {"bitwidth": {"enum": [16, 32]}, "dtype": {"const": "float"}}}
_PRECISION = {
    "anyOf": [{**kind, "required": ["bitwidth", "dtype"], "additionalProperties": False} for kind in (_WHOLE, _REAL)]
}


def _kernels(*required: str) -> dict[str, Any]:
    kernel = {
        "type": "object",
        "required": list(required),
        "properties": {"activation": _PRECISION, "param": _PRECISION},
        "additionalProperties": False,
    }
    return {"type": "array", "minItems": 1, "items": kernel}


SHAPES: dict[str, dict[str, Any]] = {
    "bool": {"enum": ["True", "False"]},
    "text": {"type": "string"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "chain": {
        "description": "operators that run as one, in order",
        "type": "array",
        "minItems": 2,
        "items": {"type": "string"},
    },
    "range": {
        "type": "object",
        "required": ["min"],
        "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
        "additionalProperties": False,
    },
    "kernels": _kernels("activation", "param"),
    "op_kernels": _kernels("activation"),
    "true_or_false": {"type": "boolean"},
    "switch": {"type": "boolean"},
    "integer": {"type": "integer"},
    "bit_width": {"type": "integer", "minimum": NARROWEST, "maximum": WIDEST},
    "percentage": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
    "text_or_null": {"type": ["string", "null"]},
}
"""The codecs that take the same of every vendor; the others take the words of its table."""

WORDED = ("device", "kinds", "method", "datatype", "round_mode", "scale_type", "calib_statistic_method")
"""The codecs that take words."""


def shape_of(table: KeyTable, codec: str) -> dict[str, Any]:
    """Return what a codec takes, as a schema; the words are those of the table."""
    if codec in SHAPES:
        return SHAPES[codec]
    if codec == "device":
        return {"enum": list(table.devices)}
    if codec == "kinds":
        described = "the tensors that are quantized"
        return {"description": described, "type": "array", "items": {"enum": list(table.roles)}}
    return {"enum": list(table.words[codec])}
