"""AIMET's encodings, versions 2.0.0 and 2.1.0: ONNX's words, one list for params and activations.

y = (q - y_zero_point) * y_scale, with q of the type `output_dtype`.  Blockwise scales are nested like the tensor.
The versions differ in LPBQ only: 2.0.0 has two fields for its scales, 2.1.0 makes `y_scale` a quantized value itself.
Source: files exported by AIMET 2.42.0; the layout of LPBQ in 2.1.0 after AIMET's own conversion from 2.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qsimc.encodings.blocks import by_channel, channel_axis, nest
from qsimc.encodings.entry import Blocks, Entry, Granularity, Layout, Path
from qsimc.encodings.values import MalformedError, nested, record, required, text, unknown, whole

_KNOWN = frozenset(
    {"name", "output_dtype", "y_scale", "y_zero_point", "axis", "block_size"}
    | {"per_block_int_scale", "per_channel_float_scale"}
)
_META = frozenset({"x", "x_scale", "axis"})
_INTEGER = re.compile(r"(u?)int(\d{1,2})", re.A)
_FLOAT = re.compile(r"(b?)float(\d{1,2})(\w*)", re.A)


def read_entry(value: object, where: Path) -> Entry:
    """Return the entry of one record of either version.

    Raises:
        MalformedError: it is no encoding.
    """
    fields = record(value, where)
    name = text(required(fields, "name", where), (*where, "name"))
    dtype, bits, signed = _type(text(required(fields, "output_dtype", where), (*where, "output_dtype")), where)
    extra = unknown(fields, _KNOWN)
    if dtype in ("float", "bfloat"):
        return Entry(name=name, dtype=dtype, bits=bits, extra=extra, where=where)
    axis = whole(fields["axis"], (*where, "axis"), -64, 63) if "axis" in fields else None
    if "per_block_int_scale" in fields or isinstance(fields.get("y_scale"), dict):
        return _lpbq(fields, name, bits, axis, extra, where)
    shape, scale = nested(required(fields, "y_scale", where), (*where, "y_scale"))
    zero_shape, zero = (
        nested(fields["y_zero_point"], (*where, "y_zero_point")) if "y_zero_point" in fields else ((), ())
    )
    if zero and zero_shape != shape:
        raise MalformedError("`y_zero_point` is not shaped like `y_scale`", (*where, "y_zero_point"))
    offset = tuple(_offset(z, bits, signed) for z in zero) if zero else (_offset(0.0, bits, signed),) * len(scale)
    if "block_size" not in fields:
        if len(shape) > 1:
            raise MalformedError("`y_scale` is nested, but there is no `block_size`", (*where, "y_scale"))
        return Entry(
            name=name,
            dtype=dtype,
            bits=bits,
            scale=scale,
            offset=offset,
            signed=signed,
            granularity=Granularity.CHANNEL if shape else Granularity.TENSOR,
            axis=axis,
            extra=extra,
            where=where,
        )
    size = whole(fields["block_size"], (*where, "block_size"), 1, 2**31)
    block, channel = _axes(shape, axis, where)
    return Entry(
        name=name,
        dtype=dtype,
        bits=bits,
        scale=by_channel(scale, shape, channel, block),
        offset=by_channel(offset, shape, channel, block),
        signed=signed,
        granularity=Granularity.BLOCK,
        axis=channel,
        blocks=Blocks(size=size, axis=block, rank=len(shape), channels=shape[channel]),
        extra=extra,
        where=where,
    )


def _type(word: str, where: Path) -> tuple[str, int, bool | None]:
    """Return the dtype, the width and the signedness that an ONNX type's name says."""
    if (match := _INTEGER.fullmatch(word)) and 1 <= int(match[2]) <= 64:
        return "int", int(match[2]), not match[1]
    if (match := _FLOAT.fullmatch(word)) and 1 <= int(match[2]) <= 64:
        return (f"{match[1]}float" if not match[3] else word), int(match[2]), None
    raise MalformedError(f"`{word[:40]}` is no type", (*where, "output_dtype"))


def _offset(zero_point: float, bits: int, signed: bool | None) -> float:
    # 0.0 rather than -0.0
    return 0.0 - zero_point - (2.0 ** (bits - 1) if signed else 0.0)


def _axes(shape: tuple[int, ...], axis: int | None, where: Path) -> tuple[int, int]:
    """Return the axes of the blocks and of the channels."""
    if axis is None or not -len(shape) <= axis < len(shape):
        raise MalformedError("blocks need the `axis` that they cut, one of those of their scales", where)
    block = axis % len(shape)
    channel = channel_axis(shape, block)
    if channel is None:
        raise MalformedError("blocks stand beside one axis of channels, here there are several", where)
    return block, channel


def _lpbq(
    fields: Mapping[str, Any], name: str, bits: int, axis: int | None, extra: Mapping[str, Any], where: Path
) -> Entry:
    scale_of = fields.get("y_scale")
    meta = isinstance(scale_of, dict)
    at = (*where, "y_scale") if meta else where
    keys = ("x", "x_scale") if meta else ("per_block_int_scale", "per_channel_float_scale")
    values = record(scale_of, at) if meta else fields
    if meta and (others := sorted(unknown(values, _META))):
        raise MalformedError(f"`{others[0][:40]}` of a quantized scale is not understood", (*at, others[0]))
    shape, ints = nested(required(values, keys[0], at), (*at, keys[0]))
    _, scale = nested(required(values, keys[1], at), (*at, keys[1]))
    block, channel = _axes(shape, axis, where)
    steps = tuple(whole(k, (*at, keys[0]), 1, 2**31) for k in by_channel(ints, shape, channel, block))
    size = whole(required(fields, "block_size", where), (*where, "block_size"), 1, 2**31)
    return Entry(
        name=name,
        bits=bits,
        scale=scale,
        offset=(_offset(0.0, bits, signed=True),) * len(scale),
        signed=True,
        symmetric=True,
        granularity=Granularity.BLOCK,
        axis=channel,
        # Neither version says the wide width; AIMET decompresses to twice the bits.
        blocks=Blocks(size=size, axis=block, rank=len(shape), channels=shape[channel], steps=steps, wide_bits=2 * bits),
        extra=extra,
        where=where,
    )


def write_entry(entry: Entry, layout: Layout) -> dict[str, Any]:
    """Return the record of an entry whose axes and signedness are known."""
    named = {"name": entry.name, "output_dtype": type_name(entry)}
    if entry.dtype in ("float", "bfloat"):
        return named | dict(entry.extra)
    if entry.blocks is None:
        zero = tuple(_zero_point(entry, o) for o in entry.offset)
        several = entry.granularity is Granularity.CHANNEL
        found = named | {"y_scale": list(entry.scale) if several else entry.scale[0]}
        if any(zero):
            found["y_zero_point"] = list(zero) if several else zero[0]
        axis = {"axis": entry.axis} if entry.axis is not None and several else {}
        return found | axis | dict(entry.extra)
    return named | _block_fields(entry, layout) | dict(entry.extra)


def type_name(entry: Entry) -> str:
    """Return ONNX's name of the type that holds an entry's integers."""
    if entry.dtype == "int":
        return f"{'' if entry.signed else 'u'}int{entry.bits}"
    return f"{entry.dtype}{entry.bits}" if entry.dtype in ("float", "bfloat") else entry.dtype


def _zero_point(entry: Entry, offset: float) -> int | float:
    zero = -offset - (2 ** (entry.bits - 1) if entry.signed else 0) if entry.dtype == "int" else -offset
    return int(zero) if float(zero).is_integer() else zero


def _block_fields(entry: Entry, layout: Layout) -> dict[str, Any]:
    blocks = entry.blocks
    assert blocks is not None, "a blockwise entry without blocks"
    channel, block, rank = entry.axis, blocks.axis, blocks.rank
    assert channel is not None, "blocks without an axis of channels"
    assert block is not None, "blocks without an axis"
    assert rank is not None, "blocks without a rank"
    found: dict[str, Any] = {"axis": block, "block_size": blocks.size}
    if blocks.steps:
        steps = nest(blocks.steps, len(entry.scale), channel, block, rank)
        if layout is Layout.V2_1_0:
            return found | {"y_scale": {"x": steps, "x_scale": list(entry.scale), "axis": channel}}
        scale = nest(entry.scale, len(entry.scale), channel, block, rank)
        return found | {"per_block_int_scale": steps, "per_channel_float_scale": scale}
    channels = blocks.channels
    assert channels is not None, "blocks without a number of channels"
    found["y_scale"] = nest(entry.scale, channels, channel, block, rank)
    zero = [_zero_point(entry, o) for o in entry.offset]
    return found | ({"y_zero_point": nest(zero, channels, channel, block, rank)} if any(zero) else {})
