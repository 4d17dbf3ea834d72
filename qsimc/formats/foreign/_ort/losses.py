"""What ONNX Runtime can never say of a tensor, and what it can say of all tensors alike only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qsimc.formats.foreign._ort.common import ACTS, TYPE_FIELDS, WITH_CHANNELS, Common, Settings, value, writes
from qsimc.formats.foreign._ort.words import TOOL
from qsimc.formats.foreign._shared import lost, of
from qsimc.ir.config import Setting
from qsimc.ir.loss import Lose
from qsimc.ir.select import OpType, Selector
from qsimc.ir.value import Value
from qsimc.spec.ops import operators


def lose_float(settings: Settings, selector: Selector, lose: Lose, *, float8: bool) -> None:
    """Lose a type that the quantizer does not write."""
    if value(settings, "enabled") is True and not writes(settings, float8=float8):
        type_ = settings["type"]
        lose(lost(type_, f"{TOOL} quantizes to integers: with {of(type_, selector)} the tensor stays as it is"))


def unsayable(settings: Iterable[Setting], merged: Settings, role: str, selector: Selector, lose: Lose) -> None:
    """Lose what no argument, option or override says.

    Args:
        settings: those of one level.
        merged: what holds there for the tensor, with what it inherits.
    """
    for setting in settings:
        why = _never(setting, merged, role, selector)
        if why:
            lose(lost(setting, f"{TOOL} {why}: {of(setting, selector)} is dropped"))


def _never(setting: Setting, merged: Settings, role: str, selector: Selector) -> str:
    """Return why a setting cannot be said, empty if it can."""
    said = setting.value
    match setting.field:
        case "round":
            return "" if said == "half_even" else "rounds half to even"
        case "scale":
            return "" if said == "float" else "takes any scale"
        case "reduce":
            keeps_all = said == "max" and value(merged, "calib") in (None, "minmax") and role in ACTS
            return "" if keeps_all or role not in ACTS else "takes all batches together"
        case "dynamic":
            return "" if not said else "fixes scales by calibration here"
        case "per_group":
            return "has no scales per group of inputs"
        case "kernels":
            return "does not know the kernels of a target"
        case "unsigned_symmetric":
            symmetric = value(merged, "symmetric") is True
            return "has symmetric grids of one sign for all data" if said and symmetric else ""
        case "narrow_range":
            # The signed 8 and 16 bits of a symmetric tensor leave out the lowest integer, other grids do not.
            whole = value(merged, "symmetric") is not True or value(merged, "bits") not in (None, 8, 16)
            return "leaves out the lowest integer of symmetric 8 and 16 bits only" if said and whole else ""
        case "calib" | "percentile" if role not in ACTS:
            return "" if setting.field == "percentile" or said == "minmax" else "takes smallest and largest of weights"
        case "range" if is_native(selector, role, said):
            return ""
        case "range" if role not in ACTS:
            return "takes the range of weights from their values"
        case _:
            return ""


def is_native(selector: Selector, role: str, fixed: Value) -> bool:
    """Say whether ONNX Runtime gives an operator's output a fixed range by itself, or cannot find another one."""
    found = selector.name if isinstance(selector, OpType) else ""
    return role == "output" and (found, fixed) in (("Softmax", (0, 1)), ("Relu", (0, None)))


def _channels_differ(setting: Setting, role: str, args: Common, selector: Selector) -> str:
    row = operators()[selector.name] if isinstance(selector, OpType) else None
    if role != "weight" or (row is not None and (not row.params or row.norm)):
        return ""  # What has one dimension has one scale to ONNX Runtime.
    if isinstance(selector, OpType) and selector.name not in WITH_CHANNELS:
        return "has no channels there" if setting.value else ""
    return "" if setting.value is args.per_channel else "has one `per_channel` for all"


_DEFAULTS: Mapping[str, Value] = {"type": "int", "bits": 8, "symmetric": False}
_OF_ARGUMENTS = frozenset({*TYPE_FIELDS, "symmetric", "per_channel", "calib", "percentile", "range"})
"""Fields that arguments say for all tensors, or overrides for one."""


def differs(setting: Setting, role: str, args: Common, selector: Selector, merged: Settings) -> str:
    """Return why a setting needs a model, empty if the arguments say it for all nodes."""
    if setting.field == "signed" and value(merged, "symmetric") is not True:
        return ""  # Both types have the same grids where zero may be anywhere.
    if role == "bias" or setting.field not in _OF_ARGUMENTS:
        return ""
    if setting.field == "per_channel":
        return _channels_differ(setting, role, args, selector)
    if setting.field == "range":
        native = is_native(selector, role, setting.value)
        return "" if native or role not in ACTS else "has ranges of tensors only"
    if setting.field in ("calib", "percentile"):
        same = role not in ACTS or value(args.act_from, setting.field) == setting.value
        return "" if same else "calibrates all tensors alike"
    there = value(args.of_role(role), setting.field)
    usual = _DEFAULTS.get(setting.field) if there is None else there
    if setting.field == "signed" and usual is None:
        usual = value(args.of_role(role), "symmetric") is True
    argument = "weight_type" if role == "weight" else "activation_type"
    return "" if usual == setting.value else f"has one {argument} for all"
