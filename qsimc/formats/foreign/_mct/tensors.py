"""Keys of a TPC file for single tensors, out of what rules say of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from qsimc.formats.foreign._mct import values as mct
from qsimc.formats.foreign._mct.read import bounds
from qsimc.formats.foreign._shared import Once, Plain, lost, of
from qsimc.ir.config import Setting, Value
from qsimc.ir.levels import Level
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import show

Block = dict[str, Plain]


class Tensors:
    """Writes what is said of single tensors; with `lose` None nothing is told."""

    def __init__(self, lose: Once | None) -> None:
        self.lose = lose

    def activation(self, level: Level) -> Block:
        if self._on(level, "input"):
            self._drop(level, "input", "enabled", "MCT quantizes outputs, and inputs only as outputs of others")
        said = level.said["output"]
        enabled = self._enabled(level, "output")
        even = self._value(level, "output", "symmetric")
        bits = self.bits(level, "output")
        method = self._method(level, "output", enabled=enabled)
        signedness = mct.AUTO
        signed, automatic = (self._value(level, "output", field) for field in ("signed", "unsigned_symmetric"))
        if signed is False and (even and not automatic):
            signedness = mct.UNSIGNED
        elif signed and not (even and automatic):
            signedness = mct.SIGNED
        scale, zero = None, None
        fixed = said.get("range")
        if enabled:
            for field in said:
                self._unsayable(level, "output", field)
            if fixed is not None:
                scale, zero, same = _encoding(fixed.value, bits, signed=signedness != mct.UNSIGNED)
                if not same:
                    instead = (
                        "has none of one bound only" if scale is None else "takes the nearest that has an integer zero"
                    )
                    self._drop(level, "output", "range", f"MCT fixes ranges by a scale and a zero point, and {instead}")
        return {
            "activation_quantization_method": method,
            "activation_n_bits": bits,
            "enable_activation_quantization": enabled,
            "signedness": signedness,
            "fixed_scale": scale,
            "fixed_zero_point": zero,
        }

    def weight(self, level: Level, role: str) -> Block:
        enabled = self._enabled(level, role)
        method = self._method(level, role, enabled=enabled)
        if enabled:
            for field in level.said[role]:
                self._unsayable(level, role, field)
        return {
            "weights_quantization_method": method,
            "weights_n_bits": self.bits(level, role),
            "weights_per_channel_threshold": bool(self._value(level, role, "per_channel")),
            "enable_weights_quantization": enabled,
            "lut_values_bitwidth": None,
        }

    def bits(self, level: Level, role: str) -> int:
        value = self._value(level, role, "bits")
        if isinstance(value, int):
            return value
        if self._on(level, role) and self.lose is not None:
            message = f"nobody says what MCT needs of {show(level.selector)}[{role}]: `bits=8` is written"
            self.lose(Loss(LossKind.DEFAULTED, message))
        return 8

    def drop_bias(self, level: Level) -> None:
        """Lose what is said of the biases of operators whose attributes have no names."""
        weight, bias = level.said["weight"], level.said["bias"]
        if not self._on(level, "weight") and not self._on(level, "bias"):
            return
        why = "MCT says this once for weights and biases of operators without kernels"
        if self._on(level, "weight") != self._on(level, "bias"):
            self._drop(level, "bias", "enabled", why, LossKind.BIAS)
            return
        for field, setting in bias.items():
            if field not in weight or weight[field].value != setting.value:
                self._drop(level, "bias", field, why, LossKind.BIAS)

    # ── what is said ─────────────────────────────────────────────────────────────────────────

    def _enabled(self, level: Level, role: str) -> bool:
        """Say whether a tensor becomes integers; other types are lost."""
        if not self._on(level, role):
            return False
        if self._value(level, role, "type") in ("int", None):
            return True
        self._drop(level, role, "type", "MCT has integers only, so the tensor stays float")
        return False

    def _method(self, level: Level, role: str, *, enabled: bool) -> int:
        even, scale = self._value(level, role, "symmetric"), self._value(level, role, "scale")
        if scale in ("pow2", "e8m0"):
            if even is False and enabled:
                self._drop(level, role, "symmetric", "MCT's powers of two are symmetric")
            return mct.POW2
        if even is None and enabled and self.lose is not None:
            message = f"nobody says what MCT needs of {show(level.selector)}[{role}]: `symmetric` is written"
            self.lose(Loss(LossKind.DEFAULTED, message))
        return mct.UNIFORM if even is False else mct.SYMMETRIC

    def _unsayable(self, level: Level, role: str, field: str) -> None:
        """Lose a field that a configuration has no key for, or none for this value."""
        value = self._value(level, role, field)
        act, even = role == "output", self._value(level, role, "symmetric")
        if field == "percentile" and self._value(level, role, "calib") != "percentile":
            return
        kept: Mapping[str, bool] = {
            "calib": value is None,
            "percentile": value is None,
            "reduce": value is None,
            "shares": value is None,
            "axis": value is None,
            "per_group": value is None,
            "round": value in ("half_even", None),
            "scale": value != "e8m0",
            "dynamic": not value,
            "narrow_range": not value,
            "per_channel": not (act and value),
            "range": act or value is None,
            "signed": act or even is False or value is not False,
            "unsigned_symmetric": act or not value,
        }
        if not kept.get(field, True):
            self._drop(level, role, field, _WHY[field])

    def _on(self, level: Level, role: str) -> bool:
        said = level.said[role]
        enabled = said.get("enabled")
        on = bool(enabled.value) if enabled is not None else any(field != "kernels" for field in said)
        family, bits = self._value(level, role, "type"), self._value(level, role, "bits")
        return on and family != "float32" and (family, bits) != ("float", 32)

    def _value(self, level: Level, role: str, field: str) -> Value:
        setting = level.said[role].get(field)
        return None if setting is None else setting.value

    def _drop(self, level: Level, role: str, field: str, why: str, kind: LossKind | None = None) -> None:
        setting: Setting | None = level.said[role].get(field)
        if setting is not None and self.lose is not None:
            self.lose(lost(setting, f"{why}: {of(setting, level.selector)}[{role}] is not kept", kind))


_WHY = {
    "calib": "MCT takes how ranges are estimated as an argument",
    "percentile": "MCT takes how ranges are estimated as an argument",
    "reduce": "MCT joins batches in a way of its own",
    "shares": "MCT has no word for shared encodings",
    "axis": "MCT knows the axes of channels by itself",
    "per_group": "MCT has no groups of values",
    "round": "MCT rounds half to even",
    "scale": "MCT's powers of two are float32",
    "dynamic": "MCT's scales are fixed",
    "narrow_range": "MCT's grids have all their integers",
    "per_channel": "MCT has channels of weights only",
    "range": "MCT fixes ranges of outputs only",
    "signed": "MCT's symmetric weights are signed",
    "unsigned_symmetric": "MCT's symmetric weights are signed",
}


def _encoding(value: Value, bits: int, *, signed: bool) -> tuple[float | None, int | None, bool]:
    """Return the scale and the zero point nearest to a fixed range, and whether they give just that range."""
    low, high = value if isinstance(value, tuple) and len(value) == 2 else (None, None)
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        return None, None, False
    exact = (high - low) / (2**bits - 1)
    lowest = -(2 ** (bits - 1)) if signed else 0
    if not math.isfinite(exact) or exact <= 0 or not math.isfinite(low / exact):
        return None, None, False
    zero = round(lowest - low / exact)
    for scale in _near(exact, low, high, lowest - zero, lowest + 2**bits - 1 - zero):
        if bounds(scale, zero, bits, signed=signed) == (low, high):
            return scale, zero, True
    near = bounds(exact, zero, bits, signed=signed)
    return exact, zero, all(abs(a - b) <= exact * 1e-6 for a, b in zip(near, (low, high), strict=True))


def _near(exact: float, low: float, high: float, lowest: int, highest: int) -> Iterator[float]:
    """Yield scales that may have given a range, those that somebody may have written first."""
    guesses = [exact, *(bound / steps for bound, steps in ((low, lowest), (high, highest)) if bound and steps)]
    for digits in range(6, 17):
        yield from (float(f"{guess:.{digits}g}") for guess in guesses)
    for guess in guesses:
        yield from (guess, math.nextafter(guess, math.inf), math.nextafter(guess, 0.0))
