"""The fewest edits that make a configuration legal for a target, found by turning restrictions round.

An edit changes one setting, or adds one, for one selector and role (several roles where one line can say so).  What a
restriction supposes is left alone: no edit changes a tensor's number family or switches it off unless the restriction
is about just that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from qsimc import formats, targets
from qsimc.checks.restrictions import Broken, find
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.encoders import NoWordError, encode
from qsimc.ir.config import Clause, Config, Rule, Setting, Value
from qsimc.ir.levels import Level, levels
from qsimc.ir.predicate import Both, Compare, Either, Implies, Member, Not, Predicate, Ref, evaluate, refs
from qsimc.ir.select import ROLE_GROUPS, ROLES, Everything, NodeName, OpType
from qsimc.pipeline.check import check_source
from qsimc.pipeline.edits import has_member
from qsimc.pipeline.proposals import Change, Proposal, is_same, written
from qsimc.planning.plan import Mode
from qsimc.source import Source, Span
from qsimc.spec import keymap
from qsimc.spec.fields import domain

MAX_EDITS = 16
"""Edits of the longest list that is looked for."""

MAX_LOOKS = 3000
"""Configurations that are looked at before the search gives up, if they are small."""

MAX_RULES = 100_000
"""Rules that are looked at before the search gives up, those of each configuration counted anew."""

_NEAREST = 2
"""Numbers that are tried for one setting: those nearest to what it is."""

_SUPPOSED = ("enabled", "type")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a search found.

    `proposals` are the edits, None if no list of them was found; `after` is the text with all of them.  `blocked` is a
    restriction that no edit of this file can satisfy, empty where the search merely ended.
    """

    proposals: tuple[Proposal, ...] | None
    after: str = ""
    blocked: str = ""


def suggest(source: Source, *, target: str, format: str | None = None) -> Suggestion:
    """Return the fewest edits after which a configuration breaks no restriction of a target.

    What else is wrong with it stays as it is.  The edited text has been checked again.

    Raises:
        LookupError: `target` names no target, or `format` no format.
    """
    read = formats.read(source, lambda _: None, format)
    if read is None:
        return Suggestion(None, blocked="the file cannot be read")
    config = replace(read, target=target, target_span=None) if target != read.target else read
    search = _Search(config)
    changes = search.shortest()
    if changes is None:
        return Suggestion(None, blocked=search.blocked)
    proposals, after = written(config, changes)
    if not _is_legal(source, after, target, format):
        return Suggestion(None)
    return Suggestion(proposals, after)


@dataclass(slots=True)
class _Search:
    """Iterative deepening over the edits that mend one broken restriction each."""

    config: Config
    left: int = field(init=False)
    least: int = 0
    blocked: str = ""
    rows: tuple[keymap.Row, ...] = field(init=False)
    defaults: Level = field(init=False)

    def __post_init__(self) -> None:
        name = formats.READINGS.get(self.config.format, self.config.format)
        self.rows = tuple(keymap.rows(keymap.load(name).root)) if name in keymap.names() else ()
        self.defaults = levels(targets.load(str(self.config.target)).config)[0]
        self.left = min(MAX_LOOKS, MAX_RULES // (len(self.config.rules) + 1) + 1)

    def shortest(self) -> tuple[Change, ...] | None:
        """Return the fewest changes that leave nothing broken, None if none are found."""
        for limit in range(MAX_EDITS + 1):
            if limit < self.least:
                continue
            found = self._within(self.config, (), limit)
            if found is not None or self.blocked or not self.left:
                return found
        return None

    def _within(self, config: Config, done: tuple[Change, ...], limit: int) -> tuple[Change, ...] | None:
        """Return `done` and up to `limit` changes more that leave nothing broken."""
        if not self.left:
            return None
        self.left -= 1
        broken = list(find(config))
        if not broken:
            return done
        ways = [self._ways(config, each, done) for each in broken]
        for each, changes in zip(broken, ways, strict=True):
            if not changes:
                self.blocked = self.blocked or ("" if done else each.restriction.name or each.restriction.message)
                return None
        least = _at_least(broken, ways)
        if not done:
            self.least = least
        if least > limit:
            return None
        for change in min(ways, key=len):
            found = self._within(_changed(config, change, len(done)), (*done, change), limit - 1)
            if found is not None:
                return found
        return None

    def _ways(self, config: Config, broken: Broken, done: Sequence[Change]) -> list[Change]:
        """Return the changes that mend a broken restriction, those to what the target itself says first."""
        made = set(map(_place, done))
        found = [change for change in self._candidates(config, broken) if _place(change) not in made]
        return sorted(found, key=lambda change: not self._is_default(change))

    def _is_default(self, change: Change) -> bool:
        return any(
            said is not None and said.value == change.value
            for role in change.roles or ROLES
            for said in (self.defaults.said.get(role, {}).get(change.field),)
        )

    def _candidates(self, config: Config, broken: Broken) -> Iterator[Change]:
        """Yield the changes each of which mends a broken restriction by itself, the most telling first."""
        for ref in _changeable(broken):
            roles = (ref.role,) if ref.role else tuple(broken.roles)
            setting = broken.level.setting(roles[0], ref.field)
            for value in _values(broken, ref, setting):
                if setting is not None and self._can_change(setting, value):
                    yield Change(broken.level.selector, roles, ref.field, value, setting)
                yield from self._additions(broken, roles, ref.field, value)

    def _can_change(self, setting: Setting, value: Value) -> bool:
        """Say whether a setting stands in the file, as it was read, and the format has a word for the value."""
        inside = setting.span.source == self.config.source and setting.span.end <= len(self.config.source.text)
        if not inside or setting.span.start == setting.span.end:
            return False
        row = next((row for row in self.rows if row.field == setting.field), None)
        return self.config.format == formats.QSIM or (row is not None and self._has_word(row, value))

    def _has_word(self, row: keymap.Row, value: Value) -> bool:
        try:
            encode(self._table, row.codec, value)
        except NoWordError:
            return False
        return row.limit is None or value in row.limit.values

    @property
    def _table(self) -> keymap.KeyTable:
        return keymap.load(formats.READINGS.get(self.config.format, self.config.format))

    def _additions(self, broken: Broken, roles: Sequence[str], name: str, value: Value) -> Iterator[Change]:
        """Yield what can be added for some tensors of a level, the wider first."""
        selector = broken.level.selector
        if self.config.format == formats.QSIM:
            yield Change(selector, () if set(roles) == set(ROLES) else tuple(roles), name, value)
            return
        where = {Everything: "*", OpType: "<op>"}.get(type(selector), "")
        entry = _entry_of(broken) if isinstance(selector, (OpType, NodeName)) else ()
        for row in self.rows:
            if row.field != name or not self._has_word(row, value):
                continue
            if row.where != where and not (entry and row.where == "<entry>"):
                continue
            for role in _roles_of(row, roles):
                captured = {"<op>": getattr(selector, "name", ""), "<param>": role}
                keys = tuple(captured.get(key, key) for key in row.path.split("."))
                keys = (*entry, *keys[1:]) if row.where == "<entry>" else keys
                if not has_member(self.config.source.text, keys):
                    yield Change(selector, (role,) if role else (), name, value, keys=keys)


def _roles_of(row: keymap.Row, roles: Sequence[str]) -> Iterator[str]:
    """Yield the roles by which a row can speak of some of these tensors."""
    if row.role == "<param>":
        yield from (role for role in roles if role in ROLE_GROUPS["param"])
    elif not row.role or set(ROLE_GROUPS.get(row.role, (row.role,))) & set(roles):
        yield row.role


def _entry_of(broken: Broken) -> tuple[str, ...]:
    """Return where the entry stands that a level was read from: its array and its place there."""
    pointers = (s.pointer.split("/") for own in broken.level.own.values() for s in own.values())
    return next((tuple(keys[1:3]) for keys in pointers if len(keys) > 3 and keys[2].isdigit()), ())


def _changeable(broken: Broken) -> list[Ref]:
    """Return the fields that a broken restriction reads and that may be changed, the most telling first."""
    read = list(dict.fromkeys(refs(broken.restriction.predicate)))
    about = [ref for ref in read if ref.field not in _SUPPOSED]
    return about or read


def _values(broken: Broken, ref: Ref, setting: Setting | None) -> list[Value]:
    """Return the values of a field with which a restriction holds for all of its tensors; of numbers, the nearest."""
    predicate, facts = broken.restriction.predicate, broken.level.facts()
    wanted = broken.restriction.polarity == "require"
    known = dict.fromkeys((*domain(ref.field), *_constants(predicate, ref.field)))
    said = setting.value if setting is not None else None

    def holds(value: Value) -> bool:
        for role in broken.roles:
            at = ref.role or role
            tried = {**facts, at: {**facts[at], ref.field: value}}
            if evaluate(predicate, tried, role) is not wanted:
                return False
        return True

    found: list[Value] = [value for value in known if value != said and holds(value)]
    numbers = [value for value in found if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if not numbers or not isinstance(said, (int, float)):
        return found[:_NEAREST] if numbers else found
    return [*sorted(numbers, key=lambda value: abs(value - said))[:_NEAREST]]


def _constants(predicate: Predicate, name: str) -> Iterator[Value]:
    """Yield the values that a predicate compares a field with."""
    match predicate:
        case Compare(left, _, right):
            if left.field == name and not isinstance(right, Ref):
                yield right
        case Member(left, values):
            yield from values if left.field == name else ()
        case Not(of):
            yield from _constants(of, name)
        case Both(parts) | Either(parts):
            for part in parts:
                yield from _constants(part, name)
        case Implies(premise, conclusion):
            yield from _constants(conclusion, name)
            yield from _constants(premise, name)


def _at_least(broken: Sequence[Broken], ways: Sequence[Sequence[Change]]) -> int:
    """Return a number of changes that are needed at least, for broken restrictions that share no way to mend them."""
    taken: set[tuple[object, ...]] = set()
    count = 0
    for each, changes in zip(broken, ways, strict=True):
        edits = {(*_place(change), change.value) for change in changes}
        if not edits & taken:
            count += ceil(len(each.roles) / max(_reach(each, change) for change in changes))
            taken |= edits
    return count


def _reach(broken: Broken, change: Change) -> int:
    """Return for how many of the tensors concerned a change mends a broken restriction."""
    if any(ref.role for ref in refs(broken.restriction.predicate)):
        return len(broken.roles)
    if change.setting is not None:
        said = (broken.level.setting(role, change.field) for role in broken.roles)
        return max(1, sum(setting is not None and is_same(setting, change.setting) for setting in said))
    reached = {role for named in change.roles or ROLES for role in ROLE_GROUPS.get(named, (named,))}
    return max(1, len(reached & set(broken.roles)))


def _place(change: Change) -> tuple[object, ...]:
    """Return what a change is made to, whatever value it has and gets."""
    if change.setting is not None:
        return change.setting.span.start, change.field
    return change.selector, change.roles, change.field


def _changed(config: Config, change: Change, number: int) -> Config:
    """Return a configuration with a change made; what is added has a place of its own behind the text."""
    if change.setting is not None:
        return replace(config, rules=tuple(_rule_with(rule, change.setting, change.value) for rule in config.rules))
    end = len(config.source.text) + 1 + number
    span = Span(config.source, end, end)
    added = Rule(change.selector, (Clause(change.roles, (Setting(change.field, change.value, span),), span),), span)
    return replace(config, rules=(*config.rules, added))


def _rule_with(rule: Rule, old: Setting, value: Value) -> Rule:
    clauses = (
        replace(clause, settings=tuple(replace(s, value=value) if is_same(s, old) else s for s in clause.settings))
        for clause in rule.clauses
    )
    return replace(rule, clauses=tuple(clauses))


def _is_legal(source: Source, after: str, target: str, format: str | None) -> bool:
    """Say whether a text breaks no restriction, and has no error that the one before it had not."""
    before = [d for d in _errors(source, target, format) if d.code != "Q0401"]
    now = _errors(Source(source.path, after), target, format)
    return all(d.code != "Q0401" for d in now) and len(now) <= len(before)


def _errors(source: Source, target: str, format: str | None) -> list[Diagnostic]:
    _, found = check_source(source, format=format, mode=Mode.FIXED, target=target)
    return [d for d in found if d.severity is Severity.ERROR]
