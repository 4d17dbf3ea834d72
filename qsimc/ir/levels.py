"""The settings of a configuration, merged level by level: over all operators, one operator type, one node.

Precedence within a level: a named role over `act` and `param`, those over none; then the later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from qsimc.ir.config import Clause, Config, Rule, Setting, Value
from qsimc.ir.select import ROLE_GROUPS, ROLES, AnyOf, Everything, NodeName, OpType, Selector
from qsimc.source import Span

Said = dict[str, dict[str, Setting]]


@dataclass(frozen=True, slots=True)
class Level:
    """What holds for the nodes of one selector: role -> field -> setting.

    `own` is what the level's rules say, `said` that over what the file says of all nodes, `given` what holds where the
    file is silent.  `roles` are those that the level speaks of, in the file's order; for `*` all of them.  `span` is
    where its subject is named.
    """

    selector: Selector
    roles: tuple[str, ...]
    own: Mapping[str, Mapping[str, Setting]]
    said: Mapping[str, Mapping[str, Setting]]
    given: Mapping[str, Mapping[str, Setting]]
    span: Span | None

    def setting(self, role: str, field: str) -> Setting | None:
        """Return the setting that decides a field, None if nobody said anything."""
        return self.said[role].get(field) or self.given[role].get(field)

    def facts(self) -> Mapping[str, Mapping[str, Value]]:
        """Return the values alone, as predicates take them."""
        return {
            role: {field: s.value for field, s in {**self.given[role], **self.said[role]}.items()} for role in ROLES
        }


def levels(config: Config, defaults: Iterable[Rule] = ()) -> tuple[Level, ...]:
    """Return the levels of a configuration: `*` first, then operator types, then nodes, each in file order.

    Args:
        defaults: rules that hold where the configuration says nothing; only those about `*` count.
    """
    given = _merged(_nothing(), _clauses(defaults, Everything()))
    general = _merged(_nothing(), _clauses(config.rules, Everything()))
    found = [Level(Everything(), ROLES, general, general, given, None)]
    for kind in (OpType, NodeName):
        selectors = dict.fromkeys(s for rule in config.rules for s in _choices(rule.selector) if isinstance(s, kind))
        for selector in selectors:
            clauses = tuple(_clauses(config.rules, selector))
            subjects = [rule.subject for rule in config.rules if rule.selector == selector and rule.subject is not None]
            own, said = _merged(_nothing(), clauses), _merged(general, clauses)
            roles = tuple(dict.fromkeys(role for clause in clauses for role in _roles(clause)))
            place = subjects[-1] if subjects else clauses[0].span if clauses else None
            found.append(Level(selector, roles, own, said, given, place))
    return tuple(found)


def _nothing() -> Said:
    return {role: {} for role in ROLES}


def _merged(base: Said, clauses: Iterable[Clause]) -> Said:
    """Return the settings of `base` with those of clauses over them."""
    merged = {role: dict(said) for role, said in base.items()}
    for clause in sorted(clauses, key=_rank):
        for role in _roles(clause):
            merged[role] |= {setting.field: setting for setting in clause.settings}
    return merged


def _clauses(rules: Iterable[Rule], selector: Selector) -> Iterator[Clause]:
    for rule in rules:
        if selector in _choices(rule.selector):
            yield from rule.clauses


def _choices(selector: Selector) -> tuple[Selector, ...]:
    return selector.choices if isinstance(selector, AnyOf) else (selector,)


def _roles(clause: Clause) -> tuple[str, ...]:
    """Return the tensors that a clause speaks of."""
    if not clause.roles:
        return ROLES
    return tuple(role for said in clause.roles for role in ROLE_GROUPS.get(said, (said,)) if role in ROLES)


def _rank(clause: Clause) -> int:
    if not clause.roles:
        return 0
    return 1 if all(role in ROLE_GROUPS for role in clause.roles) else 2
