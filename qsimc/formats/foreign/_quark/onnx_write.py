"""Write Quark's configuration for ONNX models.

One entry says how all activations and all weights are quantized, and where ranges come from.  Entries for types and for
nodes change the data type and the symmetry of tensors, nothing else; what is off is excluded, node by node.
"""

from __future__ import annotations

from qsimc.formats.foreign import _shared
from qsimc.formats.foreign._names import regex_of_glob
from qsimc.formats.foreign._quark.layers import Layer, Layers, layers, lose_overlaps, unrolled
from qsimc.formats.foreign._quark.losses import Losses
from qsimc.formats.foreign._quark.onnx_tensors import FIELDS, TOOL, Tensors
from qsimc.formats.foreign._quark.words import Said, quantized, value, words
from qsimc.formats.foreign._shared import Plain
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.levels import Level
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import ROLES, Boundary, NodeName, alternatives, chains, show

_KEYS = {"input": "input_tensors", "weight": "weight", "bias": "bias", "output": "output_tensors"}
_WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")
_STATEFUL = frozenset(
    {*_WEIGHTED, "LSTM", "GRU", "RNN", "PRelu", "BatchNormalization", "InstanceNormalization", "LayerNormalization"}
)
_FUSED = frozenset({("Conv", "Relu"), ("Conv", "Clip")})
_ALL = "^.*$"
_BIASES = f"{TOOL} quantizes all biases, or none: {{}} is dropped"


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of a configuration of Quark for ONNX models."""
    losses = Losses(config, lose, graph)
    writer = _Writer(losses, layers(unrolled(config, losses, None, TOOL)))
    document = writer.document()
    algorithms = _algorithms(config, lose)
    writer.boundary()
    _fusions(config, lose)
    _shared.lose_restrictions(config, lose, TOOL)
    return _shared.text({**document, "algo_config": algorithms})


def _algorithms(config: Config, lose: Lose) -> list[Plain]:
    """Return the algorithms that options of the source stand for."""
    cle, bias = config.option("include_cle"), config.option("include_bias_corr")
    if bias is not None and bias.value is True:
        message = f"the bias correction of {TOOL} 0.13 ends in an error: the option `include_bias_corr` is dropped"
        lose(Loss(LossKind.OPTION, message, bias.span))
    _shared.lose_options(config, lose, TOOL, "include_cle", "include_bias_corr")
    return [{"name": "cle"}] if cle is not None and cle.value is True else []


def _fusions(config: Config, lose: Lose) -> None:
    for fusion in config.fusions:
        if not set(chains(fusion.chain)) <= _FUSED:
            message = f"{TOOL} knows its fusions itself: `{show(fusion.chain)}` is dropped"
            lose(Loss(LossKind.SUPERGROUP, message, fusion.span))


class _Writer:
    def __init__(self, losses: Losses, config: Layers) -> None:
        self.losses = losses
        self.tensors = Tensors(losses)
        self.config = config
        lose_overlaps(config, losses, TOOL)
        self.on = [op for op in config.types if any(quantized(config.of_type(op)[role]) for role in ROLES)]
        self.general, self.some = self._general()
        self.nothing = not any(quantized(self.general[role]) for role in ROLES)
        self.act = "output" if quantized(self.general["output"]) else "input"
        self.weights_only = not quantized(self.general[self.act]) and quantized(self.general["weight"])
        self.biases = quantized(self.general["bias"]) and not self.weights_only
        self.channels = self._channels()
        self.scale = self.tensors.scale(self.general[self.act])
        self.calib = {"output": self.tensors.calib("output", self.general[self.act], self.scale)}
        self.calib["weight"] = self._weight_calib()

    def _general(self) -> tuple[Layer, bool]:
        """Return what holds for everything, else for the first type; and whether only some types are quantized."""
        general = self.config.of_type("")
        if any(quantized(general[role]) for role in ("input", "output", "weight")) or not self.on:
            return general, False
        return self.config.of_type(self.on[0]), True

    def document(self) -> dict[str, Plain]:
        general = self._global()
        exclude: list[Plain] = []
        types = self._types(general)
        names = self._names(general, exclude)
        options = self._options()
        if self.nothing:
            exclude = [_ALL]
        return {
            "global_config": general,
            "specific_layer_config": names,
            "layer_type_config": types,
            "exclude": exclude,
            "use_external_data_format": False,
            "extra_options": options,
        }

    # ── the whole model ──────────────────────────────────────────────────────────────────────

    def _global(self) -> dict[str, Plain]:
        activation = self._spec("output", self.general[self.act])
        both = quantized(self.general["input"]) and quantized(self.general["output"])
        if both and self._spec("input", self.general["input"]) != activation:
            self._differs("input", "output")
        if not quantized(self.general["weight"]) and quantized(self.general[self.act]):
            said = self.general["weight"].get("enabled")
            message = f"{TOOL} quantizes weights where it quantizes activations"
            if said is not None:
                self.losses.setting(said, f"{message}: {{}} is dropped")
            else:
                self.losses.default("weight.enabled", message)
        return {"input_tensors": activation, "weight": self._spec("weight", self.general["weight"])}

    def _differs(self, role: str, other: str) -> None:
        for field in ("type", "bits", "signed", "symmetric", *FIELDS):
            setting = self.general[role].get(field)
            if setting is not None and setting.value != value(self.general[other], field):
                self.losses.setting(setting, f"{TOOL} has one entry for all activations: {{}} is dropped")

    def _weight_calib(self) -> str:
        said, act = self.general["weight"], self.general[self.act]
        if not quantized(said):
            return self.calib["output"] if self.scale == "pow2" else "minmax"
        scale = "pow2" if value(said, "scale") == "pow2" else "float"
        if quantized(act) and scale != self.scale:
            self.losses.setting(said.get("scale"), f"{TOOL} gives weights the scales of activations: {{}} is dropped")
        elif not quantized(act):
            self.scale = self.tensors.scale(said)
        wanted = self.tensors.calib("weight", said, self.scale)
        if self.scale == "pow2" and quantized(act) and wanted != self.calib["output"]:
            message = f"{TOOL} finds powers of two alike for weights and activations: {{}} is dropped"
            self.losses.setting(said.get("calib"), message)
            return self.calib["output"]
        return wanted

    def _channels(self) -> bool:
        """Return whether weights have a scale for each channel: as Conv has, or all, or the first that says so."""
        types = [op for op in _WEIGHTED if op in self.config.types] or list(_WEIGHTED[:1])
        wanted = value(self.config.of_type(types[0])["weight"], "per_channel") is True
        for operator in types[1:]:
            said = self.config.of_type(operator)["weight"]
            if quantized(said) and (value(said, "per_channel") is True) != wanted:
                message = f"{TOOL} has scales per channel for all weights or for none: {{}} is dropped"
                self.losses.setting(said.get("per_channel"), message)
        return wanted

    def _options(self) -> dict[str, Plain]:
        act = self.general[self.act]
        options: dict[str, Plain] = (
            self.tensors.statistic(act, self.calib["output"], self.scale) if quantized(act) else {}
        )
        if self.weights_only:
            options["WeightsOnly"] = True
            if quantized(self.general["bias"]):
                self.losses.setting(self.general["bias"].get("enabled"), _BIASES, LossKind.BIAS)
        if self.some:
            options["OpTypesToQuantize"] = list(self.on)
        options["QuantizeBias"] = self.biases
        if self.biases:
            bits = words("onnx").dtypes[str(self._biases()["data_type"])].bits
            options["Int32Bias"] = bits == 32
            if bits == 16:
                options["Int16Bias"] = True
        outputs: list[Plain] = [op for op in self.config.types if self._output_off(op)]
        if outputs:
            options["OpTypesToExcludeOutputQuantization"] = outputs
        return options

    def _biases(self) -> dict[str, Plain]:
        """Return how biases are quantized that no entry speaks of: to symmetric, signed integers."""
        said = self.general["bias"]
        spec = self._spec("bias", said)
        dtype = words("onnx").dtypes[str(spec["data_type"])]
        message = f"{TOOL} quantizes biases to symmetric, signed integers: {{}} is dropped"
        if dtype.type != "int":
            self.losses.setting(said.get("type"), message, LossKind.BIAS)
            return {**self._spec("bias", {}), "data_type": "Int32"}
        if not dtype.signed:
            self.losses.setting(said.get("signed"), message)
        if not spec["symmetric"]:
            self.losses.setting(said.get("symmetric"), message)
        return {**spec, "data_type": f"Int{dtype.bits}", "symmetric": True}

    # ── types and names ──────────────────────────────────────────────────────────────────────

    def _types(self, general: dict[str, Plain]) -> list[Plain]:
        entries: dict[str, tuple[dict[str, Plain] | None, list[Plain]]] = {}
        for operator, level in self.config.types.items():
            layer = self.config.of_type(operator)
            if self._off(operator, layer):
                entry: dict[str, Plain] | None = None if not self.some else {}
            else:
                entry = self._entry(level, layer, general)
                self._partly(operator, layer)
            if entry != {}:
                entries.setdefault(repr(entry), (entry, []))[1].append(operator)
        return [[entry, operators] for entry, operators in entries.values()]

    def _names(self, general: dict[str, Plain], exclude: list[Plain]) -> list[Plain]:
        found: list[Plain] = []
        for level in self.config.named:
            assert isinstance(level.selector, NodeName)
            name = level.selector.pattern
            layer = self.config.of_name(name)
            word = _pattern(name) if level.selector.glob else name
            if not any(quantized(layer[role]) for role in ROLES):
                exclude.append(word)
                continue
            if self.some or self.nothing:
                for setting in (s for role in ROLES for f, s in level.own[role].items() if f == "enabled"):
                    self.losses.setting(setting, f"{TOOL} starts from types, and adds no names: {{}} is dropped")
                continue
            if entry := self._entry(level, layer, general):
                found.append([entry, [word]])
            for role in (role for role in ROLES if not quantized(layer[role])):
                self.losses.setting(
                    level.own[role].get("enabled"), f"{TOOL} excludes whole nodes only: {{}} is dropped"
                )
        return found

    def _entry(self, level: Level, layer: Layer, general: dict[str, Plain]) -> dict[str, Plain]:
        """Return the tensors of a type or a node that are not like all others; the rest of it is lost."""
        entry: dict[str, Plain] = {}
        for role, key in _KEYS.items():
            if not quantized(layer[role]) or not level.own[role]:
                continue
            if self.weights_only and role in ("input", "output"):
                message = f"{TOOL} quantizes weights only, or activations as well: {{}} is dropped"
                self.losses.setting(level.own[role].get("enabled"), message)
                continue
            for field in FIELDS if role != "bias" else ():
                setting = level.own[role].get(field)
                usual = value(self.general[role if role == "weight" else self.act], field)
                if setting is not None and setting.value != usual:
                    self.losses.setting(setting, f"{TOOL} says it for a whole model: {{}} is dropped")
            spec = self._spec(role, layer[role])
            alike = general["weight"] if role == "weight" else general["input_tensors"]
            if role == "bias":
                if not self.biases:
                    self.losses.setting(level.own[role].get("enabled"), _BIASES, LossKind.BIAS)
                    continue
                alike = self._biases()
            if spec != alike:
                entry[key] = spec
        return entry

    def _off(self, operator: str, layer: Layer) -> bool:
        placed = [quantized(layer[role]) for role in ("input", "output")]
        weight = operator in _STATEFUL and quantized(layer["weight"])
        return not any(placed) and not weight and (self.some or any(quantized(self.general[r]) for r in ROLES))

    def _output_off(self, operator: str) -> bool:
        layer = self.config.of_type(operator)
        on = quantized(self.general["output"]) and not self.some
        return on and not quantized(layer["output"]) and not self._off(operator, layer)

    def _partly(self, operator: str, layer: Layer) -> None:
        """Lose that one tensor of an operator is off while others are not."""
        for role in ROLES:
            said = layer[role].get("enabled")
            if said is None or said.value is not False or not quantized(self.general[role]):
                continue
            if role == "bias":
                self.losses.setting(said, _BIASES, LossKind.BIAS)
            elif role == "output":
                message = (
                    f"{TOOL} quantizes what {operator} gives where a quantized operator reads it: {{}} may be dropped"
                )
                self.losses.setting(said, message)
            elif role == "weight" and operator in _STATEFUL:
                self.losses.setting(said, f"{TOOL} excludes whole operators only: {{}} is dropped")

    def _spec(self, role: str, said: Said) -> dict[str, Plain]:
        calib = self.calib["weight" if role == "weight" else "output"]
        if role == "bias":
            calib = "minmax"
        return self.tensors.write(role, said, calib, self.scale, self.channels and role == "weight")

    def boundary(self) -> None:
        """Lose what is said of the model's inputs and outputs, but that they are quantized as other tensors are."""
        on = quantized(self.general[self.act])
        for rule in self.losses.config.rules:
            if any(isinstance(choice, Boundary) for choice in alternatives(rule.selector)):
                for setting in (s for clause in rule.clauses for s in clause.settings):
                    if setting.field != "enabled" or setting.value is not on:
                        message = f"{TOOL} treats a model's inputs and outputs as other tensors: {{}} is dropped"
                        self.losses.setting(setting, message)


def _pattern(glob: str) -> str:
    """Return a glob as Quark's regular expressions: they begin with `^`, and have `.*` somewhere."""
    regex = regex_of_glob(glob)
    return f"^{regex}$" if ".*" in regex else f"^(?=.*){regex}$"
