"""Out of a vendor's dialect into the neutral one (`onnx`).

A neutral configuration calls operators as ONNX does and spells out what its vendor's tool does where a file is silent,
so that nothing about it depends on whose file it was.  `specs/silence` says what silence means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache

from qsimc import resources
from qsimc.formats import meaning
from qsimc.formats.vitis import last_part
from qsimc.graph import Graph
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import (
    NO_TENSOR,
    ROLE_GROUPS,
    ROLES,
    AnyOf,
    Boundary,
    Chain,
    Everything,
    NodeName,
    OpType,
    alternatives,
    show,
)
from qsimc.selection import selected
from qsimc.source import Source
from qsimc.spec.operator_words import operator_words

NodesOf = Callable[[str], tuple[str, ...]]
"""Names of the model's nodes that a vendor's name for a layer means."""

NEUTRAL = "onnx"
VITIS = "vitis"
AIMET = "aimet"


# ── into the neutral dialect ─────────────────────────────────────────────────────────────────


def neutral(config: Config, lose: Lose, nodes_of: NodesOf | None = None) -> Config:
    """Return a configuration in the neutral dialect, with what its own dialect means by silence.

    Args:
        lose: told of names that mean something else, or nothing, without the vendor's own program.
        nodes_of: finds the nodes of a model that a Vitis AI layer name means; None without a model.
    """
    plain = meaning(config)
    if plain.dialect == VITIS:
        rules = tuple(_without_vitis_names(plain.rules, lose, nodes_of))
    else:
        rules = tuple(map(_with_signs, plain.rules))
    silence = _silence(_silent_as(plain.dialect))
    unsaid = tuple(option for option in silence.options if plain.option(option.name) is None)
    options = (*unsaid, *plain.options)
    return replace(plain, dialect=NEUTRAL, rules=(*silence.rules, *rules), options=options)


def _silent_as(dialect: str) -> str:
    """Return whose silence a dialect keeps: the neutral one and AIMET's torch half that of AIMET."""
    return VITIS if dialect == VITIS else AIMET


@cache
def _silence(dialect: str) -> Config:
    """Return what holds where a dialect's configurations are silent."""
    # Imported here: most commands translate nothing.
    from qsimc.formats import qsim

    path = f"silence/{dialect}.qsim"
    return qsim.read(Source(f"specs/{path}", resources.read("specs", path)), _never)


def _never(_: object) -> None:
    raise AssertionError("a file that comes with qsimc has no findings")


@cache
def silent_level(dialect: str) -> Level:
    """Return what holds for every tensor where a dialect's configurations are silent."""
    return levels(_silence(dialect))[0]


def _with_signs(rule: Rule) -> Rule:
    """Return a rule of AIMET's with the grid that each symmetry means there: signed, or else unsigned."""
    return replace(rule, clauses=tuple(replace(c, settings=tuple(_signed(c.settings))) for c in rule.clauses))


def _signed(settings: Iterable[Setting]) -> Iterator[Setting]:
    said = list(settings)
    for setting in said:
        yield setting
        if setting.field == "symmetric" and not any(s.field == "signed" for s in said):
            yield replace(setting, field="signed")


def _without_vitis_names(rules: Iterable[Rule], lose: Lose, nodes_of: NodesOf | None) -> Iterator[Rule]:
    words = operator_words(VITIS)
    for rule in rules:
        for selector in alternatives(rule.selector):
            match selector:
                case OpType(name):
                    meant = tuple(map(OpType, words.meant.get(last_part(name), (name,))))
                    _widened(last_part(name), meant, rule, lose)
                    yield replace(rule, selector=meant[0] if len(meant) == 1 else AnyOf(meant))
                case NodeName(pattern, glob=False):
                    yield from _nodes(rule, pattern, lose, nodes_of)
                case Everything():
                    yield rule
                    yield from _inputs_of_the_model(rule)
                case _:
                    yield replace(rule, selector=selector)


def _widened(word: str, meant: tuple[OpType, ...], rule: Rule, lose: Lose) -> None:
    """Say where an ONNX operator is more than what a layer type of Vitis AI means."""
    others = dict.fromkeys(w for op in meant for w in operator_words(VITIS).of.get(op.name, ()) if w != word)
    if others:
        named, more = " and ".join(f"`{op.name}`" for op in meant), ", ".join(f"`{w}`" for w in others)
        message = f"`{word}` becomes {named}, which {more} {'is' if len(others) == 1 else 'are'} as well"
        lose(Loss(LossKind.SELECTOR, message, rule.subject or rule.span))


def _nodes(rule: Rule, pattern: str, lose: Lose, nodes_of: NodesOf | None) -> Iterator[Rule]:
    at = rule.subject or rule.span
    if nodes_of is None:
        lose(Loss(LossKind.SELECTOR, f"which node `{pattern}` is cannot be told without a model", at))
        yield rule
        return
    names = nodes_of(pattern)
    if names:
        named = ", ".join(f"`{name}`" for name in names)
        lose(Loss(LossKind.MATERIALISED, f"on this model `{pattern}` is {named}", at))
    for name in names:
        yield replace(rule, selector=NodeName(name))


def _inputs_of_the_model(rule: Rule) -> Iterator[Rule]:
    """Yield whether inputs are quantized, which to Vitis AI are those of the model."""
    for clause in rule.clauses:
        switches = tuple(setting for setting in clause.settings if setting.field == "enabled")
        if switches and (not clause.roles or "input" in clause.roles):
            yield Rule(Boundary(), (Clause(("input",), switches, clause.span),), rule.span)


def spelt_out(config: Config) -> Config:
    """Return a configuration with one rule for what each level decides about each tensor, what it repeats left out."""
    general, *others = levels(config)
    rules = [rule for level in (general, *others) for rule in _one_by_one(level, general)]
    rest = (rule for rule in config.rules if not isinstance(rule.selector, (Everything, OpType, NodeName, AnyOf)))
    return replace(config, rules=(*rules, *other_params(config), *rest))


def other_params(config: Config) -> Iterator[Rule]:
    """Yield what rules say of parameters that levels do not hold: of `running_mean`, say."""
    for rule in config.rules:
        found = ((clause, tuple(r for r in clause.roles if _is_other(r))) for clause in rule.clauses)
        clauses = tuple(replace(clause, roles=roles) for clause, roles in found if roles)
        if clauses:
            yield replace(rule, clauses=clauses)


def _is_other(role: str) -> bool:
    return role not in (*ROLES, *ROLE_GROUPS, *NO_TENSOR)


def _one_by_one(level: Level, general: Level) -> Iterator[Rule]:
    for role in ROLES:
        for field, setting in level.own[role].items():
            inherited = None if level is general else general.own[role].get(field)
            if setting.value is not None and (inherited is None or inherited.value != setting.value):
                yield Rule(level.selector, (Clause((role,), (setting,), setting.span),), setting.span)


def by_name(config: Config, graph: Graph, lose: Lose) -> Config:
    """Return a neutral configuration with the names of a graph's nodes in place of chains and patterns.

    More particular rules come later, as they must to win: chains, patterns, names.
    """
    rules = sorted(config.rules, key=_particularity)
    return replace(config, rules=tuple(named for rule in rules for named in _by_name(rule, graph, lose)))


def _particularity(rule: Rule) -> int:
    ranks = {Chain: 1, NodeName: 2}
    return max(
        ranks.get(type(one), 0) + (isinstance(one, NodeName) and not one.glob) for one in alternatives(rule.selector)
    )


def _by_name(rule: Rule, graph: Graph, lose: Lose) -> Iterator[Rule]:
    for selector in alternatives(rule.selector):
        if not isinstance(selector, Chain) and not (isinstance(selector, NodeName) and selector.glob):
            yield replace(rule, selector=selector)
            continue
        names = [node.name for node in selected(graph, selector)]
        if names:
            message = f"on this model `{show(selector)}` is {', '.join(f'`{name}`' for name in names)}"
            lose(Loss(LossKind.MATERIALISED, message, rule.subject or rule.span))
        for name in names:
            yield replace(rule, selector=NodeName(name))
