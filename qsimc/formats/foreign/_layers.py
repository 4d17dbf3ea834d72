"""What a configuration says of the layers of a model, for tools that quantize whole layers by class and by name.

Such a tool takes all that holds for a layer from one entry of its file, so every entry is complete: what the rules for
its name leave out comes from those for its class, and from `*`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from qsimc.formats.foreign._names import chains_in, covers, glob_of_name, matches, may_overlap
from qsimc.formats.foreign._shared import lost, of
from qsimc.graph import Graph, Node
from qsimc.ir.config import Config, Setting, show_setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import ROLES, Boundary, Chain, NodeName, OpType, Selector, alternatives, chains, show
from qsimc.source import Span

Said = Mapping[str, Mapping[str, Setting]]

_GRANULARITY = ("per_channel", "per_group")
_SCHEME = frozenset({"enabled", "type", "symmetric", "dynamic", "calib"})
"""Who says all of these and no granularity means one that has no word: a scale per token."""


@dataclass(frozen=True, slots=True)
class Entry:
    """All that holds for the layers of one class or name: role -> field -> setting."""

    name: NodeName | None  # None for a class
    word: str  # the class, where the name's is known or the entry's own
    said: Said


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that quantizes layers: its name, and its classes with the operators that they are."""

    name: str
    classes: Mapping[str, tuple[str, ...]]

    def word(self, operator: str) -> str | None:
        """Return the class of an operator, None if the tool quantizes no such layers."""
        return next((word for word, operators in self.classes.items() if operator in operators), None)

    @property
    def layers(self) -> str:
        return " and ".join(self.classes)


def on(said: Mapping[str, Setting]) -> bool:
    """Say whether a tensor is quantized: where nobody said so, whether anybody said how."""
    enabled = said.get("enabled")
    return bool(said) if enabled is None else enabled.value is True


def entries(config: Config, tool: Tool, lose: Lose, graph: Graph | None) -> tuple[list[Entry], list[Entry]]:
    """Return the entries of a tool's classes, and those of names: patterns first, of which the later hold, then names.

    What the configuration says of anything but these layers is lost.
    """
    found = levels(config)
    general = over({}, found[0].own)
    operators = {level.selector.name: level for level in found if isinstance(level.selector, OpType)}
    writer = _Layers(tool, lose, graph, general, operators)
    classes = [Entry(None, word, writer.of_class(word)) for word in tool.classes]
    writer.lose_elsewhere(config)
    writer.classes = {entry.word: entry.said for entry in classes}
    names = [level for level in found if isinstance(level.selector, NodeName)]
    return classes, writer.named(names, config)


def over(base: Said, own: Said) -> dict[str, Mapping[str, Setting]]:
    """Return what `own` says over a base; another granularity, or another type, takes the place of the base's."""
    merged: dict[str, Mapping[str, Setting]] = {}
    for role in ROLES:
        above, below = own.get(role, {}), dict(base.get(role, {}))
        if any(field in above for field in _GRANULARITY) or above.keys() >= _SCHEME:
            below = {field: setting for field, setting in below.items() if field not in _GRANULARITY}
        if "type" in above or "bits" in above:
            below = {f: s for f, s in below.items() if f not in ("type", "bits") or _keeps(s, above)}
        merged[role] = {**below, **above}
    return merged


def _keeps(setting: Setting, above: Mapping[str, Setting]) -> bool:
    """Say whether a type or width stays under what is said above: `int` under `bits=4`, not `float8_e4m3`."""
    other = above.get("bits" if setting.field == "type" else "type")
    if other is None or setting.field in above:
        return False
    return str(other.value if setting.field == "bits" else setting.value) == "int"


@dataclass(slots=True)
class _Layers:
    tool: Tool
    lose: Lose
    graph: Graph | None
    general: Said
    operators: Mapping[str, Level]
    classes: Mapping[str, Said] = None  # type: ignore[assignment]

    # ── classes ──────────────────────────────────────────────────────────────────────────────

    def of_class(self, word: str) -> Said:
        """Return what holds for a class; of several operators that it stands for, the first one named decides."""
        named = [self.operators[name] for name in self.tool.classes[word] if name in self.operators]
        if not named:
            return self.general
        said = [over(self.general, level.own) for level in named]
        others = [s for s in said[1:] if _values(s) != _values(said[0])]
        unnamed = len(named) < len(self.tool.classes[word]) and _values(said[0]) != _values(self.general)
        if others or unnamed:
            are = " and ".join(self.tool.classes[word])
            message = (
                f"a layer {word} is {are} in ONNX: what is said of {show(named[0].selector)} holds for all of them"
            )
            self.lose(Loss(LossKind.SELECTOR, message, named[0].span))
        return said[0]

    # ── what other operators have ────────────────────────────────────────────────────────────

    def lose_elsewhere(self, config: Config) -> None:
        """Lose what is said of operators that the tool never quantizes, of `*` so far, and of the model's ends."""
        only = f"{self.tool.name} quantizes the layers {self.tool.layers} only"
        for setting in dict.fromkeys(s for role in ("input", "weight", "output") for s in self.general[role].values()):
            if setting.field == "enabled" and setting.value is True:
                self.lose(lost(setting, f"{only}: `on` of * reaches no other operator"))
        for name, level in self.operators.items():
            said = over(self.general, level.own)
            fields = tuple(dict.fromkeys(field for role in ROLES if on(said[role]) for field in level.own[role]))
            if self.tool.word(name) is None and fields:
                message = f"{only}: what is said of {name} is dropped"
                self.lose(Loss(LossKind.PLACEMENT, message, level.span, fields=fields))
        for rule in config.rules:
            if any(isinstance(choice, Boundary) for choice in alternatives(rule.selector)):
                for setting in (s for clause in rule.clauses for s in clause.settings):
                    message = f"{self.tool.name} does not quantize the model's own inputs and outputs: "
                    message += f"{of(setting, Boundary())} is dropped"
                    self.lose(lost(setting, message, LossKind.PLACEMENT))

    # ── names ────────────────────────────────────────────────────────────────────────────────

    def named(self, names: Sequence[Level], config: Config) -> list[Entry]:
        """Return the entries of patterns and names."""
        rules = [*self._chains(config), *(one for level in names for one in self._placed(level))]
        patterns = [rule for rule in rules if rule.selector.glob]
        exact = [rule for rule in rules if not rule.selector.glob]
        found: list[Entry] = []
        for at, rule in enumerate(patterns):
            under = [before for before in patterns[:at] if covers(before.selector.pattern, rule.selector.pattern)]
            for before in patterns[:at]:
                self._overlap(before, rule, known=before in under)
            found.append(self._entry(rule, under))
        merged: dict[str, list[_Rule]] = {}
        for rule in exact:
            merged.setdefault(rule.selector.pattern, []).append(rule)
        for same in merged.values():
            last = same[-1]
            under = [rule for rule in patterns if fnmatchcase(last.selector.pattern, rule.selector.pattern)]
            found.append(self._entry(last, [*under, *same[:-1]]))
        return self._fused(found, patterns, config)

    def _entry(self, rule: _Rule, under: Sequence[_Rule]) -> Entry:
        word = rule.word or next(iter(self.tool.classes))
        said: Said = self.classes[word]
        for before in (*under, rule):
            said = over(said, before.own)
        return Entry(rule.selector, word, said)

    def _overlap(self, before: _Rule, rule: _Rule, *, known: bool) -> None:
        """Lose what an earlier pattern says of names that a later one has too, and says less of."""
        if known or not may_overlap(before.selector.pattern, rule.selector.pattern):
            return
        both = over(before.own, rule.own)
        missing = [f for role in ROLES if on(both[role]) for f in both[role] if f not in rule.own.get(role, {})]
        if missing:
            message = f"where {show(before.selector)} matches too, what {show(rule.selector)} says holds alone"
            self.lose(Loss(LossKind.PRECEDENCE, message, rule.span, fields=tuple(dict.fromkeys(missing))))

    def _placed(self, level: Level) -> Iterator[_Rule]:
        """Yield the rules that a level becomes: itself, or the layers that it means in the graph."""
        assert isinstance(level.selector, NodeName)
        rule = _Rule(level.selector, "", level.own, level.span)
        nodes = [node for node in self._nodes() if matches(node, level.selector)]
        if not nodes or any(self._names(node, level.selector) for node in self._nodes()):
            yield rule
            return
        layers = self._found(nodes, show(level.selector), level.span)
        if not level.selector.glob and len(layers) < len(nodes):
            yield replace(rule, word=self.tool.word(nodes[0].op) or "")  # it has no other name
        yield from (replace(rule, selector=NodeName(node.origin.path), word=word) for node, word in layers)

    def _found(self, nodes: Sequence[Node], subject: str, span: Span | None) -> list[tuple[Node, str]]:
        """Return those of some nodes that are layers, with their classes; they take the place of `subject`."""
        layers = [(n, word) for n in nodes if n.origin.path and (word := self.tool.word(n.op)) is not None]
        if layers:
            paths = tuple(dict.fromkeys(node.origin.path for node, _ in layers))
            message = f"{subject} is written as the layers that it means in the model"
            self.lose(Loss(LossKind.MATERIALISED, message, span, paths))
        return layers

    def _nodes(self) -> tuple[Node, ...]:
        return self.graph.nodes if self.graph is not None else ()

    @staticmethod
    def _names(node: Node, selector: NodeName) -> bool:
        """Say whether a name is that of the node's layer."""
        path = node.origin.path
        return bool(path) and (fnmatchcase(path, selector.pattern) if selector.glob else path == selector.pattern)

    # ── chains and fusions ───────────────────────────────────────────────────────────────────

    def _chains(self, config: Config) -> Iterator[_Rule]:
        """Yield what rules about chains say of the layers at their ends."""
        for rule in config.rules:
            for choice in alternatives(rule.selector):
                if not isinstance(choice, Chain):
                    continue
                last = [run[-1] for run in chains_in(self.graph, choice)] if self.graph is not None else []
                layers = self._found(last, show(choice), rule.subject or rule.span)
                own = levels(replace(config, rules=(replace(rule, selector=OpType("")),)))[1].own
                for node, word in layers:
                    yield _Rule(NodeName(node.origin.path), word, own, rule.span)
                if not layers and self._ends(choice):
                    message = (
                        f"{self.tool.name} knows no chains of operators: what is said of {show(choice)} is dropped"
                    )
                    self.lose(Loss(LossKind.SELECTOR, message, rule.subject or rule.span))

    def _ends(self, chain: Chain) -> bool:
        return any(self.tool.word(run[-1]) is not None for run in chains(chain)) or not any(chains(chain))

    def _fused(self, found: list[Entry], patterns: Sequence[_Rule], config: Config) -> list[Entry]:
        """Return the entries with those of layers whose tensors fusions leave alone; without a model these are lost."""
        named = {entry.name.pattern: entry for entry in found if entry.name is not None and not entry.name.glob}
        for fusion in config.fusions:
            runs = list(chains_in(self.graph, fusion.chain)) if self.graph is not None else []
            off = Setting("enabled", False, fusion.span)
            changed: dict[str, Entry] = {}
            for run in runs:
                for at, node in enumerate(run):
                    word, path = self.tool.word(node.op), node.origin.path
                    if word is None or not path:
                        continue
                    under = [rule for rule in patterns if fnmatchcase(path, rule.selector.pattern)]
                    before = named.get(path) or self._entry(_Rule(NodeName(path), word, {}, None), under)
                    inner = [role for role, edge in (("input", at > 0), ("output", at < len(run) - 1)) if edge]
                    inner = [role for role in inner if on(before.said[role])]
                    if inner:
                        changed[path] = replace(
                            before, said={**before.said, **{role: {"enabled": off} for role in inner}}
                        )
            named |= changed
            if changed:
                message = f"the fusion {show(fusion.chain)} is written as the layers that it means in the model"
                self.lose(Loss(LossKind.MATERIALISED, message, fusion.span, tuple(changed)))
            elif self.graph is None and any(map(self._matters, chains(fusion.chain))):
                message = f"{self.tool.name} knows no fusions: the tensors within {show(fusion.chain)} stay quantized"
                self.lose(Loss(LossKind.SUPERGROUP, message, fusion.span))
        return [*(entry for entry in found if entry.name is not None and entry.name.glob), *named.values()]

    def _matters(self, run: tuple[str, ...]) -> bool:
        """Say whether a fusion is about a tensor that the tool would quantize."""
        for at, operator in enumerate(run):
            said = self.classes.get(self.tool.word(operator) or "")
            if said is not None and ((at > 0 and on(said["input"])) or (at < len(run) - 1 and on(said["output"]))):
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the file says of one name, by itself; `word` is the layer's class, empty where that is not known."""

    selector: NodeName
    word: str
    own: Said
    span: Span | None


def subject(entry: Entry) -> Selector:
    """Return what an entry is about, for a message."""
    return entry.name or OpType(entry.word)


def escaped(entry: Entry) -> str:
    """Return the glob of an entry's name, an exact name as the glob that matches it only."""
    assert entry.name is not None
    return entry.name.pattern if entry.name.glob else glob_of_name(entry.name.pattern)


def _values(said: Said) -> object:
    """Return what decides about the tensors of a layer, to compare it."""
    return {
        role: {show_setting(f, s.value) for f, s in said[role].items()} if on(said[role]) else None
        for role in ("input", "weight", "output")
    }
