"""Settings that say again what a more general one of the same file says, so that nothing changes without them.

AIMET alone: vai_q_pytorch reads a block that is there in another way than one that is not (`percentage`).  Only claimed
where no other rule of the same rank can have a say on the same tensors: one tensor has one quantizer, and what two
operators want of it meets there (planning/section.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from qsimc.checks.names import PARAMS
from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Clause, Config, Rule, Setting, Value, show_rule
from qsimc.ir.select import Everything, OpType, Selector, alternatives
from qsimc.spec.ops import operators

_ACTS = ("input", "output")
_MEMBERS: Mapping[str, tuple[str, ...]] = {"": (*_ACTS, *PARAMS), "act": _ACTS, "param": PARAMS} | {
    role: (role,) for role in (*_ACTS, *PARAMS)
}
_GROUP = dict.fromkeys(_ACTS, "act") | dict.fromkeys(PARAMS, "param")
_NOT_COMPARED = frozenset({"kernels", "range", "type"})
"""`kernels` is about precisions (Q0305); a fixed range also decides the symmetry, and a type the width."""

_SHOWN = 3


_Words: TypeAlias = "dict[tuple[str, str], _Word]"


@dataclass(frozen=True, slots=True, eq=False)
class _Word:
    """A setting where a rule says it, for the operator types of the rule; "" stands for `*`."""

    rule: Rule
    clause: Clause
    setting: Setting
    names: tuple[str, ...]


@dataclass(slots=True)
class _Said:
    """What a configuration says: name -> (role, field) -> the last word on it.

    `again` holds the words on what an earlier word was about; `values` are those of any operator type, or of `*`, by
    group of roles and by field.
    """

    words: list[_Word] = field(default_factory=list)
    again: set[_Word] = field(default_factory=set)
    by_name: dict[str, _Words] = field(default_factory=lambda: {"": {}})
    values: dict[tuple[bool, str, str], set[Value]] = field(default_factory=dict)


def check(config: Config, report: Report) -> None:
    """Report repeated settings, all of a file at once."""
    if config.dialect == "vitis":
        return
    said = _sorted_out(config)
    found = [(word, base) for word in said.words if (base := _base(said, word)) is not None]
    found = [(word, base) for word, base in found if _is_here(config, word) and _is_here(config, base)]
    if found:
        report(_repeated(found))


def _sorted_out(config: Config) -> _Said:
    said = _Said()
    for rule in config.rules:
        names = tuple(_names(rule.selector))
        if not names:
            continue
        for clause in rule.clauses:
            for setting in clause.settings:
                word = _Word(rule, clause, setting, names)
                said.words.append(word)
                for role in clause.roles or ("",):
                    for name in names:
                        own = said.by_name.setdefault(name, {})
                        if (role, setting.field) in own:
                            said.again.add(word)
                        own[role, setting.field] = word
                    for group in _groups(role):
                        said.values.setdefault((names != ("",), group, setting.field), set()).add(setting.value)
    return said


def _names(selector: Selector) -> Iterator[str]:
    for subject in alternatives(selector):
        if isinstance(subject, Everything | OpType):
            yield subject.name if isinstance(subject, OpType) else ""


def _groups(role: str) -> tuple[str, ...]:
    return (_GROUP.get(role, role),) if role else ("act", "param")


def _base(said: _Said, word: _Word) -> _Word | None:
    """Return the more general word that a word repeats for all of its subjects and tensors, None if there is none."""
    if word in said.again:
        return None  # without it the earlier one holds
    found: _Word | None = None
    for name in word.names:
        for role in word.clause.roles or ("",):
            if role not in _MEMBERS or said.by_name[name][role, word.setting.field] is not word:
                return None
            if not _is_alone(said, name, role, word.setting):
                return None
            for member in _MEMBERS[role]:
                base = _inherited(said, name, role, member, word.setting.field)
                if base is None or base.setting.value != word.setting.value:
                    return None
                found = found or base
    return found


def _inherited(said: _Said, name: str, role: str, member: str, field_: str) -> _Word | None:
    """Return what decides a field of one tensor where `name[role]` says nothing of it."""
    order = (member, _GROUP[member], "")
    own, general = said.by_name[name], said.by_name[""]
    places = [(own, r) for r in order[order.index(role) + 1 :]]
    places += [(general, r) for r in order] if name else []
    return next((words[r, field_] for words, r in places if (r, field_) in words), None)


def _is_alone(said: _Said, name: str, role: str, setting: Setting) -> bool:
    """Say whether nothing else that AIMET does hangs on a setting, or on which of two rules comes first."""
    groups = _groups(role)
    if setting.field in _NOT_COMPARED or (setting.field == "bits" and _speaks_of_types(said)):
        return False
    # Parameters of `*` are told by their names, one after another; all else meets in the tensors that operators share.
    if (name or groups != ("param",)) and any(len(said.values[bool(name), g, setting.field]) > 1 for g in groups):
        return False
    if not name:
        return True
    row = operators()[name]
    if row.grid_preserving or row.produces_constant or (groups != ("act",) and not row.params):
        return False
    if setting.field == "enabled" and role != "output" and groups != ("param",):
        return False  # inputs of the model and constants wait for a rule of their own
    if setting.field == "symmetric":
        return _decides_no_symmetry(said, row.dynamic_weight is not None, role, setting)
    return True


def _speaks_of_types(said: _Said) -> bool:
    return any(field_ == "type" for _, _, field_ in said.values)


def _decides_no_symmetry(said: _Said, dynamic: bool, role: str, setting: Setting) -> bool:
    """Say whether no fixed range and no computed weight takes its symmetry from elsewhere without this setting."""
    if "act" in _groups(role) and (True, "act", "range") in said.values:
        return False
    if not dynamic or role != "weight":
        return True
    general = said.by_name[""]
    stored = general.get(("param", "symmetric")) or general.get(("", "symmetric"))
    return stored is not None and stored.setting.value == setting.value


def _is_here(config: Config, word: _Word) -> bool:
    """Say whether a rule of this very file says a setting, and no `let`, which is said for several rules."""
    own, span = word.clause.span, word.setting.span
    return span.source is config.source and (config.format != "qsim" or own.start <= span.start < own.end)


def _repeated(found: Sequence[tuple[_Word, _Word]]) -> Diagnostic:
    word, base = found[0]
    message = f"{_spelled(word)} repeats {_spelled(base)}"
    labels = [Label(word.setting.span, "said again"), Label(base.setting.span, "said here already")]
    help_ = "leave it out: nothing changes"
    if len(found) > 1:
        message = f"{len(found)} settings repeat what more general ones say"
        labels = [Label(w.setting.span, f"as {_spelled(b)} says") for w, b in found[:_SHOWN]]
        help_ = "leave them out: nothing changes"
    return Diagnostic(
        code="Q0315",
        name="repeats-default",
        severity=Severity.INFO,
        message=message,
        labels=tuple(labels),
        helps=(help_,),
        pointer=word.setting.pointer,
    )


def _spelled(word: _Word) -> str:
    """Return what a setting is called in its own file."""
    if word.setting.pointer:
        path = word.setting.pointer.removeprefix("/").replace("/", ".")
        return f"`{path.replace('~1', '/').replace('~0', '~')}`"
    return f"`{show_rule(word.rule.selector, word.clause.roles, word.setting)}`"
