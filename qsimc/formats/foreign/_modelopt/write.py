"""Write a ModelOpt recipe: everything off, then all modules, classes, patterns of names, and names, each complete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from qsimc.formats.foreign._layers import Entry, Tool, entries, escaped, on, over
from qsimc.formats.foreign._modelopt.attributes import Attributes, attributes
from qsimc.formats.foreign._modelopt.names import ROLES, classes, facts
from qsimc.formats.foreign._shared import Once, lose_options, lose_restrictions, lost
from qsimc.graph import Graph
from qsimc.ir.config import Config, Setting
from qsimc.ir.levels import levels
from qsimc.ir.loss import Lose, LossKind
from qsimc.spec.operator_words import operator_words

ALGORITHMS = (
    "local_hessian", "smoothquant", "awq_lite", "awq_clip", "awq_full", "svdquant", "gptq",
    "nvfp4_act_headroom", "lsq",
)  # fmt: skip

Said = Mapping[str, Mapping[str, Setting]]


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of a recipe."""
    # Imported here: no other configuration needs PyYAML.
    import yaml

    lose = Once(lose)
    lose_options(config, lose, "ModelOpt", "algorithm")
    lose_restrictions(config, lose, "ModelOpt")
    tool = _tool()
    of_classes, of_names = entries(config, tool, lose, graph)
    general = over({}, levels(config)[0].own)
    _lose_bias([entry.said for entry in (*of_classes, *of_names)], lose)
    algorithm = _algorithm(config, [general, *(entry.said for entry in (*of_classes, *of_names))], lose)
    quantizers = [{"quantizer_name": "*", "enable": False}]
    base = {role: _rendered(role, general, "", lose) for role in ROLES}
    quantizers += [_entry(f"*{role}_quantizer", None, cfg) for role, cfg in base.items() if cfg is not None]
    rendered: dict[str, dict[str, Attributes | None]] = {}
    for entry in of_classes:
        rendered[entry.word] = {role: _rendered(role, entry.said, entry.word, lose) for role in _roles(entry.word)}
        quantizers += _of_class(entry, rendered[entry.word], base)
    touched = {role for role, cfg in base.items() if cfg is not None}
    touched |= {role for by_role in rendered.values() for role, cfg in by_role.items() if cfg is not None}
    for entry in of_names:
        for role in ROLES:
            cfg = _rendered(role, entry.said, entry.word, lose)
            if cfg is not None or role in touched:
                quantizers.append(_entry(f"{escaped(entry)}.{role}_quantizer", None, cfg))
            touched |= {role} if cfg is not None else set()
    recipe = {
        "metadata": {"recipe_type": "ptq", "description": "Translated by qsimc."},
        "quantize": {"algorithm": algorithm, "quant_cfg": quantizers},
    }
    text: str = yaml.dump(recipe, Dumper=_dumper(), sort_keys=False, default_flow_style=False, width=120)
    return text


@cache
def _tool() -> Tool:
    """Return the modules of ModelOpt: a word for the classes of each operator."""
    words: dict[str, tuple[str, ...]] = {}
    for operator in operator_words("modelopt").of:
        word = _word(operator)
        words[word] = (*words.get(word, ()), operator)
    return _Modules("ModelOpt", words)


class _Modules(Tool):
    """Too many classes to list in a message."""

    @property
    def layers(self) -> str:
        return "with weights, norms, LeakyReLU and pools"


def _word(operator: str) -> str:
    """Return what the classes of an operator have in common: `Conv` for `nn.Conv1d` and its like."""
    return re.sub(r"[123]d\Z", "", classes(operator)[0].removeprefix("nn."))


def _roles(word: str) -> tuple[str, ...]:
    weighted = any(operator in facts().weighted for operator in _tool().classes[word])
    return ROLES if weighted else ("input", "output")


def _rendered(role: str, said: Said, word: str, lose: Lose) -> Attributes | None:
    """Return the attributes of a tensor, None if it is left alone."""
    return attributes(role, said[role], 1 if word == "ConvTranspose" else 0, lose) if on(said[role]) else None


def _of_class(
    entry: Entry, own: Mapping[str, Attributes | None], base: Mapping[str, Attributes | None]
) -> Iterator[dict[str, object]]:
    """Yield entries where a class is not quantized as all modules are."""
    for role, cfg in own.items():
        if cfg != base[role]:
            for name in classes(_tool().classes[entry.word][0]):
                yield _entry(f"*{role}_quantizer", name, cfg)


def _entry(name: str, parent: str | None, cfg: Attributes | None) -> dict[str, object]:
    found: dict[str, object] = {"quantizer_name": name}
    if parent is not None:
        found["parent_class"] = parent
    return found | ({"enable": False} if cfg is None else {"cfg": dict(cfg)})


def _lose_bias(of_all: list[Said], lose: Lose) -> None:
    for said in of_all:
        enabled = said["bias"].get("enabled")
        if enabled is not None and enabled.value is True:
            lose(lost(enabled, "ModelOpt never quantizes a bias: `on` of biases is dropped", LossKind.BIAS))


def _algorithm(config: Config, of_all: list[Said], lose: Lose) -> str | dict[str, object]:
    """Return how ranges are found: ModelOpt looks for the least squared error of all weights, or of none."""
    own = config.option("algorithm")
    if own is not None and own.value in ALGORITHMS:
        return str(own.value)
    weights = [said["weight"].get("calib") for said in of_all if on(said["weight"])]
    some = [calib for calib in weights if calib is not None and calib.value == "mse"]
    if not some:
        return "max"
    for calib in weights:
        if calib is not None and calib.value != "mse":
            message = f"ModelOpt calibrates all weights alike: `calib={calib.value}` becomes `mse`"
            lose(lost(calib, message))
    return "mse"


@cache
def _dumper() -> type:
    """Return what writes plain values without anchors, and lists indented."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    return Dumper
