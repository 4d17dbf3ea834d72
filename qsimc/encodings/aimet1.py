"""AIMET's encodings, version 1.0.0: one record per tensor with lists of scales and offsets.

Source: files exported by AIMET 2.42.0.  Blockwise scales stand channel by channel.
"""

from __future__ import annotations

from typing import Any

from qsimc.encodings.entry import Blocks, Entry, Granularity, Path, Section
from qsimc.encodings.values import MalformedError, flag, numbers, record, required, text, unknown, whole, wholes

_KNOWN = frozenset(
    {"name", "bw", "dtype", "enc_type", "is_sym", "scale", "offset"}
    | {"block_size", "compressed_bw", "per_block_int_scale"}
)
_DTYPES = {"INT": "int", "FLOAT": "float", "BFLOAT": "bfloat"}
_PER_BLOCK, _LPBQ = "PER_BLOCK", "LPBQ"
_GRANULARITIES = {
    "PER_TENSOR": Granularity.TENSOR,
    "PER_CHANNEL": Granularity.CHANNEL,
    _PER_BLOCK: Granularity.BLOCK,
    _LPBQ: Granularity.BLOCK,
}


def read_entry(value: object, section: Section, where: Path) -> Entry:
    """Return the entry of one record.

    Raises:
        MalformedError: it is no encoding.
    """
    fields = record(value, where)
    name = text(required(fields, "name", where), (*where, "name"))
    dtype = _word(fields, "dtype", _DTYPES, where)
    kind = str(fields.get("enc_type", "PER_TENSOR")).upper()
    granularity = _word({"enc_type": kind}, "enc_type", _GRANULARITIES, where)
    bits = whole(required(fields, "bw", where), (*where, "bw"), 1, 64)
    extra = unknown(fields, _KNOWN)
    if dtype != "int":
        return Entry(name=name, section=section, dtype=dtype, bits=bits, extra=extra, where=where)
    scale = numbers(required(fields, "scale", where), (*where, "scale"))
    offset = numbers(required(fields, "offset", where), (*where, "offset"))
    blocks = None
    if granularity is Granularity.BLOCK:
        blocks = Blocks(size=whole(required(fields, "block_size", where), (*where, "block_size"), 1, 2**31))
    if kind == _LPBQ:
        steps = numbers(required(fields, "per_block_int_scale", where), (*where, "per_block_int_scale"))
        whole_steps = wholes(steps, (*where, "per_block_int_scale"), 1, 2**31)
        narrow_bits = whole(required(fields, "compressed_bw", where), (*where, "compressed_bw"), 1, 64)
        # The file counts offsets on the wide grid; the integers are stored on the narrow one.
        offset = tuple(o + 2 ** (bits - 1) - 2 ** (narrow_bits - 1) for o in offset)
        assert blocks is not None, "LPBQ without blocks"
        blocks = Blocks(size=blocks.size, channels=len(scale), steps=whole_steps, wide_bits=bits)
        bits = narrow_bits
    symmetric = flag(fields["is_sym"], (*where, "is_sym")) if "is_sym" in fields else None
    strict = blocks is None and all(o == -(2 ** (bits - 1)) + 1 for o in offset)
    return Entry(
        name=name,
        section=section,
        bits=bits,
        scale=scale,
        offset=offset,
        symmetric=symmetric,
        narrow=bool(symmetric) and strict,
        granularity=granularity,
        blocks=blocks,
        extra=extra,
        where=where,
    )


def _word(fields: Any, key: str, words: dict[str, Any], where: Path) -> Any:
    word = fields.get(key, next(iter(words)))
    found = words.get(word.upper()) if isinstance(word, str) else None
    if found is None:
        raise MalformedError(f"`{str(word)[:40]}` is no `{key}`; there are {', '.join(words)}", (*where, key))
    return found


def write_entry(entry: Entry) -> dict[str, Any]:
    """Return the record of an entry."""
    if entry.dtype != "int":
        dtype = {word: key for key, word in _DTYPES.items()}[entry.dtype]
        return {"name": entry.name, "bw": entry.bits, "dtype": dtype, "enc_type": "PER_TENSOR", **entry.extra}
    found: dict[str, Any] = {
        "name": entry.name,
        "bw": entry.bits,
        "dtype": "INT",
        "enc_type": f"PER_{entry.granularity.upper()}",
        "is_sym": bool(entry.symmetric),
        "offset": list(entry.offset),
        "scale": list(entry.scale),
    }
    if entry.blocks is not None:
        found["block_size"] = entry.blocks.size
    if entry.blocks is not None and entry.blocks.steps:
        wide = entry.blocks.wide_bits or 2 * entry.bits
        found |= {
            "enc_type": _LPBQ,
            "bw": wide,
            "compressed_bw": entry.bits,
            "per_block_int_scale": list(entry.blocks.steps),
            "offset": [offset + 2 ** (entry.bits - 1) - 2 ** (wide - 1) for offset in entry.offset],
        }
    return found | dict(entry.extra)
