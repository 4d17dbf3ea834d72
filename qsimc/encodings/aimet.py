"""AIMET's encodings files, all versions, from a plan and what calibration found.

Source: files exported by aimet_onnx 2.42.0 (0.6.1 to 2.0.0) and aimet_torch 2.42.0 (2.1.0, which aimet_onnx
itself refuses to write or read).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qsimc.calibrate.accumulator import Constant
from qsimc.calibrate.encoding import Encoding
from qsimc.encodings.bias import biases
from qsimc.encodings.derive import derived
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section
from qsimc.encodings.write import document
from qsimc.ir.config import Value
from qsimc.ir.quant import Calib, Numeric
from qsimc.planning.plan import Kind, Plan, TensorPlan

VERSIONS = ("0.6.1", "1.0.0", "2.0.0", "2.1.0")

_SCHEMES = {
    Calib.MINMAX: "min_max",
    Calib.SQNR: "post_training_tf_enhanced",
    Calib.PERCENTILE: "post_training_percentile",
}


def aimet_document(
    plan: Plan,
    encodings: Mapping[str, Encoding],
    version: str = "1.0.0",
    *,
    constant: Constant | None = None,
    signed_activations: bool = False,
) -> dict[str, Any]:
    """Return an AIMET encodings file as plain data: every quantized tensor.

    Versions 2.x also get the tensors that are only moved (reshaped, transposed, ...), whose grid follows, and int32
    biases, whose scale does; they have no place for 16-bit floats.

    Args:
        constant: gives the values of biases; without it int32 biases are left out, as AIMET's
            `export_int32_bias=False` does.
        signed_activations: versions 2.x: int8 instead of uint8, as AIMET's `force_activation_as="signed"`.

    Raises:
        LookupError: no such version; the message names those that can be written.
    """
    if version not in VERSIONS:
        raise LookupError(f"no AIMET encodings version `{version}`; versions: {', '.join(VERSIONS)}")
    layout = Layout(version)
    entries = tuple(plan_entries(plan, encodings, signed_activations=signed_activations))
    if layout.sections:
        file = EncodingsFile(layout=layout, version=version, entries=entries, quantizer_args=_quantizer_args(plan))
        return document(file)
    found = {entry.name: entry for entry in entries if entry.dtype not in ("float", "bfloat")}
    if constant is not None:
        found |= biases(plan, found, constant)
    found |= derived(plan.graph, found)
    return document(EncodingsFile(layout=layout, version=version, entries=tuple(found.values())))


def plan_entries(plan: Plan, encodings: Mapping[str, Encoding], *, signed_activations: bool = False) -> Iterator[Entry]:
    """Yield the entry of each quantized tensor, in graph order."""
    for t in plan.enabled():
        encoding = encodings.get(t.tensor)
        if encoding is not None:
            yield entry_of(t.tensor, t.kind, encoding, signed_activations=signed_activations)
        elif t.spec.type is not Numeric.INT:
            yield Entry(name=t.tensor, section=_section(t.kind), dtype="float", bits=t.spec.bits or 32)


def entry_of(tensor: str, kind: Kind, e: Encoding, *, signed_activations: bool = False) -> Entry:
    """Return an encoding as an entry.

    AIMET stores params as signed integers where they are symmetric, whatever their values; activations all alike.
    """
    section = _section(kind)
    return Entry(
        name=tensor,
        section=section,
        bits=e.bits,
        scale=tuple(e.scale.tolist()),
        offset=tuple(float(e.qmin - zero) for zero in e.zero_point.tolist()),
        signed=e.symmetric if section is Section.PARAM else signed_activations,
        symmetric=e.symmetric,
        narrow=e.qmax - e.qmin < 2**e.bits - 1,
        granularity=Granularity.TENSOR if e.axis is None else Granularity.CHANNEL,
        axis=e.axis,
    )


def _section(kind: Kind) -> Section:
    return Section.PARAM if kind is Kind.PARAM else Section.ACTIVATION


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
