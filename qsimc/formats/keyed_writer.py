"""Write any keyed JSON format by its key table: what `keyed` reads, written back key by key.

A configuration of the table's own dialect comes out as it was read, empty entries and doubles included.  Any other one
is first brought into the dialect (formats.dialects), and what the table has no key for is a loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qsimc.formats import builtin
from qsimc.formats.encoders import NoWordError, encode, nearest
from qsimc.ir.config import Clause, Config, Rule, Setting, show_rule
from qsimc.ir.loss import OF_FIELD, Lose, Loss, LossKind
from qsimc.ir.select import (
    NO_TENSOR,
    ROLES,
    Boundary,
    Everything,
    NodeName,
    OpType,
    Selector,
    alternatives,
    chains,
    param_name,
    show,
    spread,
)
from qsimc.spec import keymap
from qsimc.spec.keymap import KeyTable, Place, Row

_SUBJECTS: Mapping[type, str] = {Everything: "*", Boundary: "model", OpType: "<op>"}
_ITEMS = "[]"


def write(table: KeyTable, config: Config, lose: Lose) -> str:
    """Return a configuration as a file of a vendor; what the vendor's format cannot say is lost, one by one."""
    writer = _Writer(table, lose)
    writer.header(config)
    for rule in config.rules:
        for selector in alternatives(rule.selector):
            writer.rule(replace(rule, selector=selector))
    writer.fusions(config)
    for restriction in config.restrictions:
        if builtin.is_own(restriction.span.source):  # what a target demands goes with its name
            continue
        message = f"{table.title} has no restrictions of its own: `{restriction.span.text}`"
        lose(Loss(LossKind.RESTRICTION, message, restriction.span))
    return json.dumps(writer.finished(), indent=2, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class _Entry:
    """An object in the array of entries, and what it is about."""

    selector: Selector
    content: dict[str, Any] = field(default_factory=dict)


class _Writer:
    def __init__(self, table: KeyTable, lose: Lose) -> None:
        self.table = table
        self.lose = lose
        self.document: dict[str, Any] = {}
        self.entries: list[_Entry] = []
        self.rows = {(row.where, row.role, row.field): row for row in keymap.rows(table.root)}
        self.lists = any(row.codec == "kinds" for row in self.rows.values())
        self.listed: dict[int, list[str]] = {}

    # ── header, fusions ──────────────────────────────────────────────────────────────────────

    def header(self, config: Config) -> None:
        """Write the target and the options."""
        row = next((row for row in self.rows.values() if row.where == "target"), None)
        device = next((word for word, target in self.table.devices.items() if target == config.target), None)
        if row is not None and device is not None:
            _put(self.document, _keys(row.path), device)
        elif config.target is not None and row is not None:
            message = f"{self.table.title} cannot name the target `{config.target}`"
            self.lose(Loss(LossKind.OPTION, message, config.target_span))
        for option in config.options:
            row = self.rows.get(("option", "", option.name))
            if row is not None:
                _put(self.document, _keys(row.path), encode(self.table, row.codec, option.value))
            elif option.value == () and self._is_empty_list(option.name):
                self.document[option.name] = []
            else:
                message = f"{self.table.title} has no option `{option.name}`"
                self.lose(Loss(LossKind.OPTION, message, option.span))

    def _is_empty_list(self, name: str) -> bool:
        place = self.table.root.literal.get(name)
        return place is not None and place.empty == ("option",)

    def fusions(self, config: Config) -> None:
        """Write supergroups, each chain of operators by itself."""
        row = self.rows.get(("fuse", "", "chain"))
        for fusion in config.fusions:
            if row is None:
                message = f"{self.table.title} cannot name operators that run as one: `{show(fusion.chain)}`"
                self.lose(Loss(LossKind.SUPERGROUP, message, fusion.span))
                continue
            section, _, key = row.path.partition(f"{_ITEMS}.")
            self.document.setdefault(section, []).extend({key: list(ops)} for ops in chains(fusion.chain))

    # ── rules ────────────────────────────────────────────────────────────────────────────────

    def rule(self, rule: Rule) -> None:
        """Write one rule about one subject."""
        where, content, captured = self._subject(rule)
        if where is None:
            self._lose_rule(rule)
            return
        if where == "<op>":
            self._stand(_keys("op_type.<op>", captured))
        if self.lists and where in ("*", "<entry>"):
            self._list(rule, content)
        for clause in sorted(rule.clauses, key=_rank):
            if not clause.settings:
                self._empty(where, clause, content, captured)
            for setting in clause.settings:
                if not (self.lists and setting.field == "enabled"):
                    self._setting(where, clause, setting, content, captured, rule)

    def _subject(self, rule: Rule) -> tuple[str | None, dict[str, Any], dict[str, str]]:
        """Return how the table calls what a rule is about, the object that it is written into, and its name."""
        selector = rule.selector
        by_entry = any(row.where == "<entry>" for row in self.rows.values())
        if by_entry and (isinstance(selector, OpType) or (isinstance(selector, NodeName) and not selector.glob)):
            return "<entry>", self._entry(rule).content, {}
        where = _SUBJECTS.get(type(selector))
        if where is None or not any(row.where == where for row in self.rows.values()):
            return None, {}, {}
        return where, self.document, {"<op>": selector.name} if isinstance(selector, OpType) else {}

    def _entry(self, rule: Rule) -> _Entry:
        """Return the entry that a rule is written into: a new one if it has a list of its own."""
        known = next((entry for entry in reversed(self.entries) if entry.selector == rule.selector), None)
        if known is not None and rule.clauses and not any(_is_list(clause) for clause in rule.clauses):
            return known
        selector = rule.selector
        entry = _Entry(selector)
        entry.content["layer_type"] = selector.name if isinstance(selector, OpType) else None
        entry.content["layer_name"] = selector.pattern if isinstance(selector, NodeName) else None
        self.entries.append(entry)
        return entry

    def _setting(
        self,
        where: str,
        clause: Clause,
        setting: Setting,
        content: dict[str, Any],
        captured: Mapping[str, str],
        rule: Rule,
    ) -> None:
        """Write one setting for each of its tensors, by the widest keys that mean just those."""
        for role in clause.roles or ("",):
            rows = list(self._rows(where, role, setting.field))
            if not rows:
                self._no_key(rule, role, setting)
            for row, name in rows:
                self._value(row, setting, content, {**captured, "<param>": name}, rule)

    def _rows(self, where: str, role: str, name: str) -> Iterator[tuple[Row, str]]:
        """Yield the rows that together say a field of a role, and for each the parameter it names."""
        if (row := self.rows.get((where, role, name))) is not None:
            yield row, role
            return
        if role and role not in ("act", "param", "input", "output") and (where, "<param>", name) in self.rows:
            yield self.rows[where, "<param>", name], param_name(role)
            return
        parts: tuple[str, ...] = {"": ("act", "param"), "act": ("input", "output"), "param": ("weight", "bias")}.get(
            role, ()
        )
        found = [list(self._rows(where, part, name)) for part in parts]
        if all(found):
            for part in found:
                yield from part

    def _value(
        self, row: Row, setting: Setting, content: dict[str, Any], captured: Mapping[str, str], rule: Rule
    ) -> None:
        if row.limit is not None and setting.value not in row.limit.values:
            if setting.value is not None:
                message = f"{self.table.tool} refuses `{show_rule(rule.selector, _said_role(row), setting)}`"
                self.lose(_loss(setting, message))
            return
        try:
            value = encode(self.table, row.codec, setting.value)
        except NoWordError as error:
            value = nearest(self.table, row.codec, setting.value)
            instead = f"; `{value}` is nearest" if value is not None else ""
            self.lose(_loss(setting, f"`{_last(row.path)}` of {self.table.title} {error}{instead}"))
        if value is not None:
            _put(content, _keys(_within(row.path), captured), value)

    def _empty(self, where: str, clause: Clause, content: dict[str, Any], captured: Mapping[str, str]) -> None:
        """Write an object with nothing in it, where the table says that such a one counts."""
        for place, is_entry in _empties(self.table.root):
            if is_entry is not (where == "<entry>") or not _stands_for(place, clause.roles):
                continue
            if (place.path.startswith("op_type.")) is not (where == "<op>"):
                continue
            names = {**captured, **dict.fromkeys(("<param>",), param_name(clause.roles[0]) if clause.roles else "")}
            self._stand(_keys(_within(place.path), names), content)
            return

    def _stand(self, keys: Sequence[str], content: dict[str, Any] | None = None) -> None:
        at = self.document if content is None else content
        for key in keys:
            at = at.setdefault(key, {})

    # ── lists of tensors ─────────────────────────────────────────────────────────────────────

    def _list(self, rule: Rule, content: dict[str, Any]) -> None:
        """Write which tensors a rule is about."""
        said = [(c, s) for c in rule.clauses for s in c.settings if s.field == "enabled" and s.value is not None]
        is_general = isinstance(rule.selector, Everything)
        listed = self.listed.get(id(content))
        for clause, setting in said:
            if setting.value:
                named = [] if clause.roles == NO_TENSOR else [r for said in clause.roles or ("",) for r in spread(said)]
                listed = [*(listed or ()), *(r for r in named if r in ROLES)]
            elif is_general:
                off = {role for said in clause.roles or ("",) for role in spread(said)}
                listed = [role for role in (ROLES if listed is None else listed) if role not in off]
            else:
                self._cannot_switch_off(rule, clause, setting)
        if listed is None and not is_general:
            general = self.listed.get(id(self.document), list(ROLES))
            spoken = {r for c in rule.clauses for said in c.roles or ("",) for r in spread(said) if c.settings}
            listed = [role for role in general if role in spoken]
        if listed is None:
            return
        self.listed[id(content)] = listed
        words = {role: word for word, role in self.table.roles.items()}
        content["quantizable_data_type"] = [words[role] for role in listed]

    def _cannot_switch_off(self, rule: Rule, clause: Clause, setting: Setting) -> None:
        general = self.listed.get(id(self.document), list(ROLES))
        if any(role in general for said in clause.roles or ("",) for role in spread(said)):
            message = f"an entry of {self.table.title} cannot leave a tensor float"
            self.lose(_loss(setting, f"{message}: `{show_rule(rule.selector, clause.roles, setting)}`"))

    # ── losses ───────────────────────────────────────────────────────────────────────────────

    def _no_key(self, rule: Rule, role: str, setting: Setting) -> None:
        said = show_rule(rule.selector, (role,) if role else (), setting)
        self.lose(_loss(setting, f"{self.table.title} has no key for `{said}`"))

    def _lose_rule(self, rule: Rule) -> None:
        message = f"{self.table.title} has no rules about `{show(rule.selector)}`"
        fields = tuple(dict.fromkeys(s.field for clause in rule.clauses for s in clause.settings))
        self.lose(Loss(LossKind.SELECTOR, message, rule.subject or rule.span, fields=fields))

    # ── the document ─────────────────────────────────────────────────────────────────────────

    def finished(self) -> dict[str, Any]:
        """Return the document, its sections in the table's order, those present that must be."""
        if self.entries:
            array = next(row.path.partition(_ITEMS)[0] for row in self.rows.values() if row.where == "<entry>")
            self.document[array] = [entry.content for entry in self.entries]
        _complete(self.table.root, self.document)
        order = {key: place for place, key in enumerate(self.table.root.literal)}
        return dict(sorted(self.document.items(), key=lambda item: order[item[0]]))


def _is_list(clause: Clause) -> bool:
    return bool(clause.roles) and any(s.field == "enabled" and s.value is True for s in clause.settings)


def _rank(clause: Clause) -> int:
    """Return the rank of a clause within its rule: a named tensor is written over a group, a group over all."""
    return min((len(ROLES) - len(spread(role)) for role in clause.roles), default=0)


def _loss(setting: Setting, message: str) -> Loss:
    return Loss(OF_FIELD[setting.field], message, setting.span, fields=(setting.field,), pointer=setting.pointer)


def _said_role(row: Row) -> tuple[str, ...]:
    return (row.role,) if row.role else ()


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _within(path: str) -> str:
    """Return a path relative to the entry that it is in."""
    return path.rpartition(f"{_ITEMS}.")[2]


def _keys(path: str, captured: Mapping[str, str] | None = None) -> list[str]:
    return [(captured or {}).get(segment, segment) for segment in path.split(".")]


def _put(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    *above, last = keys
    for key in above:
        content = content.setdefault(key, {})
    content[last] = value


def _complete(place: Place, content: dict[str, Any]) -> None:
    """Add the objects and arrays that must be present."""
    for key in place.required:
        below = place.literal[key]
        if below.row is None:
            _complete(below, content.setdefault(key, {} if below.items is None else []))


def _empties(place: Place, *, in_entry: bool = False) -> Iterator[tuple[Place, bool]]:
    """Yield the places whose emptiness counts, each with whether it is inside an entry."""
    if place.empty and place.empty != ("option",):
        yield place, in_entry
    below: Iterable[Place] = (*place.literal.values(), *((place.capture[1],) if place.capture else ()))
    for inner in below:
        yield from _empties(inner, in_entry=in_entry)
    if place.items is not None:
        yield from _empties(place.items, in_entry=True)


def _stands_for(place: Place, roles: tuple[str, ...]) -> bool:
    if place.empty == ("*",):
        return roles == ()
    if place.empty == ("<param>",):
        return len(roles) == 1 and roles != ("param",)
    return place.empty == roles
