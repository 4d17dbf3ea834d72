"""What the options of operator sets mean: the base configuration as rules, the choices beside it as `kernels`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qsimc.formats.foreign._mct import values as mct
from qsimc.formats.foreign._mct.values import Block, Options, Quantization, Said
from qsimc.formats.foreign._shared import Findings
from qsimc.ir.config import Clause, Restriction, Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.ir.predicate import Member, Ref
from qsimc.ir.select import Everything, Selector

_POW2 = (mct.POW2, mct.LUT_POW2)
_LUT = (mct.LUT_POW2, mct.LUT_SYMMETRIC)


def bounds(scale: float, zero_point: int, bits: int, *, signed: bool) -> tuple[float, float]:
    """Return the range, in the tensor's own units, of a grid of `bits` bits."""
    lowest = -(2 ** (bits - 1)) if signed else 0
    return (lowest - zero_point) * scale, (lowest + 2**bits - 1 - zero_point) * scale


@dataclass(slots=True)
class Losses:
    """Tells of each key that no rule says once, at the first place that it means something."""

    findings: Findings
    told: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, what: LossKind, key: str, message: str, said: Said, *fields: str) -> None:
        if (key, message) not in self.told:
            self.told.add((key, message))
            self.findings.lost(what, message, said.span, said.pointer, *fields)


class Meaning:
    """Makes clauses and restrictions; `widths` are those that base configurations give activations."""

    def __init__(self, lost: Losses, widths: tuple[int, ...]) -> None:
        self.lost = lost
        self.widths = widths

    def clauses(self, options: Options, selector: Selector) -> Iterator[Clause]:
        """Yield what a base configuration says of each tensor, and the widths that the choices beside it have."""
        base = options.base
        activation = self._activation(base.activation)
        if isinstance(selector, Everything):
            inputs = tuple(s for s in activation if s.field not in ("enabled", "range"))
            yield Clause(("input",), (_off(base.activation), *inputs), base.activation.span)
        yield Clause(("output",), activation, base.activation.span)
        for role, block in (("weight", base.kernel), ("bias", base.bias)):
            yield Clause((role,), tuple(self._weight(block)), block.span)
        for name, block in base.attributes.items():
            if name not in (mct.KERNEL, mct.BIAS):
                message = f"no role is the attribute `{name}`, whose configuration is left out"
                self.lost(LossKind.DROPPED, name, message, block.said("", None))
        if len(options.choices) > 1:
            yield self._kernels(options)

    def restriction(self, options: Options, selector: Selector) -> Restriction | None:
        """Return the widths that the inputs of an operator must have, None where they are those of all activations."""
        allowed = tuple(sorted(set(options.base.inputs)))
        if allowed in (self.widths, ()):
            return None
        predicate = Member(Ref("bits"), allowed, options.base.inputs_span)
        message = "the operator takes inputs of these widths only"
        return Restriction("", "require", selector, ("input",), predicate, message, options.base.inputs_span)

    # ── tensors ──────────────────────────────────────────────────────────────────────────────

    def _activation(self, block: Block) -> tuple[Setting, ...]:
        preserving, enabled = block.said("quantization_preserving"), block.said("enable_activation_quantization")
        if preserving.value:
            message = "`quantization_preserving`: outputs take the encodings of inputs, which is said as `off`"
            self.lost(LossKind.PLACEMENT, "preserving", message, preserving, "enabled")
            enabled = Said(False, preserving.span, preserving.pointer)
        if (simd := block.values.get("simd_size")) is not None:
            self.lost(LossKind.DROPPED, "simd", "no rule says `simd_size`", simd)
        method, bits, signedness = (
            block.said(key) for key in ("activation_quantization_method", "activation_n_bits", "signedness")
        )
        self._table(method)
        even = method.value != mct.UNIFORM
        auto = signedness.value == mct.AUTO
        signed = signedness.value == mct.SIGNED or (auto and even)
        settings = [
            _setting("enabled", enabled.value, enabled),
            _setting("type", "int", method),
            *self._bits(bits),
            _setting("symmetric", even, method),
            _setting("signed", signed, signedness),
            _setting("unsigned_symmetric", auto and even, signedness),
            _setting("scale", "pow2" if method.value in _POW2 else "float", method),
            _setting("per_channel", False, method),
            _setting("narrow_range", False, method),
        ]
        if not enabled.value:
            return tuple(settings)
        return (*settings, *self._range(block, int(bits.value or 8), signed=signedness.value != mct.UNSIGNED))

    def _range(self, block: Block, bits: int, *, signed: bool) -> Iterator[Setting]:
        scale, zero = block.values.get("fixed_scale"), block.values.get("fixed_zero_point")
        if scale is None and zero is None:
            return
        said = scale or zero
        assert said is not None
        low, high = bounds(float((scale and scale.value) or 0), int((zero and zero.value) or 0), bits, signed=signed)
        if scale is None or zero is None or not low < high or not math.isfinite(low) or not math.isfinite(high):
            message = "a fixed range needs both `fixed_scale`, above 0, and `fixed_zero_point`"
            self.lost(LossKind.CONSTRAINT, "fixed", message, said, "range")
            return
        yield _setting("range", (low, high), scale)

    def _weight(self, block: Block) -> Iterator[Setting]:
        enabled = block.said("enable_weights_quantization", default=False)
        method = block.said("weights_quantization_method", mct.POW2)
        bits = block.said("weights_n_bits", 32)
        self._table(method)
        if (lut := block.values.get("lut_values_bitwidth")) is not None:
            self.lost(LossKind.DROPPED, "lut", "no rule says `lut_values_bitwidth`", lut)
        even = method.value != mct.UNIFORM
        yield _setting("enabled", enabled.value, enabled)
        yield _setting("type", "int", method)
        yield from self._bits(bits)
        yield _setting("symmetric", even, method)
        yield _setting("signed", even, method)
        yield _setting("unsigned_symmetric", False, method)
        yield _setting("scale", "pow2" if method.value in _POW2 else "float", method)
        per_channel = block.said("weights_per_channel_threshold", default=False)
        yield _setting("per_channel", per_channel.value, per_channel)
        yield _setting("narrow_range", False, method)

    def _bits(self, bits: Said) -> Iterator[Setting]:
        if bits.value is not None and 2 <= bits.value <= 32:
            yield _setting("bits", bits.value, bits)
        else:
            message = f"no tensor has {bits.value} bits here, which is left out"
            self.lost(LossKind.DTYPE, f"bits{bits.value}", message, bits, "bits")

    def _table(self, method: Said) -> None:
        if method.value in _LUT:
            message = "no type is a table of values: quantization by look-up is said as that without"
            self.lost(LossKind.DTYPE, "table", message, method, "type")

    def _kernels(self, options: Options) -> Clause:
        choices = options.choices
        span, pointer = choices[0].activation.span, choices[0].activation.pointer.rpartition("/")[0]
        base = options.base
        with_weights = mct.KERNEL in base.attributes
        pairs = tuple(dict.fromkeys(_precisions(choice, with_weights) for choice in choices))
        for choice in choices:
            if _rest(choice) != _rest(base):
                message = "the configurations to choose from differ in more than widths, and only these are said"
                place = Said(None, choice.activation.span, choice.activation.pointer)
                self.lost(LossKind.CONSTRAINT, f"kernels{pointer}", message, place, "kernels")
        return Clause((), (Setting("kernels", pairs, span, pointer),), span)


def _precisions(choice: Quantization, with_weights: bool) -> tuple[str, ...]:
    act = f"int{choice.activation.said('activation_n_bits').value}"
    return (act, f"int{choice.kernel.said('weights_n_bits', 32).value}") if with_weights else (act,)


_WIDTHS = ("activation_n_bits", "simd_size", "weights_n_bits", "lut_values_bitwidth")


def _rest(choice: Quantization) -> object:
    """Return what a configuration says besides widths."""
    blocks: Mapping[str, Block] = {"": choice.activation, **choice.attributes}
    return {
        (name, key): said.value
        for name, block in blocks.items()
        for key, said in block.values.items()
        if key not in _WIDTHS
    }


def _setting(name: str, value: Value, said: Said) -> Setting:
    return Setting(name, value, said.span, said.pointer)


def _off(block: Block) -> Setting:
    return Setting("enabled", False, block.span, block.pointer)


def all_widths(options: Iterator[Options]) -> tuple[int, ...]:
    """Return the widths that base configurations give activations, sorted."""
    bits = (found.base.activation.said("activation_n_bits").value for found in options)
    return tuple(sorted({int(width) for width in bits if width is not None}))
