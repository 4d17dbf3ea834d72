"""The two sets of parameters that NNCF has: one for all weights, one for all activations.

Of what a configuration says of the operators that NNCF quantizes, a group takes what holds for most of them; what is
said otherwise of the others is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._shared import lost
from qsimc.ir.config import Setting, show_setting
from qsimc.ir.loss import Lose, Loss, LossKind

Said = Mapping[str, Setting]

_WEIGHTS, _ACTIVATIONS = "weights", "activations"


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters of one group; None is NNCF's own choice."""

    name: str
    symmetric: bool | None = None
    per_channel: bool | None = None
    calib: str | None = None
    percentile: float | None = None
    reduce: str | None = None


def group(name: str, of_operators: Iterable[Said], lose: Lose) -> Group:
    """Return the parameters of a group from the settings of its tensors, operator by operator."""
    said = _agreed(name, tuple(of_operators), lose)
    for setting in said.values():
        if (message := _unsayable(name, setting, said)) is not None:
            lose(lost(setting, message))
    _width(name, said, lose)
    per_channel = _flag(said, "per_channel")
    if name == _ACTIVATIONS and per_channel:
        per_channel = False
    calib, reduce = said.get("calib"), said.get("reduce")
    percentile = said.get("percentile")
    return Group(
        name,
        symmetric=_flag(said, "symmetric"),
        per_channel=per_channel,
        calib=_calib(calib, lose),
        percentile=float(str(percentile.value)) if percentile is not None else None,
        reduce=_reduce(reduce, lose),
    )


def _agreed(name: str, of_operators: tuple[Said, ...], lose: Lose) -> Said:
    """Return what holds for most operators, field by field, and lose the rest; an earlier operator wins a tie."""
    agreed: dict[str, Setting] = {}
    gone: dict[int, tuple[Setting, Setting]] = {}
    for field in dict.fromkeys(field for said in of_operators for field in said):
        settings = [said[field] for said in of_operators if field in said]
        (most, _), *_ = Counter(show_setting(field, s.value) for s in settings).most_common(1)
        agreed[field] = next(s for s in settings if show_setting(field, s.value) == most)
        for setting in settings:
            if show_setting(field, setting.value) != most and field != "enabled":
                gone.setdefault(id(setting), (setting, agreed[field]))
    for setting, kept in gone.values():
        shown, other = show_setting(setting.field, setting.value), show_setting(kept.field, kept.value)
        lose(lost(setting, f"NNCF has one set of parameters for all {name}: `{shown}` becomes `{other}`"))
    return agreed


def _unsayable(name: str, setting: Setting, said: Said) -> str | None:
    """Return why a setting cannot be said, None if it can or is what NNCF does anyway."""
    symmetric = _flag(said, "symmetric") is not False
    weights, value, shown = name == _WEIGHTS, setting.value, show_setting(setting.field, setting.value)
    match setting.field:
        case "narrow_range" if value is not (weights and symmetric):
            has = "a narrow range for symmetric weights" if weights and symmetric else "the full range here"
            return f"NNCF has {has}: `{shown}` of {name} is dropped"
        case "signed" if symmetric and not (weights and value is True):
            chooses = "always signed" if weights else "signed where they have both signs"
            return f"symmetric {name} are {chooses} in NNCF: `{shown}` is dropped"
        case "unsigned_symmetric" if symmetric and value is weights:
            chooses = "always signed" if weights else "signed where they have both signs"
            return f"symmetric {name} are {chooses} in NNCF: `{shown}` is dropped"
        case "per_channel" if value is True and not weights:
            return "NNCF has one scale per activation: `per_channel` is dropped"
        case "scale" if value != "float":
            return f"NNCF has no scales but real ones: `{shown}` of {name} is dropped"
        case "round" if value != "half_even":
            return f"NNCF rounds ties to even: `{shown}` of {name} is dropped"
        case "range":
            return f"NNCF has no fixed ranges: `{shown}` of {name} is dropped"
        case "dynamic" if value is True:
            return f"`nncf.quantize` calibrates every range: `{shown}` of {name} is dropped"
        case "per_group" | "kernels":
            return f"`nncf.quantize` has no word for `{shown}` of {name}, which is dropped"
        case _:
            return None


def _width(name: str, said: Said, lose: Lose) -> None:
    """Lose every width but NNCF's: its integers have 8 bits in models in ONNX."""
    kind, bits = said.get("type"), said.get("bits")
    if kind is not None and kind.value != "int":
        lose(lost(kind, f"NNCF has 8-bit integers only for models in ONNX: `type={kind.value}` of {name} becomes int8"))
    elif bits is None:
        message = f"nobody says how many bits {name} have: NNCF's own 8 are written"
        lose(Loss(LossKind.DEFAULTED, message, fields=("bits",)))
    elif bits.value != 8:
        lose(lost(bits, f"NNCF has 8-bit integers only for models in ONNX: `bits={bits.value}` of {name} becomes 8"))


def _calib(setting: Setting | None, lose: Lose) -> str | None:
    """Return how a range is found: NNCF's histogram looks for the range with the least squared error."""
    if setting is None or setting.value in ("minmax", "percentile", "mse"):
        return None if setting is None else str(setting.value)
    lose(lost(setting, f"NNCF has no `calib={setting.value}`: the least squared error takes its place"))
    return "mse"


def _reduce(setting: Setting | None, lose: Lose) -> str | None:
    if setting is None or setting.value in ("max", "mean", "median"):
        return None if setting is None else str(setting.value)
    lose(lost(setting, f"NNCF has no `reduce={setting.value}`: the median takes its place"))
    return "median"


def _flag(said: Said, field: str) -> bool | None:
    setting = said.get(field)
    return None if setting is None else setting.value is True
