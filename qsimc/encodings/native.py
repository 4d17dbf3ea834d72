"""encodings.json: qsimc's own record of what calibration found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.encodings.own import FORMAT_VERSION
from qsimc.planning.plan import Plan


def encodings_document(encodings: Mapping[str, Encoding], plan: Plan) -> dict[str, Any]:
    """Return encodings as plain data, in the order of the plan."""
    return {
        "format_version": FORMAT_VERSION,
        "encodings": {t: _entry(encodings[t], plan) | _calib(plan, t) for t in plan.tensors if t in encodings},
    }


def _entry(e: Encoding, plan: Plan) -> dict[str, Any]:
    return {
        "bits": e.bits,
        "signed": e.signed,
        "symmetric": e.symmetric,
        "scale": e.scale.tolist(),
        "zero_point": e.zero_point.tolist(),
        "qmin": e.qmin,
        "qmax": e.qmax,
        "min": e.min.tolist(),
        "max": e.max.tolist(),
        "axis": e.axis,
        "numerics": e.numerics,
    }


def _calib(plan: Plan, tensor: str) -> dict[str, Any]:
    return {"calib": plan[tensor].spec.calib}


def read_encodings(document: Mapping[str, Any]) -> dict[str, Encoding]:
    """Return the encodings of a document.

    Raises:
        KeyError, ValueError, TypeError: the document holds none.
    """
    return {tensor: _encoding(entry) for tensor, entry in document["encodings"].items()}


def _encoding(entry: Mapping[str, Any]) -> Encoding:
    scale = np.asarray(entry["scale"], dtype=np.float64)
    zero_point = np.asarray(entry["zero_point"], dtype=np.int64)
    numerics: Numerics = entry.get("numerics", "onnx")
    if scale.ndim != 1 or scale.shape != zero_point.shape:
        raise ValueError(f"{scale.size} scales and {zero_point.size} zero points")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("a scale is not positive")
    if numerics not in get_args(Numerics):
        raise ValueError(f"no numerics are called `{numerics}`")
    return Encoding(
        scale=scale,
        zero_point=zero_point,
        qmin=int(entry["qmin"]),
        qmax=int(entry["qmax"]),
        bits=int(entry["bits"]),
        symmetric=bool(entry["symmetric"]),
        axis=entry["axis"],
        numerics=numerics,
    )
