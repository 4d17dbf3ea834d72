"""AIMET's encodings files, versions 0.6.1 and 1.0.0.

Source: files exported by aimet_onnx 2.42.0.  On disk an offset counts from the bottom of the unsigned
grid: x = scale * (q + offset) with q in [0, 2^bits - 1], so symmetric int8 has offset -128.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsimc.calibrate.encoding import Encoding
from qsimc.ir.config import Value
from qsimc.ir.quant import Calib, Numeric
from qsimc.plan.plan import Kind, Plan, TensorPlan

VERSIONS = ("0.6.1", "1.0.0")

_SCHEMES = {
    Calib.MINMAX: "min_max",
    Calib.SQNR: "post_training_tf_enhanced",
    Calib.PERCENTILE: "post_training_percentile",
}


def aimet_document(plan: Plan, encodings: Mapping[str, Encoding], version: str = "1.0.0") -> dict[str, Any]:
    """Return an AIMET encodings file as plain data: every quantized tensor, params apart from activations.

    Raises:
        LookupError: no such version; the message names those that can be written.
    """
    if version not in VERSIONS:
        raise LookupError(f"no AIMET encodings version `{version}`; versions: {', '.join(VERSIONS)}")
    entries: dict[str, dict[str, Any]] = {"activation_encodings": {}, "param_encodings": {}}
    for t in plan.enabled():
        section = "param_encodings" if t.kind is Kind.PARAM else "activation_encodings"
        entry = _record_0_6_1 if version == "0.6.1" else _record_1_0_0
        if t.spec.type is not Numeric.INT or t.tensor in encodings:
            entries[section][t.tensor] = entry(t, encodings.get(t.tensor))
    as_list = version != "0.6.1"
    return {
        "version": version,
        **{section: list(found.values()) if as_list else found for section, found in entries.items()},
        "quantizer_args": _quantizer_args(plan),
    }


def _offsets(e: Encoding) -> list[float]:
    return [float(e.qmin - zero) for zero in e.zero_point.tolist()]


def _record_0_6_1(t: TensorPlan, e: Encoding | None) -> list[dict[str, Any]]:
    if e is None:
        return [{"bitwidth": t.spec.bits, "dtype": "float"}]
    columns = zip(e.scale.tolist(), _offsets(e), e.min.tolist(), e.max.tolist(), strict=True)
    return [
        {
            "bitwidth": e.bits,
            "dtype": "int",
            "is_symmetric": str(e.symmetric),
            "max": high,
            "min": low,
            "offset": offset,
            "scale": scale,
        }
        for scale, offset, low, high in columns
    ]


def _record_1_0_0(t: TensorPlan, e: Encoding | None) -> dict[str, Any]:
    if e is None:
        return {"name": t.tensor, "bw": t.spec.bits, "dtype": "FLOAT", "enc_type": "PER_TENSOR"}
    return {
        "name": t.tensor,
        "bw": e.bits,
        "dtype": "INT",
        "enc_type": "PER_TENSOR" if e.axis is None else "PER_CHANNEL",
        "is_sym": e.symmetric,
        "offset": _offsets(e),
        "scale": e.scale.tolist(),
    }


def _quantizer_args(plan: Plan) -> dict[str, Any]:
    """Return AIMET's summary: the precisions it was asked for, and whether any param is symmetric or per channel."""
    params = [t for t in plan.tensors.values() if t.kind is Kind.PARAM]
    acts = [t for t in plan.tensors.values() if t.kind is not Kind.PARAM]
    calib = acts[0].spec.calib if acts else Calib.MINMAX
    return {
        "activation_bitwidth": _asked(acts, "bits", 8),
        "dtype": str(_asked(acts, "type", Numeric.INT)),
        "is_symmetric": any(t.spec.symmetric for t in params if t.spec.enabled),
        "param_bitwidth": _asked(params, "bits", 8),
        "per_channel_quantization": any(t.spec.per_channel for t in params if t.spec.enabled),
        "quant_scheme": _SCHEMES.get(calib or Calib.MINMAX, str(calib)),
    }


def _asked(tensors: list[TensorPlan], field: str, otherwise: Value) -> Value:
    """Return what a field began as, before any rule changed it for one tensor."""
    values = (d.value for t in tensors for d in t.history if d.field == field)
    return next(values, otherwise)
