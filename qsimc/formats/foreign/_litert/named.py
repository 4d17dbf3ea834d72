"""Entries of a LiteRT recipe for names: patterns of them, or those that a model gives to what rules mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.modes import Modes
from qsimc.formats.foreign._litert.policy import FLOAT, Mode, entry
from qsimc.formats.foreign._litert.said import Said
from qsimc.formats.foreign._names import chains_in, glob_of_name, matches, may_overlap, regex_of_glob, regex_of_name
from qsimc.formats.foreign._shared import Once, Plain
from qsimc.graph import Graph, Node
from qsimc.ir.config import Config, Rule
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import ROLES, Chain, Everything, NodeName, Selector, alternatives, show

NO_WEIGHTS = "ADD"
"""An operation that takes what all take that have no weights."""
WEIGHTS = "FULLY_CONNECTED"
"""The operation of which most can be said."""


class Named:
    """Rules for names and chains, over those for `everything` and for `operators`."""

    def __init__(self, config: Config, lose: Once, everything: Level, operators: Mapping[str, Level]) -> None:
        self.config = config
        self.lose = lose
        self.modes = Modes(lose)
        self.everything = everything
        self.operators = operators
        self.named = [level for level in levels(config) if isinstance(level.selector, NodeName)]

    def names(self) -> Iterator[Plain]:
        """Yield entries by patterns of names: globs first, which single names outrank."""
        before: list[Level] = []
        for level in sorted(self.named, key=lambda level: not _name(level).glob):
            name = _name(level)
            if not any(level.own.values()):
                continue
            if self.config.format != "litert":
                message = f"LiteRT finds operations by names of outputs, and `{name.pattern}` is taken for one"
                self.lose(Loss(LossKind.SELECTOR, message, level.span))
            self._inherits(level, before)
            before.append(level)
            regex = regex_of_glob(name.pattern) if name.glob else regex_of_name(name.pattern)
            yield entry(f"^{regex};", litert.EVERY, self._by_name(level.said, level.selector))
        for rule, chain in self._chains():
            message = f"LiteRT has no rules about operations in a row: `{show(chain)}` is dropped"
            self.lose(Loss(LossKind.SUPERGROUP, message, rule.span))

    def _inherits(self, level: Level, before: Iterable[Level]) -> None:
        """Lose what a rule for names would take over from other rules than those for everything."""
        own = {(role, field) for role in ROLES for field in level.own[role]}
        overlapping = [other for other in before if may_overlap(_glob(other), _glob(level))]
        for other in (*self.operators.values(), *overlapping):
            if any((role, field) not in own for role in ROLES for field in other.own[role]):
                message = (
                    f"LiteRT takes an entry whole: what {show(other.selector)} says does not hold for the names of"
                    f" {show(level.selector)}"
                )
                self.lose(Loss(LossKind.PRECEDENCE, message, level.span))
                return

    def _by_name(self, said: Said, selector: Selector) -> Mode:
        mode = self.modes.of(WEIGHTS, said, selector)
        if mode != FLOAT:
            return mode
        return Modes(self.lose, quiet=True).of(NO_WEIGHTS, said, selector)

    def _chains(self) -> Iterator[tuple[Rule, Chain]]:
        for rule in self.config.rules:
            for selector in alternatives(rule.selector):
                if isinstance(selector, Chain):
                    yield rule, selector

    # ── nodes of a model ─────────────────────────────────────────────────────────────────────

    def nodes(self, graph: Graph) -> Iterator[Plain]:
        """Yield entries by the names that a model gives: of nodes that rules for names or chains mean."""
        own: dict[str, list[Said]] = {}
        for rule, chain in self._chains():
            rules = (Rule(Everything(), rule.clauses, rule.span),)
            found = [run[-1] for run in chains_in(graph, chain)]
            self._materialised(show(chain), found, rule)
            for node in found:
                own.setdefault(node.name, []).append(levels(replace(self.config, rules=rules))[0].own)
        for level in sorted(self.named, key=lambda level: not _name(level).glob):
            found = [node for node in graph.nodes if matches(node, level.selector)]
            if any(level.own.values()):
                self._materialised(show(level.selector), found, level)
            for node in found:
                own.setdefault(node.name, []).append(level.own)
        by_mode: dict[Mode, list[str]] = {}
        for node in graph.nodes:
            if node.name in own and node.outputs and node.outputs[0]:
                by_mode.setdefault(self._node(node, own[node.name]), []).append(node.outputs[0])
        for mode, tensors in by_mode.items():
            listed = "|".join(map(regex_of_name, tensors))
            yield entry(f"^(?:{listed});" if len(tensors) > 1 else f"^{listed};", litert.EVERY, mode)

    def _node(self, node: Node, own: Iterable[Said]) -> Mode:
        operator = self.operators.get(node.op)
        said = {role: dict(self.everything.said[role]) for role in ROLES}
        for level in (*(() if operator is None else (operator.own,)), *own):
            for role in ROLES:
                said[role] |= level[role]
        words = litert.words_of(node.op)
        if not words:
            return self._by_name(said, NodeName(node.name))
        grouped = node.op == "Conv" and node.attributes.get("group", 1) != 1
        return self.modes.of(words[1] if grouped else words[0], said, NodeName(node.name))

    def _materialised(self, shown: str, nodes: list[Node], said: Level | Rule) -> None:
        if not nodes:
            self.lose(Loss(LossKind.SELECTOR, f"no node of the model is {shown}", said.span))
            return
        names = tuple(node.outputs[0] for node in nodes if node.outputs)
        self.lose(Loss(LossKind.MATERIALISED, f"LiteRT gets names of outputs for {shown}", said.span, names))


def _glob(level: Level) -> str:
    name = _name(level)
    return name.pattern if name.glob else glob_of_name(name.pattern)


def _name(level: Level) -> NodeName:
    assert isinstance(level.selector, NodeName)
    return level.selector
