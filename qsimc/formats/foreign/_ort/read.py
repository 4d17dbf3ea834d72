"""Reading ONNX Runtime's settings: rules of operator types and nodes, in the order in which they win."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qsimc.formats.foreign._ort.arguments import Arguments
from qsimc.formats.foreign._ort.bind import rules_of
from qsimc.formats.foreign._ort.overrides import check_overrides, look_like_overrides, lose_overrides
from qsimc.formats.foreign._ort.words import FLOAT8, NOTHING, ort_words, shares_grid
from qsimc.formats.foreign._shared import Findings
from qsimc.graph import Graph
from qsimc.ir.config import Clause, Config, Fusion, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.select import ROLES, AnyOf, Chain, Everything, NodeName, OpType, Selector
from qsimc.source import Source, Span
from qsimc.syntax.json import Json, Object, Scalar

_USUAL_SHARE = 99.999
"""Percent of the values that a percentile range keeps, where nobody says it."""


def read_document(source: Source, document: Json, findings: Findings, graph: Graph | None = None) -> Config:
    """Return what a document says, arguments that it leaves out as `quantize_static` takes them.

    Args:
        graph: the model that overrides of tensors speak of; without it they are lost.
    """
    if look_like_overrides(document) and isinstance(document, Object):
        bound = _overridden(document, document.span, "", True, findings, graph)
        return Config(source=source, dialect="onnx", format="ort", rules=bound)
    if not isinstance(document, Object):
        findings.wrong(document, "the whole file", "an object", "")
        return Config(source=source, dialect="onnx", format="ort")
    said = Arguments(document, findings)
    said.refused()
    reader = _Reader(said, findings, graph)
    rules = reader.rules()
    options = tuple(said.options)
    return Config(source=source, dialect="onnx", format="ort", rules=rules, options=options, fusions=reader.fusions())


_BEFORE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "BatchNormalization")
"""Operators that take up a Relu or Clip behind them; others do it too, which is of no use to other tools."""


def _any_of(choices: tuple[OpType, ...]) -> Selector:
    return choices[0] if len(choices) == 1 else AnyOf(choices)


def _overridden(
    overrides: Object, span: Span, pointer: str, signed: bool, findings: Findings, graph: Graph | None
) -> tuple[Rule, ...]:
    """Return the rules that overrides stand for on a model, after reporting what is wrong with them, and lost."""
    names = check_overrides(overrides, pointer, findings)
    if graph is None:
        lose_overrides(names, span, pointer, findings)
        return ()
    rules, left = rules_of(overrides, pointer, signed, graph)
    lose_overrides(left, span, pointer, findings)
    return rules


class _Reader:
    def __init__(self, args: Arguments, findings: Findings, graph: Graph | None) -> None:
        self.args = args
        self.findings = findings
        self.graph = graph

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules: of all nodes, then of operator types, then of nodes by name."""
        rules = [Rule(Everything(), tuple(self._general()), self.args.start)]
        names = self.args.strings("nodes_to_quantize")
        types = self.args.strings("op_types_to_quantize")
        if names and types:
            said = self.args.said["op_types_to_quantize"]
            message = "rules cannot ask for a name and a type at once: nodes are taken by `nodes_to_quantize` alone"
            self.findings.lost(LossKind.SELECTOR, message, said[0].value.span, said[2], "enabled")
        if names:
            rules += [self._switched(NodeName(str(n.value)), n.span, on=True) for n in names]
        else:
            listed = self.args.span("op_types_to_quantize")
            usual = ((name, listed) for name in ort_words().default_operators)
            rules += self._of_types([(str(t.value), t.span) for t in types] or list(usual))
        for type_ in self.args.strings("OpTypesToExcludeOutputQuantization"):
            off = self.args.at("OpTypesToExcludeOutputQuantization", {"enabled": False}, type_.span)
            rules.append(Rule(OpType(str(type_.value)), (Clause(("output",), off, type_.span),), type_.span))
        for name in self.args.strings("nodes_to_exclude"):
            rules.append(self._switched(NodeName(str(name.value)), name.span, on=False))
        return (*rules, *self._bound())

    def fusions(self) -> tuple[Fusion, ...]:
        """Return what the quantizer makes one of: an asymmetric activation and the node before it."""
        kept = self.args.acts_symmetric() or any(
            o.name == "QDQKeepRemovableActivations" and o.value for o in self.args.options
        )
        named = tuple(str(t.value) for t in self.args.strings("op_types_to_quantize")) or ort_words().default_operators
        first, last = (tuple(OpType(n) for n in which if n in named) for which in (_BEFORE, ("Relu", "Clip")))
        if kept or not first or not last or self.args.strings("nodes_to_quantize"):
            return ()
        return (Fusion(Chain((_any_of(first), _any_of(last))), self.args.span("op_types_to_quantize")),)

    def _of_types(self, types: Sequence[tuple[str, Span]]) -> Iterator[Rule]:
        """Yield the rules of operator types; one that moves values has nothing to quantize, its output is the input."""
        for name, span in types:
            if name in NOTHING:
                continue
            if shares_grid(name):
                yield Rule(OpType(name), (), span)
            else:
                yield self._switched(OpType(name), span, on=True)
            if name == "Softmax":
                clause = Clause(("output",), self.args.at("op_types_to_quantize", {"range": (0, 1)}, span), span)
                yield Rule(OpType(name), (clause,), span)

    def _general(self) -> list[Clause]:
        """Return the clauses about all nodes."""
        off = self.args.of("op_types_to_quantize", {"enabled": False})
        acts = (
            *self._type("activation_type"),
            *self.args.of("ActivationSymmetric", {"symmetric": self.args.acts_symmetric()}),
        )
        weights = (*self._type("weight_type"), *self._weight_symmetry())
        per_channel = self.args.of("per_channel", {"per_channel": bool(self.args.value("per_channel"))})
        clauses = [
            Clause(ROLES, off, off[0].span),
            Clause(("act",), (*acts, *self._calibration()), acts[0].span),
            Clause(("weight",), (*weights, *per_channel), weights[0].span),
        ]
        if self.args.value("QuantizeBias") is not False:
            bias = self.args.of("QuantizeBias", {"type": "int", "bits": 32, "signed": True, "symmetric": True})
            clauses.append(Clause(("bias",), bias, bias[0].span))
        if self.args.value("reduce_range"):
            member, _, at = self.args.said["reduce_range"]
            message = "there is no word for a weight grid of half the width: `reduce_range` is dropped"
            self.findings.lost(LossKind.DTYPE, message, member.value.span, at, "bits")
        return clauses

    def _type(self, key: str) -> tuple[Setting, ...]:
        type_ = ort_words().types[self.args.word(key, "QInt8")]
        if type_.float:
            return self.args.of(key, {"type": FLOAT8})
        return self.args.of(key, {"type": "int", "bits": type_.bits, "signed": bool(type_.signed)})

    def _weight_symmetry(self) -> tuple[Setting, ...]:
        """Return whether weights are symmetric: with channels always, else as said, else if their type has a sign."""
        said = self.args.value("WeightSymmetric")
        if self.args.value("per_channel"):
            return self.args.of("per_channel", {"symmetric": True})
        if said is not None:
            return self.args.of("WeightSymmetric", {"symmetric": bool(said)})
        type_ = ort_words().types[self.args.word("weight_type", "QInt8")]
        return self.args.of("weight_type", {"symmetric": type_.float or bool(type_.signed)})

    def _calibration(self) -> tuple[Setting, ...]:
        method = self.args.word("calibrate_method", "MinMax")
        ours = ort_words().methods[method]
        if not ours:
            member, _, at = self.args.said["calibrate_method"]
            message = f"there is no word for the calibration method `{method}`, which is dropped"
            self.findings.lost(LossKind.ESTIMATOR, message, member.value.span, at, "calib")
            return ()
        found = self.args.of("calibrate_method", {"calib": ours})
        if ours != "percentile":
            return found
        share = self.args.value("CalibPercentile")
        return (*found, *self.args.of("CalibPercentile", {"percentile": _USUAL_SHARE if share is None else share}))

    def _switched(self, selector: Selector, span: Span, *, on: bool) -> Rule:
        """Return the rule that takes nodes in or leaves them out; whether biases go along is an option."""
        if not on:
            return Rule(
                selector, (Clause(ROLES, self.args.at("nodes_to_exclude", {"enabled": False}, span), span),), span
            )
        roles = tuple(role for role in ROLES if role != "bias")
        clause = Clause(roles, self.args.at("op_types_to_quantize", {"enabled": True}, span), span)
        bias = self.args.of("QuantizeBias", {"enabled": self.args.value("QuantizeBias") is not False})
        return Rule(selector, (clause, Clause(("bias",), bias, bias[0].span)), span)

    def _bound(self) -> tuple[Rule, ...]:
        """Return the rules that overrides of tensors stand for."""
        if self.args.overrides is None:
            return ()
        member, at = self.args.overrides
        signed = bool(ort_words().types[self.args.word("activation_type", "QInt8")].signed)
        if isinstance(member.value, Object):
            return _overridden(member.value, member.key_span, at, signed, self.findings, self.graph)
        if not (isinstance(member.value, Scalar) and member.value.value is None):
            self.findings.wrong(member.value, "`TensorQuantOverrides`", "an object of tensors", at)
        return ()
