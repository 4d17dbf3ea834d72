"""What vai_q_pytorch 3.5 says of a configuration while it reads it, in its own order.

The program stops at its first complaint.  Here it goes on as if nothing had happened, so that every mistake can be
shown beside the program's words, and the first of all is known.
Source: nndct_shared/quantization/quant_config.py, QConfigBase.parse_config_file and what it calls, before
_qconfig_handle_conflict, whose part specs/targets plays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qsimc.spec import keymap
from qsimc.spec.keymap import Place
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, plain

CONFIG_ID = "QUANTIZER_TORCH_QUANT_CONFIG"
WIDTH_ID = "QUANTIZER_TORCH_ILLEGAL_BITWIDTH"
KINDS = ("input", "weights", "bias", "activation")
"""Tensors in the order in which the program goes through them."""

_WORDS = ("method", "datatype", "round_mode", "scale_type")
_FLAGS = ("symmetry", "per_channel", "signed", "narrow_range")
_STATISTIC = "calib_statistic_method"


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the program prints about the value at a JSON pointer: a message with its id, or a Python exception."""

    pointer: str
    id: str
    text: str


def complaints(document: Json) -> Iterator[Complaint]:
    """Yield what the program would say, in the order in which it would come to it."""
    if not isinstance(document, Object):
        yield _no_items("", document)
        return
    yield from _keywords(keymap.load("vitis").root, document, "")
    top = _members(document)
    if "target_device" not in top:
        yield Complaint("", "KeyError", "'target_device'")
    methods = dict.fromkeys(KINDS, "diffs")
    yield from _blocks(top, "", KINDS, methods)
    entries = top.get("layer_quantize_config")
    if entries is not None and isinstance(entries.value, Array):
        for index, entry in enumerate(entries.value.items):
            if isinstance(entry, Object):
                yield from _entry(_members(entry), f"/layer_quantize_config/{index}", methods)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────


def _keywords(place: Place, value: Json, pointer: str) -> Iterator[Complaint]:
    """Yield complaints about keys and about what is no object, depth first; values are not looked at yet."""
    if place.items is not None:
        yield from _entries(place.items, value, pointer)
        return
    if not isinstance(value, Object):
        yield _no_items(pointer, value)
        return
    for key, member in _members(value).items():
        at = f"{pointer}/{_escaped(key)}"
        below = place.literal.get(key)
        if below is None:
            ending = " " if place.path == "" else ""
            yield Complaint(at, CONFIG_ID, f"Unsupported keyword in quantization config: '{key}'.{ending}")
        elif below.row is None:
            yield from _keywords(below, member.value, at)


def _entries(place: Place, value: Json, pointer: str) -> Iterator[Complaint]:
    match value:
        case Array(items):
            for index, item in enumerate(items):
                yield from _keywords(place, item, f"{pointer}/{index}")
        case Scalar(str() as text) if text:
            yield Complaint(pointer, "AttributeError", "'str' object has no attribute 'items'")
        case Object(members) if members:
            yield Complaint(pointer, "AttributeError", "'str' object has no attribute 'items'")
        case Scalar(said) if not isinstance(said, str):
            yield Complaint(pointer, "TypeError", f"'{type(said).__name__}' object is not iterable")


# ── values ───────────────────────────────────────────────────────────────────────────────────


def _entry(entry: Mapping[str, Member], pointer: str, general: Mapping[str, str]) -> Iterator[Complaint]:
    """Yield complaints about one entry of `layer_quantize_config`; one that names nothing is not looked at."""
    op_type, node_name = _value(entry, "layer_type"), _value(entry, "layer_name")
    if not op_type and not node_name:
        return
    if op_type and not isinstance(op_type, str):
        missing = f"'{type(op_type).__name__}' object has no attribute 'split'"
        yield Complaint(f"{pointer}/layer_type", "AttributeError", missing)
    kinds: list[str] = []
    yield from _kinds(entry, pointer, kinds)
    methods = {kind: general[kind] for kind in kinds}
    yield from _blocks(entry, pointer, tuple(kinds), methods)
    if not op_type and isinstance(node_name, (list, dict)):
        yield Complaint(f"{pointer}/layer_name", "TypeError", f"unhashable type: '{type(node_name).__name__}'")


def _kinds(entry: Mapping[str, Member], pointer: str, found: list[str]) -> Iterator[Complaint]:
    """Read an entry's `quantizable_data_type` into `found`."""
    said = _value(entry, "quantizable_data_type")
    at = f"{pointer}/quantizable_data_type" if "quantizable_data_type" in entry else pointer
    if not isinstance(said, (list, str, dict)):
        yield Complaint(at, "TypeError", f"'{type(said).__name__}' object is not iterable")
        return
    for index, kind in enumerate(said):
        where = f"{at}/{index}" if isinstance(said, list) else at
        if isinstance(kind, (list, dict)):
            yield Complaint(where, "TypeError", f"unhashable type: '{type(kind).__name__}'")
        elif kind in KINDS:
            found.append(kind)
        else:
            yield Complaint(where, "KeyError", repr(kind))


def _blocks(
    section: Mapping[str, Member], pointer: str, kinds: tuple[str, ...], methods: dict[str, str]
) -> Iterator[Complaint]:
    """Yield complaints about the overall block, once for each of `kinds`, and then about the tensors' blocks."""
    overall = section.get("overall_quantize_config")
    if overall is not None and isinstance(overall.value, Object) and overall.value.members:
        for kind in kinds:
            yield from _block(kind, overall.value, f"{pointer}/overall_quantize_config", methods)
    tensors = section.get("tensor_quantize_config")
    if tensors is not None and isinstance(tensors.value, Object):
        for kind, member in _members(tensors.value).items():
            if kind in KINDS and isinstance(member.value, Object):
                yield from _block(kind, member.value, f"{pointer}/tensor_quantize_config/{kind}", methods)


def _block(kind: str, block: Object, pointer: str, methods: dict[str, str]) -> Iterator[Complaint]:
    """Yield complaints about one block as it is read for one tensor; `methods` follows the method in force."""
    said = {key: plain(member.value) for key, member in _members(block).items()}
    width = said.get("bit_width")
    if width and not (isinstance(width, int) and 0 <= width <= 32):
        text = f"The bit_width type of {kind} should be int, and in range of [0,32]."
        yield Complaint(f"{pointer}/bit_width", WIDTH_ID, text)
    for key in _WORDS:
        yield from _word(kind, key, said.get(key), pointer)
    for key in _FLAGS:
        if said.get(key) is not None and not isinstance(said[key], bool):
            yield Complaint(f"{pointer}/{key}", CONFIG_ID, f"The {key} parameter of {kind} should be a boolean")
    if kind in ("activation", "input"):
        yield from _word(kind, _STATISTIC, said.get(_STATISTIC), pointer)
    method = said.get("method")
    if isinstance(method, str) and method in _legal("method"):
        methods[kind] = method
    share = said.get("percentage")
    # As the program says it: what is not a number (NaN) compares as if it were in the range.
    wrong = not isinstance(share, float) or share <= 0.0 or share > 100.0
    if methods.get(kind) == "percentile" and share is not None and wrong:
        text = "Percentage should be larger than 0.0 and smaller than 100.0"
        yield Complaint(f"{pointer}/percentage", CONFIG_ID, text)


def _word(kind: str, key: str, said: object, pointer: str) -> Iterator[Complaint]:
    if said and said not in _legal(key):
        yield Complaint(f"{pointer}/{key}", CONFIG_ID, f"The {key} of {kind} should be in the list {_legal(key)}")


def _legal(key: str) -> list[str]:
    return list(keymap.load("vitis").words[key])


# ── JSON as Python sees it ───────────────────────────────────────────────────────────────────


def _members(value: Object) -> Mapping[str, Member]:
    """Return members by key: of equal keys the last one, at the place of the first."""
    return {member.key: member for member in value.members}


def _value(members: Mapping[str, Member], key: str) -> object:
    return plain(members[key].value) if key in members else None


def _no_items(pointer: str, value: Json) -> Complaint:
    return Complaint(pointer, "AttributeError", f"'{type(plain(value)).__name__}' object has no attribute 'items'")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
