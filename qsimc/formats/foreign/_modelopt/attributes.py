"""Attributes of a quantizer in ModelOpt, out of the settings of a tensor; what they cannot say is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from qsimc.formats.foreign._shared import lost
from qsimc.ir.config import Setting, show_setting
from qsimc.ir.loss import Lose, Loss, LossKind

Attributes: TypeAlias = dict[str, object]
Tensor = Mapping[str, Setting]

_FLOATS = {"float8_e4m3": "e4m3", "float8_e5m2": "e5m2", "float4_e2m1": "e2m1"}
_WIDE = ("float", "bfloat", "float16", "float32", "bfloat16")


def attributes(role: str, said: Tensor, axis: int, lose: Lose) -> Attributes | None:
    """Return the attributes of a quantized tensor, None if it stays a float.

    Args:
        axis: that of a weight's output channels.
    """
    kind = said.get("type")
    word = "int" if kind is None else str(kind.value)
    if word in _WIDE:
        assert kind is not None
        lose(lost(kind, f"ModelOpt has integers and floats of up to 8 bits: `type={word}` leaves the {role} alone"))
        return None
    for setting in said.values():
        if (message := _unsayable(role, setting, said)) is not None:
            lose(lost(setting, message))
    return {
        "num_bits": _width(word, said, lose),
        **_grid(role, word, said),
        **_granularity(role, said, axis, lose),
        **_range(role, said, lose),
    }


def _unsayable(role: str, setting: Setting, said: Tensor) -> str | None:
    """Return why a setting cannot be said, None if it can or is what ModelOpt does anyway."""
    value, shown = setting.value, show_setting(setting.field, setting.value)
    match setting.field:
        case "symmetric" if value is False:
            return f"ModelOpt's integers are symmetric: `{shown}` becomes `symmetric`"
        case "unsigned_symmetric" if value is True and not _is(said, "symmetric", False):
            return f"ModelOpt does not look whether a tensor is ever negative: `{shown}` is dropped"
        case "signed" if value is False and _is(said, "symmetric", False):
            return None  # of an asymmetric grid, whose loss is another one
        case "signed" if value is False and role == "weight":
            return f"ModelOpt stops at weights below zero: `{shown}` becomes `signed`"
        case "scale" if value == "pow2" or (value == "e8m0" and "per_group" not in said):
            return f"ModelOpt has no such scale: `{shown}` is dropped"
        case "round" if value != "half_even":
            return f"ModelOpt rounds ties to even: `{shown}` is dropped"
        case "reduce" if value != "max":
            return f"ModelOpt takes the largest value of all batches: `{shown}` is dropped"
        case "calib" if value not in ("minmax", "mse") or (value == "mse" and role != "weight"):
            return f"ModelOpt's recipes find ranges of this kind by the largest value: `{shown}` is dropped"
        case "kernels":
            return f"ModelOpt has no list of kernels: `{shown}` is dropped"
        case _:
            return None


def _width(word: str, said: Tensor, lose: Lose) -> int | str:
    bits, grouped = said.get("bits"), "per_group" in said
    needs = {"float8_e5m2": grouped and _is(said, "dynamic", True), "float4_e2m1": grouped}
    if not needs.get(word, True):
        groups = "dynamic groups" if word == "float8_e5m2" else "groups"
        lose(lost(said["type"], f"ModelOpt has `{word}` in {groups} only: it becomes `float8_e4m3`"))
        return "e4m3"
    if word in _FLOATS:
        return _FLOATS[word]
    if bits is None:
        message = "nobody says how many bits a tensor has: ModelOpt's own 8 are written"
        lose(Loss(LossKind.DEFAULTED, message, fields=("bits",)))
        return 8
    return int(str(bits.value))


def _grid(role: str, word: str, said: Tensor) -> Attributes:
    """Return what integers have besides their width."""
    grid: Attributes = {}
    if word == "int" and _is_unsigned(role, said):
        grid["unsigned"] = True
    if word == "int" and _is(said, "narrow_range", True):
        grid["narrow_range"] = True
    return grid


def _granularity(role: str, said: Tensor, axis: int, lose: Lose) -> Attributes:
    group, dynamic = said.get("per_group"), _is(said, "dynamic", True)
    if group is not None:
        integers = "type" not in said or _is(said, "type", "int")
        if dynamic and integers and not _is(said, "scale", "e8m0"):
            dynamic = False
            lose(lost(said["dynamic"], "ModelOpt calibrates groups of integers: `dynamic` becomes `static`"))
        blocks: dict[int | str, object] = {-1: group.value, "type": "dynamic" if dynamic else "static"}
        if _is(said, "scale", "e8m0"):
            blocks["scale_bits"] = "e8m0"
        return {"block_sizes": blocks}
    found: Attributes = {"type": "dynamic"} if dynamic else {}
    if _is(said, "per_channel", True):
        if role != "weight":
            axis = 1
            message = "the channels of an activation are taken to lie along axis 1"
            lose(lost(said["per_channel"], message, LossKind.AXIS))
        found["axis"] = axis
    return found


def _range(role: str, said: Tensor, lose: Lose) -> Attributes:
    """Return a fixed range, which ModelOpt has around zero only."""
    setting = said.get("range")
    if setting is None or not isinstance(setting.value, tuple):
        return {}
    low, high = setting.value
    unsigned = _is_unsigned(role, said)
    if isinstance(high, (int, float)) and high > 0 and low == (0 if unsigned else -high):
        return {"constant_amax": float(high)}
    shown = show_setting("range", setting.value)
    lose(lost(setting, f"ModelOpt's fixed ranges reach as far to either side of zero: `{shown}` is dropped"))
    return {}


def _is(said: Tensor, field: str, value: object) -> bool:
    setting = said.get(field)
    return setting is not None and setting.value == value


def _is_unsigned(role: str, said: Tensor) -> bool:
    """Say whether a tensor has the unsigned grid; that of an asymmetric one becomes symmetric, so it has not."""
    return role != "weight" and _is(said, "signed", False) and not _is(said, "symmetric", False)
