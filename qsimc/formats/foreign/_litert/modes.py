"""The configuration that LiteRT's quantizer takes and that is nearest to what rules say of an operation.

Integers of a shifted zero are the same numbers whether their grid is signed or not, so `unsigned asymmetric` is no loss
where LiteRT takes int8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.policy import ANY_WEIGHT, FLOAT, Mode, Tensor
from qsimc.formats.foreign._litert.said import Said, SaidOf
from qsimc.formats.foreign._shared import Once
from qsimc.ir.config import Setting
from qsimc.ir.select import Selector


class Modes:
    """Finds configurations; what comes out otherwise than it was said is lost, each setting once.

    `quiet` finds without telling.
    """

    def __init__(self, lose: Once, *, quiet: bool = False) -> None:
        self._lose = None if quiet else lose

    def of(self, word: str, said: Said, selector: Selector) -> Mode:
        """Return the configuration of an operation of LiteRT, of which rules say `said`."""
        return _Subject(word, said, selector, self._lose).mode()

    def boundary(self, word: str, role: str, said: Said, own: Mapping[str, Setting], selector: Selector) -> Mode:
        """Return the configuration of the model's inputs or outputs, of which rules about these alone say `own`."""
        only: dict[str, Mapping[str, Setting]] = {name: {} for name in said}
        only[role] = {**said[role], **own}
        subject = _Subject(word, only, selector, self._lose)
        subject.acts = (role,)
        mode = subject.mode()
        signed = own.get("signed")
        if mode.activation == Tensor(8, symmetric=False) and signed is not None and signed.value is False:
            return replace(mode, activation=replace(mode.activation, kind="UINT"))
        return mode


class _Subject(SaidOf):
    """One operation, and what is said of its tensors; `acts` are those of its activations."""

    acts: tuple[str, ...] = ("output", "input")

    @property
    def weighted(self) -> bool:
        return self.word in litert.policy().weighted

    def mode(self) -> Mode:
        on = [role for role in self.acts if self._on(role)]
        fixed = [role for role in on if not self._value(role, "dynamic")]
        activation = self._activation(fixed) if fixed else None
        if activation is not None:
            self._placement(fixed, on)
            return self._static(activation)
        if not self.weighted:
            # An operator that is also an operation with weights keeps it there.
            others = (word for op in litert.operators_of(self.word) for word in litert.words_of(op))
            if not any(word in litert.policy().weighted for word in others):
                for role in on:
                    self._drop(role, "dynamic", "LiteRT scales at run time what feeds operations with weights only")
            return FLOAT
        if not self._on("weight"):
            for role in on:
                self._drop(role, "enabled", "LiteRT leaves operations float whose weights stay float")
            return FLOAT
        if on and not fixed:
            return self._dynamic(on)
        return self._weight_only()

    # ── kinds of configuration ───────────────────────────────────────────────────────────────

    def _static(self, activation: Tensor) -> Mode:
        if not self.weighted:
            return Mode(litert.MINMAX, activation, ANY_WEIGHT, "INTEGER")
        if not self._on("weight"):
            for role in self.acts:
                self._drop(role, "enabled", "LiteRT leaves operations float whose weights stay float")
            return FLOAT
        widths = _widths(litert.policy().static, self.word)
        if not widths:
            return FLOAT
        weight = self._weight(widths, symmetric=True)
        self._bias(integer=True)
        return Mode(self._algorithm(weight), activation, weight, "INTEGER")

    def _dynamic(self, on: list[str]) -> Mode:
        if "output" in on:
            self._drop("output", "dynamic", "LiteRT leaves outputs float where inputs are scaled at run time")
        if self._value("input", "bits") not in (8, None):
            self._drop("input", "bits", "LiteRT has 8 bits for what it scales at run time")
        self._bias(integer=False)
        blocks = _widths(litert.policy().dynamic_blocks, self.word)
        group, bits = self._value("weight", "per_group"), self._value("weight", "bits")
        if group in litert.BLOCKS and (bits in blocks or bits is None) and blocks and not self._cast():
            weight = self._weight(blocks, symmetric=True, granularity=f"BLOCKWISE_{group}")
        else:
            weight = self._weight(_widths(litert.policy().dynamic, self.word), symmetric=True)
        return Mode(self._algorithm(weight), None, weight, "INTEGER")

    def _weight_only(self) -> Mode:
        self._bias(integer=False)
        if self._cast():
            if self.word not in litert.policy().algorithms[litert.CASTING]:
                self._drop(
                    "weight", "type", f"LiteRT has no float type for weights of {self.word}, which stay as they are"
                )
                return FLOAT
            if self._width("weight") != ("float", 16):
                self._drop("weight", "type", "LiteRT has 16-bit floats only")
            self._generic("weight", Tensor(16, kind="FLOAT"))
            return Mode(litert.CASTING, None, Tensor(16, kind="FLOAT"), "FLOAT", explicit=True)
        weight = self._weight(_widths(litert.policy().weight_only, self.word), symmetric=False)
        return Mode(self._algorithm(weight), None, weight, "FLOAT", explicit=True)

    # ── tensors ──────────────────────────────────────────────────────────────────────────────

    def _activation(self, roles: list[str]) -> Tensor | None:
        """Return how inputs and outputs are quantized: as is said of the first of `roles`."""
        role = roles[0]
        if self._width(role)[0] != "int":
            for each in roles:
                self._drop(each, "type", "LiteRT has no float type for activations, which stay float")
            return None
        bits = self._number(role, "bits", 8)
        if bits not in (8, 16):
            self._drop(role, "bits", "LiteRT has activations of 8 or 16 bits")
            bits = 8 if bits < 8 else 16
        if (
            bits == 16
            and self.word in litert.policy().not_static[16]
            and self.word not in litert.policy().not_static[8]
        ):
            self._drop(role, "bits", f"LiteRT has {self.word} with 8 bits only")
            bits = 8
        if bits == 16 and self._value(role, "symmetric") is False:
            self._drop(role, "symmetric", "LiteRT's 16-bit activations are symmetric")
        tensor = Tensor(bits, symmetric=bits == 16 or self._flag(role, "symmetric", default=False))
        for each in roles:
            self._generic(each, tensor)
            for field in ("type", "bits", "symmetric"):
                if each != role and self._value(each, field) not in (self._value(role, field), None):
                    self._drop(each, field, f"LiteRT says this once for inputs and outputs, as for `{role}`")
        return tensor

    def _placement(self, fixed: list[str], on: list[str]) -> None:
        for role in self.acts:
            if role not in on:
                self._drop(role, "enabled", "LiteRT quantizes the inputs and outputs of an operation together")
            elif role not in fixed:
                self._drop(role, "dynamic", "LiteRT scales inputs at run time only where outputs stay float")

    def _weight(self, widths: tuple[int, ...], *, symmetric: bool, granularity: str = "") -> Tensor:
        """Return how weights are quantized, to one of `widths`, and only symmetrically if `symmetric`."""
        if self._cast():
            self._drop("weight", "type", f"LiteRT has no float weights for {self.word} here, but 8-bit integers")
            bits = 8
        else:
            bits = self._number("weight", "bits", 8)
            if bits not in widths:
                listed = " or ".join(map(str, sorted(widths)))
                self._drop("weight", "bits", f"LiteRT has weights of {listed} bits for {self.word} here")
                bits = min((width for width in widths if width >= bits), default=max(widths))
        even = self._flag("weight", "symmetric", default=True)
        if symmetric and not even:
            self._drop("weight", "symmetric", "LiteRT's weights are symmetric where activations are integers")
        if not granularity:
            granularity = "CHANNELWISE" if self._flag("weight", "per_channel", default=True) else "TENSORWISE"
        tensor = Tensor(bits, symmetric or even, granularity)
        self._generic("weight", tensor)
        return tensor

    def _algorithm(self, weight: Tensor) -> str:
        calib = self._value("weight", "calib")
        mse = calib == "mse" and self.word in litert.policy().algorithms["MSE"] and weight.symmetric
        if mse and not weight.blocks:
            return "MSE"
        if calib not in ("minmax", None):
            self._drop("weight", "calib", f"LiteRT estimates ranges of weights of {self.word} by their extremes")
        return litert.MINMAX

    def _bias(self, *, integer: bool) -> None:
        """Lose what is said of biases and does not follow from inputs and weights."""
        bias = self.said["bias"]
        enabled, bits = bias.get("enabled"), bias.get("bits")
        if integer and enabled is not None and not enabled.value:
            self._drop("bias", "enabled", "LiteRT quantizes biases to 32 bits with the scales of inputs and weights")
        elif integer and enabled is not None and bits is not None and bits.value != 32:
            self._drop("bias", "bits", "LiteRT's biases have the bits and scales that follow from inputs and weights")
        elif not integer and enabled is not None and enabled.value:
            self._drop("bias", "enabled", "LiteRT leaves biases float where activations are")


def _widths(table: Mapping[int, Iterable[str]], word: str) -> tuple[int, ...]:
    return tuple(bits for bits, words in table.items() if word in words)
