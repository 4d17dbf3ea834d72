"""AIMET's encodings, version 0.6.1: a list of records per tensor, one per channel.

SNPE's and QNN's quantization overrides have this form too, and versions from 0.4 on; those may leave out
everything but the range.  `_torch.encodings` has the same records, filed by module and port.
Source: files exported by AIMET 2.42.0; samples of QNN overrides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from qsimc.encodings.entry import Entry, Granularity, Path, Section
from qsimc.encodings.values import MalformedError, flag, number, record, required, unknown, whole

_KNOWN = frozenset({"bitwidth", "dtype", "is_symmetric", "min", "max", "offset", "scale"})
_DTYPES = {"int": "int", "float": "float", "bfloat": "bfloat"}


def read_entry(name: str, value: object, section: Section, where: Path, port: str = "") -> Entry:
    """Return the entry of one tensor: a list of records, or one record.

    Raises:
        MalformedError: it is no encoding.
    """
    items = value if isinstance(value, list) else [value]
    if not items:
        raise MalformedError("the list of encodings is empty", where)
    places = [(*where, i) for i in range(len(items))] if isinstance(value, list) else [where]
    records = [record(item, place) for item, place in zip(items, places, strict=True)]
    first, at = records[0], places[0]
    bits = whole(required(first, "bitwidth", at), (*at, "bitwidth"), 1, 64)
    dtype = _DTYPES.get(str(first.get("dtype", "int")).casefold())
    if dtype is None:
        raise MalformedError(f"no type is called `{str(first['dtype'])[:40]}`", (*at, "dtype"))
    common = {"bitwidth", "dtype", "is_symmetric"}
    for other, place in zip(records, places, strict=True):
        for key in sorted(common):
            if other.get(key) != first.get(key):
                raise MalformedError(f"the channels differ in `{key}`", (*place, key))
    granularity = Granularity.TENSOR if len(records) == 1 else Granularity.CHANNEL
    extras = tuple(unknown(fields, _KNOWN) for fields in records)
    alike = all(extra == extras[0] for extra in extras)
    base = Entry(
        name=name,
        section=section,
        port=port,
        dtype=dtype,
        bits=bits,
        granularity=granularity,
        extra=extras[0] if alike else {key: value for extra in extras for key, value in extra.items()},
        channel_extra=() if alike else extras,
        where=where,
    )
    return base if dtype != "int" else _with_numbers(base, records, places)


def _with_numbers(base: Entry, records: list[Mapping[str, Any]], places: list[Path]) -> Entry:
    rows = [_numbers(fields, place, base.bits) for fields, place in zip(records, places, strict=True)]
    scale, offset, low, high = (tuple(column) for column in zip(*rows, strict=True))
    first = records[0]
    symmetric = flag(first["is_symmetric"], (*places[0], "is_symmetric")) if "is_symmetric" in first else None
    stated = "min" in first and "max" in first
    return replace(
        base,
        scale=scale,
        offset=offset,
        symmetric=symmetric,
        narrow=bool(symmetric) and all(o == base.middle + 1 for o in offset),
        low=low if stated else (),
        high=high if stated else (),
    )


def _numbers(fields: Mapping[str, Any], where: Path, bits: int) -> tuple[float, float, float, float]:
    """Return scale, offset, low and high of one record; where only the range is said, the rest follows from it."""
    values = {key: number(fields[key], (*where, key)) for key in ("scale", "offset", "min", "max") if key in fields}
    low, high = values.get("min", 0.0), values.get("max", 0.0)
    if "scale" not in values and "min" in values and "max" in values:
        scale = (high - low) / (2**bits - 1)
        offset = float(round(low / scale)) if 0 < scale < float("inf") else 0.0
        return scale, values.get("offset", offset), low, high
    scale = number(required(fields, "scale", where), (*where, "scale"))
    return scale, number(required(fields, "offset", where), (*where, "offset")), low, high


def write_entry(entry: Entry) -> list[dict[str, Any]]:
    """Return one record per channel.

    A range nobody stated spans all 2^bits integers, of a strict symmetric grid too, as AIMET writes it: that
    way a reader that goes by the range alone finds the same scale.
    """
    if entry.dtype != "int":
        return [{"bitwidth": entry.bits, "dtype": entry.dtype, **entry.extra}]
    return [
        {
            "bitwidth": entry.bits,
            "dtype": "int",
            "is_symmetric": str(bool(entry.symmetric)),
            "max": high,
            "min": low,
            "offset": int(offset) if float(offset).is_integer() else offset,
            "scale": scale,
            **(entry.channel_extra[channel] if entry.channel_extra else entry.extra),
        }
        for channel, (scale, offset, low, high) in enumerate(_rows(entry))
    ]


def _rows(entry: Entry) -> Iterator[tuple[float, float, float, float]]:
    for i, (scale, offset) in enumerate(zip(entry.scale, entry.offset, strict=True)):
        low = entry.low[i] if entry.low else scale * offset
        high = entry.high[i] if entry.high else scale * (offset + (1 << entry.bits) - 1)
        yield scale, offset, low, high
