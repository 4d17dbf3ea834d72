"""Recipes of LiteRT's AI-Edge-Quantizer: entries by regular expression and operation, of which the last one wins.

    [{"regex": ".*", "operation": "CONV_2D", "algorithm_key": "min_max_uniform_quantize", "op_config": {...}}]

The regular expression is searched for in the names of an operation's outputs, which stand for its name.
Source: ai-edge-quantizer 0.10.0, its behaviour on accepted and refused recipes.
"""

from __future__ import annotations

from qsimc.diagnostics import Report
from qsimc.formats.foreign._litert.entries import entries as read_entries
from qsimc.formats.foreign._litert.read import rules
from qsimc.formats.foreign._litert.write import entries as written
from qsimc.formats.foreign._shared import Findings, Once, lose_options, lose_restrictions, text
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import show
from qsimc.source import Source
from qsimc.syntax.json import Array, Json, Object, Scalar

TITLE = "LiteRT (AI-Edge-Quantizer) recipe"
SUFFIX = ".json"

_POLICY = ("ops_per_config", "policy")


def recognises(document: Json) -> bool:
    """Say whether a document is a recipe, or one of the files beside it that are none."""
    if isinstance(document, Array):
        return any(
            isinstance(item, Object) and {"algorithm_key", "operation"} & {m.key for m in item.members}
            for item in document.items
        )
    return _is_policy(document) or _is_index(document)


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a recipe says; everything wrong with it is reported."""
    findings = Findings("LiteRT", report)
    if _is_policy(document):
        message = "this is a policy of LiteRT's quantizer: what operations may have, and no recipe of what they get"
        findings.bad(message, document.span, "", "give the recipe, a list of entries with `regex` and `operation`")
    elif _is_index(document):
        message = "this names the recipes of a LiteRT-LM model's parts, and is none itself"
        findings.bad(message, document.span, "", "give one of the recipes that it names")
    else:
        entries = read_entries(document, findings)
        return Config(source, "onnx", "litert", rules=rules(entries, findings))
    return Config(source, "onnx", "litert")


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return a recipe that the quantizer takes, as near to a configuration as it can be."""
    lose_options(config, lose, "LiteRT")
    for fusion in config.fusions:
        message = f"LiteRT fuses operations when a model is converted: `fuse {show(fusion.chain)}` is dropped"
        lose(Loss(LossKind.SUPERGROUP, message, fusion.span))
    lose_restrictions(config, lose, "LiteRT")
    return text(written(config, Once(lose), graph))


def _is_policy(document: Json) -> bool:
    keys = {m.key for m in document.members} if isinstance(document, Object) else set()
    return "configs" in keys and any(key in keys for key in _POLICY)


def _is_index(document: Json) -> bool:
    """Say whether a document maps parts of a model to files with recipes."""
    return isinstance(document, Object) and any(
        isinstance(m.value, Scalar) and isinstance(m.value.value, str) and m.value.value.endswith("_recipe.json")
        for m in document.members
    )
