"""Write how one tensor of a layer is quantized as the arguments of compressed-tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._compressed_tensors.args import FLOATS, TOOL
from qsimc.formats.foreign._layers import Entry, on, subject
from qsimc.formats.foreign._leftovers import lose_rest
from qsimc.formats.foreign._shared import Once, Plain, lost, of
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import show

_ROLES = {"weight": "weights", "input": "input_activations", "output": "output_activations"}
_NVFP4_GROUP = 16
_SUBSTITUTES = {"sqnr": "mse", "diffs": "mse", "percentile": "minmax", "entropy": "minmax"}


def scheme(entry: Entry, lose: Once) -> dict[str, Plain]:
    """Return the arguments of every tensor of a layer that is quantized."""
    found: dict[str, Plain] = {}
    for role, key in _ROLES.items():
        if on(entry.said[role]):
            args = _Writer(entry, role, entry.said[role], lose).args()
            if args is not None:
                found[key] = args
    return found


@dataclass(frozen=True, slots=True)
class _Writer:
    entry: Entry
    role: str
    said: Mapping[str, Setting]
    lose: Once

    def args(self) -> dict[str, Plain] | None:
        """Return the arguments, None for a tensor that stays as it is."""
        family, bits = self._type()
        if family is None:
            return None
        found: dict[str, Plain] = {"num_bits": bits, "type": family}
        found["symmetric"] = self._flag("symmetric", True, "symmetric")
        e8m0 = self._value("scale") == "e8m0" and family == "float" and "per_group" in self.said
        dynamic = self._value("dynamic") is True
        strategy = self._strategy(family, bits, e8m0, dynamic)
        if dynamic and strategy not in ("token", "tensor", "group", "tensor_group"):
            self._lost("dynamic", f"{TOOL} has no dynamic scales per channel")
            dynamic = False
        found["strategy"] = strategy
        if strategy in ("group", "tensor_group"):
            found["group_size"] = self._integer("per_group")
        found["dynamic"] = "local" if dynamic and strategy == "tensor_group" else dynamic
        if (observer := self._observer(dynamic)) is not None:
            found["observer"] = observer
        if e8m0:
            found["scale_dtype"] = "torch.uint8"
        elif strategy == "tensor_group":
            found["scale_dtype"] = "torch.float8_e4m3fn"
        lose_rest(self.entry, self.said, TOOL, self.lose, but=("scale",) if e8m0 else ())
        return found

    # ── fields ───────────────────────────────────────────────────────────────────────────────

    def _type(self) -> tuple[str | None, int]:
        """Return the number family and the width; no family for a float that is no quantization."""
        word = str(self._value("type") or "int")
        bits = self._integer("bits")
        if word == "int":
            if bits is None:
                self._defaulted("bits", "8 bits")
            return "int", bits or 8
        widths = {name: width for width, name in FLOATS.items()}
        if word in widths:
            return "float", widths[word]
        if word == "float8_e5m2" or (word == "float" and bits == 8):
            self._lost("type", f"{TOOL} has floats of 8 bits as E4M3 only")
            return "float", 8
        if word == "float" and bits in (4, 6):
            return "float", bits
        self._lost("type", f"{TOOL} leaves floats of this width as they are")
        return None, 0

    def _strategy(self, family: str, bits: int, e8m0: bool, dynamic: bool) -> str:
        group = self._integer("per_group")
        if group is not None:
            if family == "float" and bits == 4 and group == _NVFP4_GROUP and not e8m0:
                return "tensor_group"
            return "group"
        per_channel = self._value("per_channel")
        if per_channel is True and self.role == "input":
            substitute = "token" if dynamic else "tensor"
            self._lost("per_channel", f"{TOOL} has no scales per channel of activations; `{substitute}` is written")
            return substitute
        if per_channel is None:
            if dynamic and self.role != "weight":
                self._defaulted("per_channel", "a scale per token")
                return "token"
            self._defaulted("per_channel", "one scale")
        return "channel" if per_channel is True else "tensor"

    def _observer(self, dynamic: bool) -> str | None:
        calib = self._value("calib")
        if calib is None:
            return None
        word = _SUBSTITUTES.get(str(calib), str(calib))
        if dynamic:
            if calib != "minmax":
                self._lost("calib", f"{TOOL} computes dynamic scales from the extremes")
            return None
        if word != calib:
            self._lost("calib", f"{TOOL} has no such observer: the one of `calib={word}` is written")
        if word == "mse":
            return "memoryless_mse" if self.role == "weight" else "mse"
        return None  # the tool's own choice

    # ── values ───────────────────────────────────────────────────────────────────────────────

    def _value(self, field: str) -> Value:
        setting = self.said.get(field)
        return None if setting is None else setting.value

    def _integer(self, field: str) -> int | None:
        value = self._value(field)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _flag(self, field: str, default: bool, word: str) -> bool:
        value = self._value(field)
        if value is None:
            self._defaulted(field, f"`{word}`")
            return default
        return value is True

    def _defaulted(self, field: str, what: str) -> None:
        enabled = self.said.get("enabled")
        whose = f"the {self.role} of {show(subject(self.entry))}"
        message = f"nobody said the {field.replace('_', ' ')} of {whose}: {what} is written"
        span = enabled.span if enabled is not None else next(iter(self.said.values())).span
        self.lose(Loss(LossKind.DEFAULTED, message, span, fields=(field,)))

    def _lost(self, field: str, why: str) -> None:
        setting = self.said.get(field) or self.said.get("bits")
        if setting is None:
            return
        self.lose(lost(setting, f"{why}: {of(setting, subject(self.entry))} is changed"))
