"""AMD Quark's quantization configuration for PyTorch models, as its `QConfig` writes and loads it.

Quark replaces Conv2d, ConvTranspose2d and Linear, and quantizes nothing else: what its global entry says is said of
those operators here.  A layer has one entry, and inherits nothing from the others: every rule names all tensors.
Source: amd-quark 0.13, quark/torch/quantization/config/config.py and model_transformation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from qsimc.diagnostics import Report
from qsimc.formats.foreign._quark.read_tensor import TensorReader
from qsimc.formats.foreign._quark.write import write as write
from qsimc.formats.foreign._shared import Findings, below, members, whole
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, Everything, NodeName, OpType, Selector
from qsimc.source import Source, Span
from qsimc.spec.operator_words import operator_words
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind, plain

TITLE = "AMD Quark, PyTorch"
SUFFIX = ".json"

_REQUIRED = ("global_quant_config", "layer_type_quant_config", "layer_quant_config", "exclude")
_KEYS = (
    *_REQUIRED, "algo_config", "softmax_quant_spec", "quant_method", "kv_cache_quant_config", "kv_cache_post_rope",
    "quant_mode", "version",
)  # fmt: skip
_ROLES = {"input_tensors": "input", "output_tensors": "output", "weight": "weight", "bias": "bias"}
_MODES = ("eager_mode", "fx_graph_mode")
_META = frozenset("*?[")


def recognises(document: Json) -> bool:
    """Say whether a document is such a configuration."""
    return isinstance(document, Object) and "global_quant_config" in members(document)


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says; what the neutral vocabulary has no words for is reported."""
    reader = _Reader(Findings("Quark", report))
    rules: list[Rule] = []
    if isinstance(document, Object):
        rules = reader.rules(document)
    else:
        reader.findings.wrong(document, "the whole file", "an object", "")
    return Config(source=source, dialect="onnx", format="quark", rules=tuple(rules))


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.tensors = TensorReader(findings)

    def rules(self, document: Object) -> list[Rule]:
        found = members(document)
        for key in _REQUIRED:
            if key not in found:
                self.findings.bad(f"`{key}` is missing", document.span, "", f"add `{key}`; it may be empty")
        self._others(found)
        graph_mode = self._mode(found)
        rules = []
        if "global_quant_config" in found:
            # An entry for a type stands alone, so the global one is that of the other types.
            typed = {member.key for member in self._section(found, "layer_type_quant_config")}
            others = tuple(op for op, (word, *_) in operator_words("quark").of.items() if word not in typed)
            selector: Selector = Everything() if graph_mode else _any(others)
            entry = self._layer(selector, others, found["global_quant_config"], "/global_quant_config")
            rules += entry if graph_mode or others else []
        for member in self._section(found, "layer_type_quant_config"):
            rules += self._type(member)
        excluded = self._excluded(found)
        names = [rule for member in self._section(found, "layer_quant_config") for rule in self._name(member, excluded)]
        # The first pattern that fits counts, where in a configuration of ours the last one does.
        globs = [rule for rule in names if isinstance(rule.selector, NodeName) and rule.selector.glob]
        exact = [rule for rule in names if rule not in globs]
        return [*rules, *reversed(globs), *exact, *excluded]

    # ── layers ───────────────────────────────────────────────────────────────────────────────

    def _section(self, found: Mapping[str, Member], key: str) -> list[Member]:
        member = found.get(key)
        if member is None or member.value == Scalar(None, member.value.span):
            return []
        if not isinstance(member.value, Object):
            self.findings.wrong(member.value, f"`{key}`", "an object", f"/{key}")
            return []
        return list(members(member.value).values())

    def _type(self, member: Member) -> list[Rule]:
        operators = operator_words("quark").meant.get(member.key)
        pointer = below("/layer_type_quant_config", member.key)
        if operators is None:
            words = tuple(operator_words("quark").meant)
            self.findings.unknown(member, words, "`layer_type_quant_config`", pointer, refused=True)
            return []
        return self._layer(_any(operators), operators, member, pointer)

    def _name(self, member: Member, excluded: list[Rule]) -> list[Rule]:
        selector = _named(member.key)
        if not selector.glob and any(_fits(rule, member.key) for rule in excluded):
            message = f"`{member.key}` is excluded: its entry changes nothing"
            pointer = below("/layer_quant_config", member.key)
            self.findings.lost(LossKind.PRECEDENCE, message, member.key_span, pointer)
            return []
        return self._layer(selector, (), member, below("/layer_quant_config", member.key))

    def _layer(self, selector: Selector, operators: tuple[str, ...], member: Member, pointer: str) -> list[Rule]:
        if not isinstance(member.value, Object):
            self.findings.wrong(member.value, f"the entry of `{member.key}`", "an object", pointer)
            return []
        found = members(member.value)
        clauses = []
        for key, role in _ROLES.items():
            if key not in found:
                message = f"`{key}` is missing from the entry of `{member.key}`"
                self.findings.bad(message, member.value.span, pointer, f"add `{key}`; null means not quantized")
                continue
            value = found[key].value
            settings = self.tensors.read(role, operators, value, below(pointer, key))
            clauses.append(Clause((role,), tuple(settings), whole(found[key])))
        for key, inner in found.items():
            if key not in (*_ROLES, "target_device"):
                where = f"the entry of `{member.key}`"
                known = (*_ROLES, "target_device")
                self.findings.unknown(inner, known, where, below(pointer, key), refused=False)
        device = found.get("target_device")
        if device is not None and device.value != Scalar(None, device.value.span):
            message = "there is no word for the device of a layer"
            self.findings.lost(LossKind.OPTION, message, device.value.span, below(pointer, "target_device"))
        return [Rule(selector, tuple(clauses), whole(member), member.key_span)]

    def _excluded(self, found: Mapping[str, Member]) -> list[Rule]:
        member = found.get("exclude")
        if member is None or member.value == Scalar(None, member.value.span):
            return []
        if not isinstance(member.value, Array):
            self.findings.wrong(member.value, "`exclude`", "an array", "/exclude")
            return []
        rules = []
        for index, item in enumerate(member.value.items):
            match item:
                case Scalar(str() as name, span):
                    off = _off(span, below("/exclude", index))
                    rules.append(Rule(_named(name), (off,), span, span))
                case _:
                    message = f"a layer is excluded by its name, found {kind(item)}"
                    self.findings.bad(message, item.span, below("/exclude", index))
        return rules

    # ── the rest ─────────────────────────────────────────────────────────────────────────────

    def _mode(self, found: Mapping[str, Member]) -> bool:
        member = found.get("quant_mode")
        mode = "eager_mode" if member is None else plain(member.value)
        if member is not None and mode not in _MODES:
            help_ = "modes: `eager_mode`, `fx_graph_mode`"
            self.findings.bad("no mode of Quark is called so", member.value.span, "/quant_mode", help_)
        return mode == "fx_graph_mode"

    def _others(self, found: Mapping[str, Member]) -> None:
        """Report what else is there; what is empty says nothing."""
        for key, member in found.items():
            empty = not plain(member.value)
            if key in ("quant_method", "version", "quant_mode", *_REQUIRED) or (empty and key in _KEYS):
                continue
            span, pointer = member.value.span, below("", key)
            if key == "algo_config":
                self.findings.lost(
                    LossKind.OPTION, f"there are no words for algorithms: {_algorithms(member)}", span, pointer
                )
            elif key in ("kv_cache_quant_config", "softmax_quant_spec", "kv_cache_post_rope"):
                message = f"there are no words for `{key}`: it speaks of tensors inside of attention"
                self.findings.lost(LossKind.PLACEMENT, message, span, pointer)
            else:
                self.findings.unknown(member, _KEYS, "the whole file", pointer, refused=False)


def _any(operators: tuple[str, ...]) -> Selector:
    return OpType(operators[0]) if len(operators) == 1 else AnyOf(tuple(map(OpType, operators)))


def _named(name: str) -> NodeName:
    return NodeName(name, glob=bool(_META & set(name)))


def _off(span: Span, pointer: str) -> Clause:
    return Clause((), (Setting("enabled", False, span, pointer),), span)


def _fits(rule: Rule, name: str) -> bool:
    selector = rule.selector
    assert isinstance(selector, NodeName)
    return fnmatchcase(name, selector.pattern) if selector.glob else name == selector.pattern


def _algorithms(member: Member) -> str:
    value = plain(member.value)
    entries = value if isinstance(value, list) else [value]
    names = [str(entry.get("name", "?")) for entry in entries if isinstance(entry, dict)]
    return ", ".join(f"`{name[:40]}`" for name in names) or "none is named"
