"""Who gets what: the settings of a configuration by operator type and by layer, for Quark's entries.

An entry of Quark stands for itself: it inherits nothing from a more general one.  So each is complete here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from qsimc.formats.foreign._names import chains_in, glob_of_name, matches
from qsimc.formats.foreign._quark.losses import Losses
from qsimc.formats.foreign._quark.words import Said, quantized, value
from qsimc.graph import Graph, Node
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import ROLES, AnyOf, Chain, NodeName, OpType, Selector, alternatives, chains, show

Layer = Mapping[str, Mapping[str, Setting]]
"""What holds for one layer: role -> field -> setting."""

META = frozenset("*?[")
"""What makes a name a pattern."""

_LISTED = 3


@dataclass(frozen=True, slots=True)
class Layers:
    """The levels of a configuration: over all operators, of types, of globs in file order, of exact names."""

    general: Level
    types: Mapping[str, Level]
    globs: tuple[Level, ...]
    exact: tuple[Level, ...]

    @property
    def named(self) -> tuple[Level, ...]:
        return (*self.globs, *self.exact)

    def of_type(self, operator: str) -> Layer:
        """Return what holds for an operator type."""
        return merged(self.general.own, *([self.types[operator].own] if operator in self.types else ()))

    def of_name(self, name: str, operator: str | None = None) -> Layer:
        """Return what holds for one node; its type is not known without a model."""
        own = [self.types[operator]] if operator is not None and operator in self.types else []
        own += [level for level in self.named if _finds(level.selector, name)]
        return merged(self.general.own, *(level.own for level in own))


def merged(*layers: Layer) -> Layer:
    """Return settings with later ones over earlier ones; one scale per channel, or per tensor, ends groups."""
    found: dict[str, dict[str, Setting]] = {role: {} for role in ROLES}
    for layer in layers:
        for role, said in found.items():
            own = layer.get(role, {})
            if "per_channel" in own and "per_group" not in own:
                said.pop("per_group", None)
            said |= own
    return found


def layers(config: Config) -> Layers:
    """Return the levels of a configuration without chains, sorted by what they speak of."""
    general, *rest = levels(config)
    names = [level for level in rest if isinstance(level.selector, NodeName)]
    return Layers(
        general,
        {level.selector.name: level for level in rest if isinstance(level.selector, OpType)},
        tuple(level for level in names if isinstance(level.selector, NodeName) and level.selector.glob),
        tuple(level for level in names if isinstance(level.selector, NodeName) and not level.selector.glob),
    )


def _finds(selector: Selector, name: str) -> bool:
    assert isinstance(selector, NodeName)
    return fnmatchcase(name, selector.pattern) if selector.glob else name == selector.pattern


def unrolled(config: Config, losses: Losses, operators: frozenset[str] | None, tool: str) -> Config:
    """Return a configuration without chains in its rules: with a model they are names of nodes, else they are lost.

    Only those operators matter, or all of them.
    """
    front, rules = [], []
    for rule in config.rules:
        if any(_is_chain(choice) for choice in alternatives(rule.selector)):
            front += list(_named_chains(rule, losses, operators, tool))
        rules.append(_without_chains(rule))
    return replace(config, rules=(*front, *(rule for rule in rules if rule is not None)))


def unfused(config: Config, losses: Losses, operators: frozenset[str], tool: str) -> Config:
    """Return a configuration without fusions: with a model the outputs inside of them are off, else they are lost."""
    rules: list[Rule] = []
    found = layers(config)
    for fusion in config.fusions:
        inner = [name for names in chains(fusion.chain) for name in names[:-1]]
        if not any(name in operators and quantized(found.of_type(name)["output"]) for name in inner):
            continue
        nodes = [node for run in _runs(losses.graph, fusion.chain) for node in run[:-1] if node.op in operators]
        if losses.graph is None:
            message = f"{tool} has no fusions: what is inside of `{show(fusion.chain)}` is quantized like anything else"
            losses.lose(Loss(LossKind.SUPERGROUP, message, fusion.span))
        elif nodes:
            off = Clause(("output",), (Setting("enabled", False, fusion.span),), fusion.span)
            rules.append(Rule(AnyOf(tuple(NodeName(node.name) for node in nodes)), (off,), fusion.span))
            message = f"{tool} has no fusions: the outputs inside of `{show(fusion.chain)}` are switched off one by one"
            tensors = tuple(tensor for node in nodes for tensor in node.outputs if tensor)
            losses.lose(Loss(LossKind.MATERIALISED, message, fusion.span, tensors))
    return replace(config, rules=(*config.rules, *rules), fusions=())


def _is_chain(selector: Selector) -> bool:
    return isinstance(selector, Chain)


def _runs(graph: Graph | None, chain: Chain) -> Iterator[tuple[Node, ...]]:
    return chains_in(graph, chain) if graph is not None else iter(())


def _without_chains(rule: Rule) -> Rule | None:
    kept = tuple(choice for choice in alternatives(rule.selector) if not _is_chain(choice))
    if not kept:
        return None
    return replace(rule, selector=kept[0] if len(kept) == 1 else AnyOf(kept))


def _named_chains(rule: Rule, losses: Losses, operators: frozenset[str] | None, tool: str) -> Iterator[Rule]:
    """Yield the rules that say of named nodes what a rule says of the ends of chains; they rank below other globs."""
    for chain in alternatives(rule.selector):
        if not isinstance(chain, Chain):
            continue
        if losses.graph is None:
            message = f"{tool} has no chains of operators: what is said of `{show(chain)}` is dropped"
            losses.lose(Loss(LossKind.SELECTOR, message, rule.span))
            continue
        ends = [run[-1] for run in _runs(losses.graph, chain)]
        nodes = [node for node in ends if operators is None or node.op in operators]
        for node in nodes:
            yield replace(rule, selector=NodeName(glob_of_name(node.name), glob=True))
        if nodes:
            message = f"{tool} has no chains of operators: {listed(show(chain), [node.name for node in nodes])}"
            losses.lose(Loss(LossKind.MATERIALISED, message, rule.span))


def listed(selector: str, names: list[str]) -> str:
    """Return how a selector was put as names, for a message."""
    named = ", ".join(f"`{name}`" for name in names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"`{selector}` becomes {named}{more}"


def found(graph: Graph, level: Level, operators: frozenset[str]) -> list[Node]:
    """Return the nodes that a level finds in a model, of those operators."""
    return [node for node in graph.nodes if node.op in operators and matches(node, level.selector)]


def lose_overlaps(config: Layers, losses: Losses, tool: str) -> None:
    """Report patterns that may fit what a later one fits as well, and say what that one does not."""
    for place, level in enumerate(config.globs):
        later = config.globs[place + 1 :]
        if any(_may_meet(level.selector, other.selector) and not covers(other, level) for other in later):
            message = f"{tool} takes one entry for a layer: {show(level.selector)} does not add to a later pattern"
            losses.lose(Loss(LossKind.PRECEDENCE, message, level.span))


def covers(level: Level, other: Level) -> bool:
    """Say whether a level says all that another one does."""
    return all(_settled(level.own[role]) or set(other.own[role]) <= set(level.own[role]) for role in ROLES)


def _settled(said: Said) -> bool:
    """Say whether nothing else matters for a tensor: it is switched off, or cast."""
    cast = value(said, "enabled") is True and value(said, "type") in ("float", "bfloat", "float16", "bfloat16")
    return cast or value(said, "enabled") is False


def _may_meet(first: Selector, second: Selector) -> bool:
    """Say whether two patterns may fit the same name, as far as their beginnings and ends tell."""
    assert isinstance(first, NodeName)
    assert isinstance(second, NodeName)
    starts = [_until_meta(first.pattern), _until_meta(second.pattern)]
    ends = [_until_meta(first.pattern[::-1]), _until_meta(second.pattern[::-1])]
    return all(a.startswith(b) or b.startswith(a) for a, b in (starts, ends))


def _until_meta(pattern: str) -> str:
    return pattern[: next((at for at, char in enumerate(pattern) if char in META | {"]"}), len(pattern))]
