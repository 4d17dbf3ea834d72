"""The quantization configurations of a TPC file as located values: what the file says, before what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, plain

POW2, LUT_POW2, SYMMETRIC, UNIFORM, LUT_SYMMETRIC = range(5)
AUTO, SIGNED, UNSIGNED = range(3)
KERNEL, BIAS = "kernel_attr", "bias_attr"

_ATTRIBUTE: Mapping[str, type[int | float | bool]] = {
    "weights_quantization_method": int,
    "weights_n_bits": int,
    "weights_per_channel_threshold": bool,
    "enable_weights_quantization": bool,
    "lut_values_bitwidth": int,
}
_CONFIG: Mapping[str, type[int | float | bool]] = {
    "activation_quantization_method": int,
    "activation_n_bits": int,
    "enable_activation_quantization": bool,
    "quantization_preserving": bool,
    "signedness": int,
    "fixed_scale": float,
    "fixed_zero_point": int,
    "simd_size": int,
}
_WEIGHTS = ("default_weight_attr_config", "attr_weights_configs_mapping")
_INPUTS = "supported_input_activation_n_bits"
_MAY_BE_NULL = ("lut_values_bitwidth", "fixed_scale", "fixed_zero_point", "simd_size")
_BOUNDS = {
    "weights_quantization_method": (POW2, LUT_SYMMETRIC),
    "activation_quantization_method": (POW2, LUT_SYMMETRIC),
    "signedness": (AUTO, UNSIGNED),
    "weights_n_bits": (1, 64),
    "activation_n_bits": (1, 64),
}

Value = int | float | bool | None


@dataclass(frozen=True, slots=True)
class Said:
    """A value, and where it stands."""

    value: Value
    span: Span
    pointer: str


@dataclass(frozen=True, slots=True)
class Block:
    """Values by key, and where the block stands that they are said in; a key that is left out has its default."""

    values: Mapping[str, Said]
    span: Span
    pointer: str

    def said(self, key: str, default: Value = None) -> Said:
        return self.values.get(key) or Said(default, self.span, self.pointer)


@dataclass(frozen=True, slots=True)
class Quantization:
    """How an operator is quantized: its output, its weights by attribute, and the widths that its inputs may have."""

    activation: Block
    weights: Block
    attributes: Mapping[str, Block]
    inputs: tuple[int, ...]
    inputs_span: Span

    @property
    def kernel(self) -> Block:
        return self.attributes.get(KERNEL, self.weights)

    @property
    def bias(self) -> Block:
        return self.attributes.get(BIAS, self.weights)


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may have: `base`, which it gets, and all choices, `base` among them."""

    base: Quantization
    choices: tuple[Quantization, ...]


class Values:
    """Reads options and what is in them; everything wrong is reported."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def options(self, value: Json, where: str, pointer: str) -> Options | None:
        """Return the options of one operator set, None if they cannot be read."""
        if not isinstance(value, Object):
            self.findings.wrong(value, f"`{where}`", "an object", pointer)
            return None
        found = self.members(value, ("quantization_configurations", "base_config"), where, pointer)
        listed = found.get("quantization_configurations")
        if listed is None or not isinstance(listed.value, Array) or not listed.value.items:
            place = value if listed is None else listed.value
            self.findings.bad("`quantization_configurations` needs at least one configuration", place.span, pointer)
            return None
        at = below(pointer, "quantization_configurations")
        items = listed.value.items
        choices = [self.quantization(item, below(at, index)) for index, item in enumerate(items)]
        base = found.get("base_config")
        if base is None or plain(base.value) is None:
            if len(items) > 1:
                self.findings.bad("`base_config` says which of several configurations is used", value.span, pointer)
                return None
            chosen = choices[0]
        else:
            chosen = self.quantization(base.value, below(pointer, "base_config"))
            if plain(base.value) not in [plain(item) for item in items]:
                message = "`base_config` must be one of the `quantization_configurations`"
                self.findings.bad(message, base.value.span, below(pointer, "base_config"))
                return None
        sound = tuple(choice for choice in choices if choice is not None)
        return None if chosen is None or len(sound) < len(choices) else Options(chosen, sound)

    def quantization(self, value: Json, pointer: str) -> Quantization | None:
        where = "a quantization configuration"
        if not isinstance(value, Object):
            self.findings.wrong(value, where, "an object", pointer)
            return None
        found = self.members(value, (*_WEIGHTS, _INPUTS, *_CONFIG), where, pointer)
        required = (*_WEIGHTS, _INPUTS, *(key for key in _CONFIG if key not in _MAY_BE_NULL))
        if missing := [key for key in required if key not in found]:
            listed = ", ".join(f"`{key}`" for key in missing)
            self.findings.bad(f"{where} needs {listed}", value.span, pointer)
            return None
        activation = self._block(value, found, _CONFIG, pointer)
        weights = self._attribute(found[_WEIGHTS[0]].value, below(pointer, _WEIGHTS[0]))
        attributes = self._attributes(found[_WEIGHTS[1]].value, below(pointer, _WEIGHTS[1]))
        inputs = self._inputs(found[_INPUTS].value, below(pointer, _INPUTS))
        if activation is None or weights is None or attributes is None or inputs is None:
            return None
        return Quantization(activation, weights, attributes, inputs, found[_INPUTS].value.span)

    def members(self, value: Object, known: tuple[str, ...], where: str, pointer: str) -> Mapping[str, Member]:
        """Return the members of an object by key; what MCT does not know it ignores."""
        found = members(value)
        for member in found.values():
            if member.key not in known:
                self.findings.unknown(member, known, where, below(pointer, member.key), refused=False)
        return found

    # ── parts ────────────────────────────────────────────────────────────────────────────────

    def _attributes(self, value: Json, pointer: str) -> Mapping[str, Block] | None:
        if not isinstance(value, Object):
            self.findings.wrong(value, f"`{_WEIGHTS[1]}`", "an object of attributes", pointer)
            return None
        read = {name: self._attribute(m.value, below(pointer, name)) for name, m in members(value).items()}
        sound = {name: block for name, block in read.items() if block is not None}
        return sound if len(sound) == len(read) else None

    def _attribute(self, value: Json, pointer: str) -> Block | None:
        where = "the configuration of an attribute"
        if not isinstance(value, Object):
            self.findings.wrong(value, where, "an object", pointer)
            return None
        found = self.members(value, tuple(_ATTRIBUTE), where, pointer)
        return self._block(value, found, _ATTRIBUTE, pointer)

    def _block(
        self, value: Object, found: Mapping[str, Member], types: Mapping[str, type[int | float | bool]], pointer: str
    ) -> Block | None:
        values: dict[str, Said] = {}
        sound = True
        for key, wanted in types.items():
            if key not in found:
                continue
            said, at = found[key].value, below(pointer, key)
            scalar = said.value if isinstance(said, Scalar) else ""
            if scalar is None and key in _MAY_BE_NULL:
                continue
            if not _is(scalar, wanted):
                expected = {int: "an integer", float: "a number", bool: "true or false"}[wanted]
                self.findings.wrong(said, f"`{key}`", expected, at)
                sound = False
                continue
            assert isinstance(scalar, int | float)
            low, high = _BOUNDS.get(key, (scalar, scalar))
            if not low <= scalar <= high:
                self.findings.bad(f"`{key}` cannot be {scalar}", said.span, at, f"write {low} to {high}")
                sound = False
            values[key] = Said(scalar, said.span, at)
        return Block(values, value.span, pointer) if sound else None

    def _inputs(self, value: Json, pointer: str) -> tuple[int, ...] | None:
        items = value.items if isinstance(value, Array) else (value,)
        widths = [item.value if isinstance(item, Scalar) else None for item in items]
        found = tuple(width for width in widths if isinstance(width, int) and not isinstance(width, bool))
        if not found or len(found) < len(widths):
            self.findings.wrong(value, f"`{_INPUTS}`", "a number of bits, or an array of them", pointer)
            return None
        return found


def _is(value: object, wanted: type) -> bool:
    if wanted is bool or isinstance(value, bool):
        return wanted is bool and isinstance(value, bool)
    return isinstance(value, int) or (wanted is float and isinstance(value, float))
