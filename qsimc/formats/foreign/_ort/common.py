"""What holds for a whole ONNX Runtime document: the two types, symmetry, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._ort.words import FLOAT8, TOOL, ort_words, type_word
from qsimc.formats.foreign._shared import lost, of
from qsimc.ir.config import Setting
from qsimc.ir.levels import Level
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import Everything, OpType
from qsimc.ir.value import Value

ACTS = ("output", "input")
TYPE_FIELDS = ("type", "bits", "signed")
WITH_CHANNELS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights the argument `per_channel` cuts into channels; other weights have one dimension."""

Settings = Mapping[str, Setting]
"""What holds for one tensor: field -> setting."""


class Once:
    """Passes on each loss of a setting once, however many tensors it is about."""

    def __init__(self, lose: Lose) -> None:
        self._lose = lose
        self._seen: set[tuple[int, int, str]] = set()

    def __call__(self, loss: Loss) -> None:
        place = (loss.span.start, loss.span.end) if loss.span is not None else (-1, -1)
        named = " ".join(loss.fields) if loss.span is not None and loss.fields else loss.message
        key = (*place, f"{loss.kind.name} {named}")
        if key not in self._seen:
            self._seen.add(key)
            self._lose(loss)


@dataclass(frozen=True, slots=True)
class Grid:
    """What ONNX Runtime knows of a tensor's numbers: a type, and whether zero is in the middle."""

    word: str
    symmetric: bool


@dataclass(frozen=True, slots=True)
class Common:
    """The arguments that hold for all tensors, and the settings they were made from."""

    act: Grid
    weight: Grid
    per_channel: bool
    method: str
    percentile: float | None
    act_from: Settings
    weight_from: Settings
    float8: bool

    def of_role(self, role: str) -> Settings:
        """Return the settings that the arguments stand for; none for a bias."""
        return self.weight_from if role == "weight" else self.act_from if role in ACTS else {}


def common(found: tuple[Level, ...], lose: Lose) -> Common:
    """Return the arguments: those of the first level at which activations and weights are quantized."""
    act_from, weight_from = _first(found, ACTS), _first(found, ("weight",))
    float8 = all(value(s, "type") == FLOAT8 for s in (act_from, weight_from))
    act = grid(act_from, lose, float8=float8)
    weight = grid(weight_from, lose, float8=float8)
    for what, settings in (("activations", act_from), ("weights", weight_from)):
        if settings and value(settings, "bits") is None and not float8:
            message = f"{TOOL} wants a type of {what}, and nobody says the bits: 8"
            lose(Loss(LossKind.DEFAULTED, message, fields=("bits",)))
    if (act.word, weight.word) == ("QInt8", "QUInt8"):
        # It refuses these two together.  Without symmetry both types have the same grids.
        if weight.symmetric and (signed := weight_from.get("signed")) is not None:
            message = f"{TOOL} refuses QUInt8 weights beside QInt8 activations: weights are written as QInt8"
            lose(lost(signed, message, LossKind.SIGNEDNESS))
        weight = Grid("QInt8", weight.symmetric)
    method, percentile = _calibration(act_from, lose, float8=float8)
    return Common(
        act, weight, _per_channel(found, weight_from, float8=float8), method, percentile, act_from, weight_from, float8
    )


def grid(settings: Settings, lose: Lose, *, float8: bool = False) -> Grid:
    """Return the type and symmetry of a tensor; a width there is no type for becomes the next one."""
    symmetric = value(settings, "symmetric") is True
    if float8:
        return Grid("QFLOAT8E4M3FN", symmetric=True)
    said = value(settings, "signed")
    signed = symmetric if said is None else bool(said)
    bits = value(settings, "bits")
    wanted = bits if isinstance(bits, int) else 8
    width = next((w for w in (4, 8, 16) if wanted <= w), 16)
    if width != wanted:
        message = f"{TOOL} has integers of 4, 8 and 16 bits: `bits={wanted}` is written as {width}"
        lose(lost(settings["bits"], message))
    word = type_word(width, signed=signed)
    assert word is not None, f"there is no type of {width} bits"
    return Grid(word, symmetric)


def value(settings: Settings, field: str) -> Value:
    """Return the value of a field, None if nobody said it."""
    setting = settings.get(field)
    return None if setting is None else setting.value


def is_on(settings: Settings, *, float8: bool) -> bool:
    """Say whether a tensor gets a quantizer: it is on, and its type is one that the quantizer writes."""
    return value(settings, "enabled") is True and writes(settings, float8=float8)


def writes(settings: Settings, *, float8: bool) -> bool:
    """Say whether the quantizer writes a tensor's type."""
    return value(settings, "type") in ((FLOAT8,) if float8 else (None, "int"))


def _first(found: tuple[Level, ...], roles: tuple[str, ...]) -> Settings:
    """Return what holds at the first level where one of some roles is on, of all nodes if there is none."""
    for level in found:
        for role in roles:
            merged = {**level.given[role], **level.said[role]}
            if value(merged, "enabled") is True and value(merged, "type") in (None, "int", FLOAT8):
                return merged
    return {**found[0].given[roles[0]], **found[0].said[roles[0]]}


def _per_channel(found: tuple[Level, ...], usual: Settings, *, float8: bool) -> bool:
    """Say whether weights have channels: most of the operators that have some, where they are spoken of by name."""
    named = {level.selector.name: level for level in found if isinstance(level.selector, OpType)}
    merged = [
        {**named[name].given["weight"], **named[name].said["weight"]} if name in named else usual
        for name in WITH_CHANNELS
    ]
    said = [value(settings, "per_channel") is True for settings in merged if is_on(settings, float8=float8)]
    return 2 * sum(said) > len(said) or (not said and value(usual, "per_channel") is True)


def _calibration(settings: Settings, lose: Lose, *, float8: bool) -> tuple[str, float | None]:
    if float8:
        return "Distribution", None
    calib = settings.get("calib")
    if calib is None or calib.value is None:
        return "MinMax", None
    method = next((word for word, ours in ort_words().methods.items() if ours and ours == calib.value), None)
    if method is None:
        message = f"{TOOL} calibrates by minmax, entropy or percentile: {of(calib, Everything())} becomes minmax"
        lose(lost(calib, message))
        return "MinMax", None
    share = value(settings, "percentile")
    return method, float(share) if method == "Percentile" and isinstance(share, (int, float)) else None
