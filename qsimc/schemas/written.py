"""The schemas of the files that qsimc itself writes; more keys may come, so no object is closed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from qsimc.diagnostics import Severity
from qsimc.ir.quant import FIELDS, Calib, Numeric
from qsimc.planning.plan import Kind, Mode
from qsimc.spec.fields import Field, vocabulary

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_WHOLE = {"type": "integer"}
_COUNT = {"type": "integer", "minimum": 0}
_PLACE = {"type": "integer", "minimum": 1}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_VERSION = {"const": "1.0"}
NUMERICS = ("onnx", "aimet", "aimet-torch", "vitis-dpu", "vitis-cpu")
"""The words of qsimc.calibrate.encoding.Numerics, which cannot be imported without numpy."""


def _object(properties: Mapping[str, Any], *, optional: Collection[str] = (), **more: Any) -> dict[str, Any]:
    required = [key for key in properties if key not in optional]
    return {**more, "type": "object", "required": required, "properties": dict(properties)}


def _list(items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": dict(items), **more}


def _words(words: Iterable[str]) -> dict[str, Any]:
    return {"enum": [str(word) for word in words]}


def _or_null(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Allow null beside a shape with one type or a list of words."""
    if "enum" in shape:
        return {**shape, "enum": [*shape["enum"], None]}
    return {**shape, "type": [shape["type"], "null"]}


# ── plan ─────────────────────────────────────────────────────────────────────────────────────


def plan() -> dict[str, Any]:
    """Return the schema of `qsimc plan --format json` and of plan.json."""
    document = {
        "format_version": _VERSION,
        "config": _object({"path": _TEXT, "format": _TEXT}),
        "model": _object({"path": _TEXT}),
        "target": _or_null(_TEXT),
        "dialect": _TEXT,
        "mode": _words(Mode),
        "tensors": _list(_tensor()),
    }
    return _object(document, title="Plan (qsimc plan --format json, plan.json)")


def _tensor() -> dict[str, Any]:
    said = {name: _setting(name, vocabulary().fields[name]) for name in FIELDS}
    return _object(
        {
            "tensor": _TEXT,
            "kind": _words(Kind),
            "role": _TEXT,
            "node": _or_null(_TEXT) | {"description": "the producer of an activation, the consumer of a param"},
            "op_type": _or_null(_TEXT),
            **said,
            "axis": _or_null(_WHOLE) | {"description": "channel axis, null where there is one scale per tensor"},
            "shares": _or_null(_TEXT) | {"description": "the tensor whose quantizer this one uses"},
            "because": {"type": "object", "propertyNames": _words(FIELDS), "additionalProperties": _reason()},
        }
    )


def _setting(name: str, field: Field) -> dict[str, Any]:
    """Return the shape of one field of a spec; null says that nobody said."""
    # The vocabulary also lets a word say family and width together; a plan holds them apart.
    choices = tuple(Numeric) if name == "type" else field.choices
    bounds = dict(zip(("minimum", "maximum"), field.bounds, strict=False))
    number = _or_null({"type": "number"})
    shape: Mapping[str, Any] = {
        "flag": _or_null(_FLAG),
        "boolean": _or_null(_FLAG),
        "word": _or_null(_words(choices)),
        "integer": _or_null(_WHOLE) | bounds,
        "real": number | bounds,
        "range": _or_null(_list(number, minItems=2, maxItems=2)),
    }
    return {"description": field.doc, **shape[field.type]}


def _reason() -> dict[str, Any]:
    return _object(
        {
            "path": _or_null(_TEXT),
            "line": _or_null(_PLACE),
            "column": _or_null(_PLACE),
            "rule": _TEXT | {"description": "a line of .qsim, or a built-in rule that `qsimc explain` knows"},
            "detail": _TEXT,
        }
    )


# ── findings ─────────────────────────────────────────────────────────────────────────────────


def findings() -> dict[str, Any]:
    """Return the schema of `qsimc check --format json`; a line of `jsonl` is its `$defs/finding`."""
    document = {
        "format_version": _VERSION,
        "findings": _list({"$ref": "#/$defs/finding"}),
        "summary": _object({str(severity): _COUNT for severity in Severity}),
    }
    return _object(document, title="Findings (qsimc check --format json)") | {"$defs": {"finding": _finding()}}


def _finding() -> dict[str, Any]:
    edit = _object({**_span(_PLACE), "text": _TEXT})
    vendor = _object({"tool": _TEXT, "id": _TEXT, "text": _TEXT}, description="what the vendor's own program prints")
    return _object(
        {
            "code": {"type": "string", "pattern": "^Q[0-9]{4}$"},
            "name": _TEXT,
            "severity": _words(Severity),
            "message": _TEXT,
            **_span(_or_null(_PLACE)),
            "pointer": _TEXT | {"description": "JSON pointer (RFC 6901) of the value"},
            "fingerprint": _TEXT | {"description": "stays when the file is only reformatted"},
            "labels": _list(_object({**_span(_PLACE), "text": _TEXT})),
            "notes": _list(_TEXT),
            "help": _list(_TEXT),
            "fixes": _list(_object({"title": _TEXT, "safe": _FLAG, "edits": _list(edit)})),
            "vendor": _or_null(vendor),
        }
    )


def _span(number: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": _TEXT, "line": number, "column": number, "end_line": number, "end_column": number}


# ── results ──────────────────────────────────────────────────────────────────────────────────


def encodings() -> dict[str, Any]:
    """Return the schema of encodings.json."""
    document = {
        "format_version": _VERSION,
        "encodings": {"type": "object", "additionalProperties": _encoding()},
    }
    return _object(document, title="Encodings (encodings.json)", description="real = (q - zero_point) * scale")


def _encoding() -> dict[str, Any]:
    per_channel = {"minItems": 1, "description": "one element per channel, a single one per tensor"}
    reals = _list({"type": "number"}, **per_channel)
    return _object(
        {
            "bits": {"type": "integer", "minimum": 1, "maximum": 62},
            "signed": _FLAG,
            "symmetric": _FLAG,
            "scale": _list({"type": "number", "exclusiveMinimum": 0}, **per_channel),
            "zero_point": _list(_WHOLE, **per_channel),
            "qmin": _WHOLE,
            "qmax": _WHOLE,
            "min": reals,
            "max": reals,
            "axis": _or_null(_WHOLE),
            "numerics": _words(NUMERICS) | {"description": "whose arithmetic the numbers are for"},
            "calib": _or_null(_words(Calib)),
        },
        # What other tools' encodings are converted to has none.
        optional=("numerics", "calib"),
    )


def lock() -> dict[str, Any]:
    """Return the schema of qsimc.lock."""
    hashed = {"path": _TEXT, "sha256": _DIGEST}
    options = {
        "act": _TEXT,
        "param": _TEXT,
        "calib": _words(Calib),
        "mode": _words(Mode),
        "rewrites": _list(_TEXT),
        "samples": _COUNT,
    }
    shard = {"number": _PLACE, "of": _PLACE, "format": _TEXT, "plan": _DIGEST, "batch_size": _or_null(_PLACE)}
    document = {
        "format_version": _VERSION,
        "qsimc": _TEXT,
        "config": _object(hashed),
        "model": _object({**hashed, "relative": _TEXT}),
        "data": _object(hashed, optional=hashed, description="empty where no data was needed"),
        "options": _object(options),
        "shard": _object(shard, description="which share of the batches was observed; absent where it was all"),
    }
    return _object(
        document, optional=("shard",), title="Lock (qsimc.lock)", description="what a folder of results was made from"
    )


SHAPES: dict[str, Callable[[], dict[str, Any]]] = {
    "plan": plan,
    "findings": findings,
    "encodings": encodings,
    "lock": lock,
}
"""The files of our own, by the name that `qsimc schema` takes."""
