"""What ONNX Runtime's quantizer would say of each override of a tensor; its own check stops after the first one.

Source: tensor_quant_overrides.py of onnxruntime 1.31.1, and what numpy makes of the values afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.formats.foreign._ort.values import taken
from qsimc.formats.foreign._ort.words import OrtType, ort_words
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.loss import LossKind
from qsimc.ir.value import Value
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Object

_PINNED = ("scale", "zero_point")
_FREE = ("symmetric", "reduce_range", "rmin", "rmax")
_COMMON = ("quant_type", "axis", "symmetric", "reduce_range")
"""What the channels of a weight must agree in."""


def look_like_overrides(document: Json) -> bool:
    """Say whether a document is overrides alone: tensors with lists of records that speak of nothing else."""
    if not isinstance(document, Object) or not document.members:
        return False
    known = ort_words().override
    records = [item for m in document.members if isinstance(m.value, Array) for item in m.value.items]
    keys = [inner.key for item in records if isinstance(item, Object) for inner in item.members]
    lists = all(isinstance(m.value, Array) for m in document.members)
    return lists and all(isinstance(item, Object) for item in records) and bool(keys) and all(k in known for k in keys)


def check_overrides(value: Object, pointer: str, findings: Findings) -> tuple[str, ...]:
    """Report what is wrong with overrides; return the tensors they say something of."""
    for name, member in members(value).items():
        at = below(pointer, name)
        if not isinstance(member.value, Array):
            findings.wrong(member.value, f"the override of `{name}`", "a list of objects", at)
            continue
        records = [_record(item, name, below(at, i), findings) for i, item in enumerate(member.value.items)]
        if records and (len(records) > 1 or "axis" in records[0]):
            _channels(records, name, member.value, at, findings)
    return tuple(name for name, member in members(value).items() if _speaks(member.value))


def _speaks(value: Json) -> bool:
    return isinstance(value, Array) and any(isinstance(item, Object) and item.members for item in value.items)


def _record(item: Json, name: str, pointer: str, findings: Findings, *, inner: bool = False) -> Mapping[str, Value]:
    """Return what one object says, with null for what cannot be read."""
    if not isinstance(item, Object):
        findings.wrong(item, f"an override of `{name}`", "an object", pointer)
        return {}
    known = {key: kind for key, kind in ort_words().override.items() if not (inner and key in ("axis", "convert"))}
    if inner:
        known["recv_nodes"] = "names"
    found: dict[str, Value] = {}
    for key, member in members(item).items():
        at = below(pointer, key)
        if key == "convert" and "convert" in known:
            found[key] = tuple(_converted(member.value, name, at, findings).items())
        elif key in known:
            found[key] = taken(known[key], member.value, f"`{key}`", at, findings)
        else:
            findings.unknown(member, known, f"an override of `{name}`", at, refused=False)
    _pair(found, "scale", "zero_point", name, item.span, pointer, findings)
    if "scale" in found and (free := [key for key in _FREE if key in found]):
        listed = " and ".join(f"`{key}`" for key in free)
        findings.bad(f"`{name}` has a scale, with which {listed} cannot stand", item.span, pointer)
    _numbers(found, name, item.span, pointer, findings)
    convert = dict(_pairs(found.get("convert")))
    if "quant_type" in convert and convert["quant_type"] == found.get("quant_type"):
        findings.bad(f"`{name}` is converted to the type that it has", item.span, pointer)
    return found


def _converted(value: Json, name: str, pointer: str, findings: Findings) -> Mapping[str, Value]:
    found = _record(value, name, pointer, findings, inner=True)
    if isinstance(value, Object) and "quant_type" not in found:
        findings.bad(f"`convert` of `{name}` does not say a `quant_type`", value.span, pointer)
    if "reduce_range" in found:
        findings.bad(f"`convert` of `{name}` cannot say `reduce_range`: it is for weights", value.span, pointer)
    return found


def _pairs(value: Value) -> list[tuple[str, Value]]:
    return [(str(pair[0]), pair[1]) for pair in value if isinstance(pair, tuple)] if isinstance(value, tuple) else []


def _pair(
    found: Mapping[str, Value], one: str, other: str, name: str, span: Span, pointer: str, findings: Findings
) -> None:
    if (one in found) != (other in found):
        here, missing = (one, other) if one in found else (other, one)
        findings.bad(f"`{name}` says `{here}` without `{missing}`", span, pointer, "say both, or neither")


def _numbers(found: Mapping[str, Value], name: str, span: Span, pointer: str, findings: Findings) -> None:
    """Report numbers that no grid has."""
    scale, zero, low, high = (found.get(key) for key in (*_PINNED, "rmin", "rmax"))
    if isinstance(scale, float) and scale <= 0:
        findings.bad(f"the scale of `{name}` is not positive", span, pointer)
    if isinstance(low, float) and isinstance(high, float) and low > high:
        findings.bad(f"`rmin` of `{name}` is above its `rmax`", span, pointer)
    type_ = ort_words().types.get(str(found.get("quant_type")))
    if isinstance(zero, int) and type_ is not None and not type_.float and not _holds(type_, zero):
        findings.bad(f"{found['quant_type']} has no zero point {zero}, which `{name}` has", span, pointer)


def _holds(type_: OrtType, number: int) -> bool:
    bottom = -(1 << type_.bits - 1) if type_.signed else 0
    return bottom <= number < bottom + (1 << type_.bits)


def _channels(records: list[Mapping[str, Value]], name: str, value: Array, pointer: str, findings: Findings) -> None:
    """Report where the channels of a weight disagree."""
    first = records[0]
    if "axis" not in first:
        findings.bad(f"the first channel of `{name}` does not say the `axis`", value.items[0].span, below(pointer, 0))
    for index, (record, item) in enumerate(zip(records, value.items, strict=True)):
        at = below(pointer, index)
        if "convert" in record:
            findings.bad(f"`{name}` is a weight, which cannot `convert`", item.span, at)
        _pair(record, "rmin", "rmax", name, item.span, at, findings)
        if other := [key for key in _COMMON if key in record and record[key] != first.get(key)]:
            listed = " and ".join(f"`{key}`" for key in other)
            findings.bad(f"channel {index} of `{name}` says another {listed} than the first", item.span, at)
        for key in ("scale", "rmin"):
            if key in first and key not in record:
                findings.bad(f"channel {index} of `{name}` has no `{key}`, which the first has", item.span, at)


def lose_overrides(names: tuple[str, ...], span: Span, pointer: str, findings: Findings) -> None:
    """Report overrides as what the vocabulary cannot say: it speaks of nodes, and a file does not know the model."""
    if names:
        findings.lost(
            LossKind.SELECTOR,
            f"rules speak of nodes, and an override of a tensor: {_listed(names)} {'is' if len(names) == 1 else 'are'} "
            "dropped",
            span,
            pointer,
        )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
