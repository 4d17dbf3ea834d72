"""qsimc's own record of what calibration found, encodings.json, as an encodings file among others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qsimc.encodings.entry import Entry, Granularity, Path
from qsimc.encodings.values import MalformedError, flag, numbers, record, required, unknown, whole

FORMAT_VERSION = "1.0"

_KNOWN = frozenset({"bits", "signed", "symmetric", "scale", "zero_point", "qmin", "qmax", "min", "max", "axis"})
_WIDEST = 2**62


def read_entry(name: str, value: object, where: Path) -> Entry:
    """Return one encoding as an entry of an encodings file.

    Raises:
        MalformedError: it is no encoding.
    """
    fields = record(value, where)
    bits = whole(required(fields, "bits", where), (*where, "bits"), 1, 62)
    scale = numbers(required(fields, "scale", where), (*where, "scale"))
    zero = numbers(required(fields, "zero_point", where), (*where, "zero_point"))
    qmin, qmax = (whole(required(fields, key, where), (*where, key), -_WIDEST, _WIDEST) for key in ("qmin", "qmax"))
    if qmax - qmin not in (2**bits - 1, 2**bits - 2):
        raise MalformedError(f"{qmin} to {qmax} is no grid of {bits} bits", (*where, "qmin"))
    axis = fields.get("axis")
    entry = Entry(
        name=name,
        bits=bits,
        scale=scale,
        # 0.0 rather than -0.0
        offset=tuple(0.0 + qmin - z for z in zero),
        signed=qmin < 0,
        symmetric=flag(required(fields, "symmetric", where), (*where, "symmetric")),
        narrow=qmax - qmin == 2**bits - 2,
        granularity=Granularity.TENSOR if axis is None else Granularity.CHANNEL,
        axis=None if axis is None else whole(axis, (*where, "axis"), -64, 63),
        extra=unknown(fields, _KNOWN),
        where=where,
    )
    if "min" not in fields or "max" not in fields:
        return entry
    return replace(entry, low=numbers(fields["min"], (*where, "min")), high=numbers(fields["max"], (*where, "max")))


def write_entry(entry: Entry) -> dict[str, Any]:
    """Return the record of an integer entry without blocks; a grid nobody called signed is unsigned."""
    qmin = (entry.middle + (1 if entry.narrow else 0)) if entry.signed else 0
    return {
        "bits": entry.bits,
        "signed": bool(entry.signed),
        "symmetric": bool(entry.symmetric),
        "scale": list(entry.scale),
        "zero_point": [int(qmin - offset) for offset in entry.offset],
        "qmin": qmin,
        "qmax": qmin + entry.steps,
        "min": [scale * offset for scale, offset in zip(entry.scale, entry.offset, strict=True)],
        "max": [scale * (offset + entry.steps) for scale, offset in zip(entry.scale, entry.offset, strict=True)],
        "axis": entry.axis,
        **entry.extra,
    }
