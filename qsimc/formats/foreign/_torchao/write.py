"""Write how the layers of one class or name are quantized as a configuration of torchao."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._layers import Entry, on, subject
from qsimc.formats.foreign._leftovers import lose_rest
from qsimc.formats.foreign._shared import Once, Plain, lost, of
from qsimc.formats.foreign._torchao.read import TOOL, spec
from qsimc.ir.config import Setting, Value
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import show

_INT4_GROUPS = (32, 64, 128, 256)
_FLOATS = {"float8_e4m3": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}


def write_config(entry: Entry, lose: Once) -> dict[str, Plain] | None:
    """Return the configuration of an entry, None for layers that stay as they are."""
    output = entry.said["output"]
    if on(output) and (setting := _first(output)) is not None:
        message = f"{TOOL} does not quantize outputs: {of(setting, subject(entry))} is dropped"
        lose(lost(setting, message, LossKind.PLACEMENT))
    if not on(entry.said["weight"]):
        if on(entry.said["input"]) and (setting := _first(entry.said["input"])) is not None:
            message = f"{TOOL} quantizes no inputs without weights: {of(setting, subject(entry))} is dropped"
            lose(lost(setting, message, LossKind.PLACEMENT))
        return None
    weight = _Tensor(entry, "weight", entry.said["weight"], lose)
    family = weight.family()
    if family is None:
        return None
    source = _Tensor(entry, "input", entry.said["input"], lose) if on(entry.said["input"]) else None
    source = source if source is not None and source.family() is not None else None
    for tensor in (weight, source):
        if tensor is not None:
            tensor.lose_estimators()
            lose_rest(entry, tensor.said, TOOL, lose)
    if source is None:
        return weight.float_only() if family == "float" else weight.integer_only()
    return weight.float_with(source) if family == "float" else weight.integer_with(source)


def _first(said: Mapping[str, Setting]) -> Setting | None:
    return said.get("enabled") or next(iter(said.values()), None)


@dataclass(frozen=True, slots=True)
class _Tensor:
    entry: Entry
    role: str
    said: Mapping[str, Setting]
    lose: Once

    # ── configurations, of a weight ──────────────────────────────────────────────────────────

    def float_only(self) -> dict[str, Plain]:
        arguments: dict[str, Plain] = {"weight_dtype": self._dtype(), "granularity": self._granularity(row="PerRow")}
        return _config("Float8WeightOnlyConfig", arguments)

    def integer_only(self) -> dict[str, Plain]:
        bits, symmetric, group = self._bits(8), self._symmetric(True), self._group()
        if bits == 8 and symmetric:
            return _config("Int8WeightOnlyConfig", {"granularity": self._granularity(row="PerRow")})
        if bits == 4 and not symmetric and group in _INT4_GROUPS:
            return _config("Int4WeightOnlyConfig", {"group_size": group})
        return _config("IntxWeightOnlyConfig", self._intx("", bits, symmetric))

    def float_with(self, source: _Tensor) -> dict[str, Plain]:
        source.must_be("dynamic", True, "computes the scales of float8 inputs at run time", default=True)
        if source.family() == "int":
            source.substituted("type", "has inputs of the type of float8 weights")
        per_tensor = self._value("per_channel") is False and self._group() is None
        if self._group() is not None:
            self.substituted("per_group", "has no groups where inputs are float8, and one scale per channel is written")
        if source.value("per_channel") is not None and (source.value("per_channel") is False) != per_tensor:
            source.substituted("per_channel", "has one granularity for inputs and weights in float8: that of weights")
        granularity = _granularity("PerTensor") if per_tensor else _granularity("PerRow")
        arguments: dict[str, Plain] = {"activation_dtype": source.float_type(), "weight_dtype": self._dtype()}
        return _config("Float8DynamicActivationFloat8WeightConfig", {**arguments, "granularity": granularity})

    def integer_with(self, source: _Tensor) -> dict[str, Plain]:
        bits, group = self._bits(8), self._group()
        if source.family() == "float":
            if bits == 4 and group == 128 and self._symmetric(True):
                source.must_be("dynamic", True, "computes the scales of float8 inputs at run time", default=True)
                return _config("Float8DynamicActivationInt4WeightConfig", {})
            source.substituted("type", "has no float8 inputs with such weights, and int8 is written")
        source.must_be("bits", 8, "has integer inputs of 8 bits", default=8)
        mapping = _mapping(source.symmetric(default=False))
        if source.value("dynamic") is True:
            return self._dynamic(source, bits, mapping)
        self.must_be("bits", 8, "has weights of 8 bits where inputs are static", default=8)
        self.must_be("symmetric", True, "has symmetric weights where inputs are static", default=True)
        if group is not None:
            self.substituted("per_group", "has no groups where inputs are static, and one scale per channel is written")
        of_input = source.granularity_of_input()
        granularity: Plain = [of_input, self._granularity(row="PerRow", groups=False)]
        arguments: dict[str, Plain] = {"granularity": granularity, "act_mapping_type": mapping}
        return _config("Int8StaticActivationInt8WeightConfig", arguments)

    def _dynamic(self, source: _Tensor, bits: int, mapping: Plain) -> dict[str, Plain]:
        if bits == 8 and self._symmetric(True) and self._group() is None:
            granularity: Plain = [source.granularity_of_input(), self._granularity(row="PerRow")]
            arguments: dict[str, Plain] = {"granularity": granularity, "act_mapping_type": mapping}
            return _config("Int8DynamicActivationInt8WeightConfig", arguments)
        if source.value("per_channel") is False:
            source.substituted("per_channel", "has a scale per token with such weights")
        arguments = {**self._intx("weight_", bits, self._symmetric(True)), "act_mapping_type": mapping}
        return _config("Int8DynamicActivationIntxWeightConfig", arguments)

    def _intx(self, prefix: str, bits: int, symmetric: bool) -> dict[str, Plain]:
        if self._value("per_channel") is False and self._group() is None:
            self.substituted("per_channel", f"has one scale per channel for {bits} bits of this symmetry")
        group = self._group()
        granularity = _granularity("PerAxis", axis=0) if group is None else _granularity("PerGroup", group_size=group)
        dtype: Plain = {"_type": "torch.dtype", "_data": f"int{bits}"}
        mapping = _mapping(symmetric)
        return {"weight_dtype": dtype, f"{prefix}granularity": granularity, f"{prefix}mapping_type": mapping}

    # ── parts ────────────────────────────────────────────────────────────────────────────────

    def family(self) -> str | None:
        """Return `int` or `float`; None for a float that is no quantization."""
        word, bits = str(self._value("type") or "int"), self._value("bits")
        if word == "int" or word in _FLOATS:
            return "int" if word == "int" else "float"
        if word == "float" and bits == 8:
            return "float"
        if word == "float4_e2m1":
            self.substituted("type", "has no floats of 4 bits here, and 8 are written")
            return "float"
        self.substituted("type", "leaves floats of this width as they are")
        return None

    def float_type(self) -> Plain:
        """Return the type of a float, e4m3 where it is none."""
        return self._dtype()

    def symmetric(self, *, default: bool) -> bool:
        """Return the symmetry, reported where nobody said it."""
        return self._symmetric(default)

    def value(self, field: str) -> Value:
        """Return what is said of a field, None if nobody said anything."""
        return self._value(field)

    def granularity_of_input(self) -> Plain:
        """Return the granularity of an input: one scale, or one per token."""
        per_channel = self._value("per_channel")
        if self._group() is not None:
            self.substituted("per_group", "has no groups of inputs")
        elif per_channel is True:
            self.substituted("per_channel", "has no scales per channel of inputs")
        elif per_channel is None:
            self._defaulted("per_channel", "a scale per token" if self._value("dynamic") is True else "one scale")
            return _granularity("PerRow", dim=-1) if self._value("dynamic") is True else _granularity("PerTensor")
        return _granularity("PerTensor")

    def must_be(self, field: str, wanted: Value, why: str, *, default: Value) -> None:
        """Lose a field that says something else than what the tool has."""
        value = self._value(field)
        if value is None:
            if field == "bits":
                self._defaulted(field, str(default))
        elif value != wanted:
            self.substituted(field, why)

    def substituted(self, field: str, why: str) -> None:
        """Lose a field, for which the tool has something else."""
        setting = self.said.get(field) or _first(self.said)
        if setting is not None:
            self.lose(lost(setting, f"{TOOL} {why}: {of(setting, subject(self.entry))} is changed"))

    def lose_estimators(self) -> None:
        """Lose the estimator of a range: the tool takes the extremes."""
        calib = self._value("calib")
        if calib is not None and calib != "minmax":
            self.substituted("calib", "has no estimators of ranges, and takes the extremes")

    def _dtype(self) -> Plain:
        word = str(self._value("type"))
        return {"_type": "torch.dtype", "_data": _FLOATS.get(word, "float8_e4m3fn")}

    def _granularity(self, row: str, *, groups: bool = True) -> Plain:
        group = self._group()
        if group is not None and groups:
            return _granularity("PerGroup", group_size=group)
        if group is None and self._value("per_channel") is None:
            self._defaulted("per_channel", "one scale per channel")
        if self._value("per_channel") is False and group is None:
            return _granularity("PerTensor")
        return _granularity(row, dim=-1)

    def _bits(self, default: int) -> int:
        bits = self._integer("bits")
        if bits is None:
            self._defaulted("bits", f"{default} bits")
            return default
        if not 2 <= bits <= 8:
            self.substituted("bits", "has integers of at most 8 bits")
            return 8
        return bits

    def _symmetric(self, default: bool) -> bool:
        value = self._value("symmetric")
        if value is None:
            self._defaulted("symmetric", f"`{'symmetric' if default else 'asymmetric'}`")
            return default
        return value is True

    def _group(self) -> int | None:
        return self._integer("per_group")

    def _integer(self, field: str) -> int | None:
        value = self._value(field)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _value(self, field: str) -> Value:
        setting = self.said.get(field)
        return None if setting is None else setting.value

    def _defaulted(self, field: str, what: str) -> None:
        setting = _first(self.said)
        whose = f"the {self.role} of {show(subject(self.entry))}"
        message = f"nobody said the {field.replace('_', ' ')} of {whose}: {what} is written"
        self.lose(Loss(LossKind.DEFAULTED, message, setting.span if setting else None, fields=(field,)))


def _config(name: str, arguments: Mapping[str, Plain]) -> dict[str, Plain]:
    return {"_type": name, "_version": spec()["configs"][name]["version"], "_data": dict(arguments)}


def _granularity(name: str, **arguments: int) -> dict[str, Plain]:
    return {"_type": name, "_version": 1, "_data": dict(arguments)}


def _mapping(symmetric: bool) -> dict[str, Plain]:
    return {"_type": "MappingType", "_data": "SYMMETRIC" if symmetric else "ASYMMETRIC"}
