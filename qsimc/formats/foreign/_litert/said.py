"""What rules say of one operation of LiteRT, and how what does not come out is lost."""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.policy import Tensor
from qsimc.formats.foreign._shared import Once, lost, of
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import OpType, Selector, show

Said = Mapping[str, Mapping[str, Setting]]

_NO_WORD = {"percentile", "axis", "kernels", "shares", "range"}


class SaidOf:
    """What is said of the tensors of one operation; `lose` is told what does not come out, or None."""

    def __init__(self, word: str, said: Said, selector: Selector, lose: Once | None) -> None:
        self.word = word
        self.said = said
        self.selector = selector
        self.lose = lose

    def _generic(self, role: str, tensor: Tensor) -> None:
        """Lose what a recipe has no words for."""
        weight = role == "weight"
        expected: dict[str, tuple[Value, ...]] = {
            "scale": ("float",),
            "round": ("half_even",),
            "reduce": (),
        }
        if not weight:
            expected |= {"calib": ("minmax",), "per_channel": (False,), "per_group": ()}
        elif not tensor.blocks:
            expected["per_group"] = ()
        if tensor.kind == "INT":
            expected["narrow_range"] = (tensor.symmetric and tensor.bits >= 8,)
        if tensor.symmetric and tensor.kind == "INT":
            expected |= {"signed": (True,), "unsigned_symmetric": (False,)}
        for field, setting in self.said[role].items():
            if setting.value is None or setting.value in expected.get(field, (setting.value,)):
                if field not in _NO_WORD or setting.value is None:
                    continue
                if field == "range" and self._fixed(setting.value) and role == "output":
                    continue
                if field == "percentile" and self._value(role, "calib") != "percentile":
                    continue
            self._drop(role, field, _WHY.get(field, f"LiteRT has no word for `{field}`"))

    def _fixed(self, bounds: Value) -> bool:
        name = self.selector.name if isinstance(self.selector, OpType) else ""
        return bounds == litert.policy().ranges.get(name)

    # ── what is said ─────────────────────────────────────────────────────────────────────────

    def _on(self, role: str) -> bool:
        said = self.said[role]
        enabled = said.get("enabled")
        on = bool(enabled.value) if enabled is not None else bool(said)
        return on and self._width(role) != ("float", 32)

    def _cast(self) -> bool:
        return self._width("weight")[0] != "int"

    def _width(self, role: str) -> tuple[str, int]:
        """Return the number family of a tensor, and its width if that matters: `float` and 16."""
        family, bits = str(self._value(role, "type") or "int"), self._value(role, "bits")
        if family in ("float", "bfloat") and isinstance(bits, int):
            return family, bits
        widths = {"float16": ("float", 16), "float32": ("float", 32), "float": ("float", 32)}
        return widths.get(family, (family, 0))

    def _value(self, role: str, field: str) -> Value:
        setting = self.said[role].get(field)
        return None if setting is None else setting.value

    def _number(self, role: str, field: str, default: int) -> int:
        value = self._value(role, field)
        if isinstance(value, int):
            return value
        self._defaulted(role, f"{field}={default}")
        return default

    def _flag(self, role: str, field: str, *, default: bool) -> bool:
        value = self._value(role, field)
        if isinstance(value, bool):
            return value
        if self._value(role, "per_group") is None:
            words = {"symmetric": ("symmetric", "asymmetric"), "per_channel": ("per_channel", "per_tensor")}[field]
            self._defaulted(role, words[0 if default else 1])
        return default

    def _defaulted(self, role: str, what: str) -> None:
        message = f"nobody says what LiteRT needs of {show(self.selector)}[{role}]: `{what}` is written"
        self._tell(Loss(LossKind.DEFAULTED, message))

    def _drop(self, role: str, field: str, why: str) -> None:
        setting = self.said[role].get(field)
        if setting is None or setting.value is None:
            return
        kind = LossKind.BIAS if role == "bias" else None
        self._tell(lost(setting, f"{why}: {of(setting, self.selector)}[{role}] is not kept", kind))

    def _tell(self, loss: Loss) -> None:
        if self.lose is not None:
            self.lose(loss)


_WHY = {
    "scale": "LiteRT's scales are any floats",
    "round": "LiteRT rounds half to even",
    "reduce": "LiteRT joins batches by a moving average",
    "calib": "LiteRT estimates ranges of activations by their extremes",
    "percentile": "LiteRT estimates ranges by their extremes",
    "range": "LiteRT has no fixed ranges",
    "per_group": "LiteRT has blocks of 32, 64, 128 or 256 values for some weights only",
    "per_channel": "LiteRT has channels of weights only",
    "kernels": "LiteRT decides by itself what an operation may have",
    "narrow_range": "LiteRT leaves out the lowest integer of symmetric grids of 8 bits and more, and of no others",
    "signed": "LiteRT's symmetric grids are signed",
    "unsigned_symmetric": "LiteRT's symmetric grids are signed",
}
