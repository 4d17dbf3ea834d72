"""What NNCF leaves alone: operator types, names and patterns of names; it knows no other placement.

NNCF quantizes what an operator reads, and its weights, together: all of it or nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from qsimc import resources
from qsimc.formats.foreign._names import chains_in, matches, regex_of_glob
from qsimc.formats.foreign._shared import lost, of
from qsimc.graph import Graph, Node
from qsimc.ir.config import Config, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import Boundary, Chain, NodeName, OpType, alternatives, chains, show

Tensors = Mapping[str, Mapping[str, Setting]]

ROLES = ("input", "weight", "output")


@dataclass(frozen=True, slots=True)
class Facts:
    """What NNCF does with operators (specs/formats/openvino.toml)."""

    quantized: tuple[str, ...]
    passing: tuple[str, ...]
    fused: Mapping[str, tuple[str, ...]]


@cache
def facts() -> Facts:
    table = tomllib.loads(resources.read("specs", "formats/openvino.toml"))
    fused = {kind: tuple(names) for kind, names in table["fused"].items()}
    return Facts(tuple(table["quantized"]), tuple(table["passing"]), fused)


@dataclass(slots=True)
class Ignored:
    """What `nncf.IgnoredScope` lists."""

    types: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)


def on(tensor: Mapping[str, Setting]) -> bool:
    """Say whether a tensor is quantized: where nobody said so, whether anybody said how."""
    enabled = tensor.get("enabled")
    return bool(tensor) if enabled is None else enabled.value is True


class Placement:
    """Which operators and nodes are quantized, as the configuration says and as NNCF can be told."""

    def __init__(self, config: Config, lose: Lose, graph: Graph | None) -> None:
        self.config = config
        self.lose = lose
        self.graph = graph
        found = levels(config)
        self.general: Tensors = found[0].own
        self.operators = {level.selector.name: level for level in found if isinstance(level.selector, OpType)}
        self.names = [level for level in found if isinstance(level.selector, NodeName)]

    def said(self, operator: str) -> Tensors:
        """Return what holds for the tensors of an operator."""
        level = self.operators.get(operator)
        return self.general if level is None else level.said

    def quantized(self) -> Iterator[str]:
        """Yield the operators that NNCF quantizes and the configuration does."""
        for operator in facts().quantized:
            if any(on(self.said(operator)[role]) for role in ROLES):
                yield operator

    # ── operator types ───────────────────────────────────────────────────────────────────────

    def ignored(self) -> Ignored:
        """Return what NNCF must leave alone; what it cannot be told is lost."""
        scope = Ignored()
        on_types = set(self.quantized())
        scope.types = [operator for operator in facts().quantized if operator not in on_types]
        for name, level in self.operators.items():
            self._elsewhere(name, level)
        for name in on_types:
            self._together(name)
        self._everywhere()
        if any(self._names_something_on(level) for level in self.names) and self._materialise(scope):
            return scope
        for level in self.names:
            self._name(level, scope)
        self._chains(scope)
        return scope

    def _everywhere(self) -> None:
        """Lose what `*` says of operators that NNCF never quantizes."""
        for setting in dict.fromkeys(s for role in ROLES if (s := self.general[role].get("enabled")) is not None):
            if setting.value is True:
                message = "NNCF quantizes operators with weights, sums, products, pools and a few more: "
                self.lose(lost(setting, f"{message}`on` of * reaches no others"))

    def _elsewhere(self, name: str, level: Level) -> None:
        """Lose what is said of an operator that NNCF never quantizes."""
        known = facts()
        if name in known.quantized or (name in known.passing and not any(on(level.own[r]) for r in ROLES)):
            return
        for role in ROLES:
            for setting in level.own[role].values() if on(level.said[role]) else ():
                message = f"NNCF never quantizes what {name} reads: {of(setting, level.selector)} is dropped"
                self.lose(lost(setting, message))

    def _together(self, name: str) -> None:
        """Lose what is off of an operator of which NNCF quantizes everything."""
        level = self.operators.get(name)
        roles = ("input", "weight") if name in facts().fused["linear"] else ("input",)
        for role in roles if level is not None else ():
            setting = level.own[role].get("enabled") if level is not None else None
            if setting is not None and setting.value is False and on(self.general[role]):
                message = f"NNCF quantizes weights and inputs together: {of(setting, OpType(name))}[{role}] is dropped"
                self.lose(lost(setting, message))

    # ── names ────────────────────────────────────────────────────────────────────────────────

    def _names_something_on(self, level: Level) -> bool:
        """Say whether a name is quantized that an earlier name, or perhaps its type, leaves alone."""
        switched = any((s := level.own[role].get("enabled")) is not None and s.value is True for role in ROLES)
        before = self.names[: self.names.index(level)]
        types_off = len(list(self.quantized())) < len(facts().quantized)
        return switched and (types_off or any(_off(other) for other in before))

    def _materialise(self, scope: Ignored) -> bool:
        """Name every node that is left alone, where types and patterns would take in others; needs a model."""
        last = next(level for level in reversed(self.names) if self._names_something_on(level))
        if self.graph is None:
            message = f"NNCF knows no exceptions from what it ignores: `on` of {show(last.selector)} may be dropped"
            self.lose(Loss(LossKind.PRECEDENCE, message, last.span, fields=("enabled",)))
            return False
        names = [node.name for node in self.graph.nodes if not self._is_on(node)]
        scope.types, scope.names = [], names
        message = "what NNCF ignores is written name by name, because some names are exceptions"
        self.lose(Loss(LossKind.MATERIALISED, message, last.span, tuple(names), ("enabled",)))
        for level in self.names:
            self._details(level)
        return True

    def _is_on(self, node: Node) -> bool:
        tensors = {role: dict(self.said(node.op)[role]) for role in ROLES}
        for level in self.names:
            if matches(node, level.selector):
                tensors = {role: {**tensors[role], **level.own[role]} for role in ROLES}
        return node.op not in facts().quantized or any(on(tensor) for tensor in tensors.values())

    def _name(self, level: Level, scope: Ignored) -> None:
        assert isinstance(level.selector, NodeName)
        if _off(level):
            self._add(level.selector, scope)
        else:
            self._details(level)

    def _details(self, level: Level) -> None:
        """Lose what is said of a node besides that it is left alone."""
        if _off(level):
            return
        for setting in dict.fromkeys(s for role in ROLES for s in level.own[role].values()):
            if setting.field != "enabled" or setting.value is False:
                message = f"NNCF has one set of parameters for all nodes: {of(setting, level.selector)} is dropped"
                self.lose(lost(setting, message))

    @staticmethod
    def _add(selector: NodeName, scope: Ignored) -> None:
        if selector.glob:
            scope.patterns.append(regex_of_glob(selector.pattern) + r"\Z")  # NNCF matches from the beginning only
        else:
            scope.names.append(selector.pattern)

    def _chains(self, scope: Ignored) -> None:
        """Name the nodes that chains are left alone at, where there is a model."""
        for rule in self.config.rules:
            for choice in alternatives(rule.selector):
                if not isinstance(choice, Chain):
                    continue
                settings = [s for clause in rule.clauses for s in clause.settings]
                off = bool(settings) and all(s.field == "enabled" and s.value is False for s in settings)
                runs = list(chains_in(self.graph, choice)) if self.graph is not None and off else []
                names = list(dict.fromkeys(run[-1].name for run in runs if run[-1].op in facts().quantized))
                scope.names += [name for name in names if name not in scope.names]
                if names:
                    message = f"{show(choice)} is written as the nodes that it means in the model"
                    self.lose(Loss(LossKind.MATERIALISED, message, rule.subject or rule.span, tuple(names)))
                elif not runs:
                    message = f"NNCF knows no chains of operators: what is said of {show(choice)} is dropped"
                    self.lose(Loss(LossKind.SELECTOR, message, rule.subject or rule.span))

    # ── fusions, and the model's ends ────────────────────────────────────────────────────────

    def lose_fusions(self) -> None:
        """Lose fusions that NNCF does not do by itself."""
        for fusion in self.config.fusions:
            runs = list(chains(fusion.chain))
            if not runs or not all(map(_is_fused, runs)):
                message = f"NNCF's fusions are its own: that of {show(fusion.chain)} is dropped"
                self.lose(Loss(LossKind.SUPERGROUP, message, fusion.span))

    def lose_ends(self) -> None:
        """Lose what is said of the model's own inputs and outputs.

        NNCF quantizes inputs as their readers ask, and has no way of quantizing the outputs of a model in ONNX: with
        `quantize_outputs` it stops at the first one.
        """
        for setting, roles in _of_ends(self.config):
            outputs = roles == ("output",)
            if setting.field == "enabled" and (setting.value is True) is not outputs and len(roles) == 1:
                continue
            end = "outputs of an ONNX model are left alone" if outputs else "the model's inputs go by their readers"
            self.lose(lost(setting, f"{end} in NNCF: {of(setting, Boundary())} is dropped", LossKind.PLACEMENT))


def _of_ends(config: Config) -> Iterator[tuple[Setting, tuple[str, ...]]]:
    for rule in config.rules:
        if any(isinstance(choice, Boundary) for choice in alternatives(rule.selector)):
            for clause in rule.clauses:
                yield from ((setting, clause.roles) for setting in clause.settings)


def _off(level: Level) -> bool:
    """Say whether a level leaves all tensors of its nodes alone."""
    switched = any((s := level.own[role].get("enabled")) is not None and s.value is False for role in ROLES)
    return switched and not any(on(level.said[role]) for role in ROLES)


def _is_fused(run: Iterable[str]) -> bool:
    """Say whether NNCF joins the operators of a run by itself: one with weights may only come first."""
    known = facts().fused
    first, *rest = run
    later = {name for kind, names in known.items() if kind != "linear" for name in names}
    return (first in known["linear"] or first in later) and len(rest) <= 3 and set(rest) <= later
