"""Rules of a ModelOpt configuration: entries in order, the later of which win whatever they name.

Among rules the more special ones win, so an entry about all modules is applied to those said before, too.  Where a
class is said after a name the rules cannot tell that it wins: that is a loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qsimc.formats.foreign._modelopt.cfg import Attributes, default_settings
from qsimc.formats.foreign._modelopt.entries import Entries, Entry
from qsimc.formats.foreign._modelopt.names import (
    ROLES,
    classes,
    facts,
    named,
    operators,
    selector_of_class,
    selector_of_names,
)
from qsimc.formats.foreign._shared import Findings
from qsimc.ir.config import Clause, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.select import Everything, Selector
from qsimc.source import Span
from qsimc.syntax.json import Json, Member, plain

_MOST_ENTRIES = 5000
"""An entry about all modules is compared with all before it; no person writes so many."""

Fields = dict[str, Setting]


@dataclass(slots=True)
class _Said:
    """What entries say of some modules: of each tensor all, or no more than that it is quantized."""

    selector: Selector
    span: Span
    subject: Span
    tensors: dict[str, Fields] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)

    def put(self, role: str, fields: Fields, *, complete: bool) -> None:
        self.tensors[role] = fields if complete else {**self.tensors.get(role, {}), **fields}


def rules(
    value: Json | None,
    imports: Mapping[str, Member],
    calib: Setting | None,
    span: Span,
    pointer: str,
    findings: Findings,
) -> list[Rule]:
    """Return the rules of `quant_cfg`, None if a file leaves it out; `calib` is how ranges of weights are found."""
    reader = _Reader(findings, span)
    if value is not None:
        for at, entry in enumerate(Entries(imports, findings).read(value, pointer)):
            if at == _MOST_ENTRIES:
                findings.bad(f"the file has more than {_MOST_ENTRIES} entries", entry.span, entry.pointer)
                break
            reader.entry(entry)
    reader.lose_halves()
    return [_rule(said, calib) for said in (reader.general, *reader.classes.values(), *reader.names) if said.tensors]


def _rule(said: _Said, calib: Setting | None) -> Rule:
    clauses: list[Clause] = []
    for role, fields in said.tensors.items():
        if role == "weight" and calib is not None and "calib" in fields:
            fields = {**fields, "calib": calib}
        settings = tuple(fields.values())
        same = next((at for at, clause in enumerate(clauses) if clause.settings == settings), None)
        if same is None:
            clauses.append(Clause((role,), settings, said.span))
        else:
            clauses[same] = Clause((*clauses[same].roles, role), settings, said.span)
    return Rule(said.selector, tuple(clauses), said.span, said.subject)


class _Reader:
    def __init__(self, findings: Findings, span: Span) -> None:
        self.findings = findings
        self.classes: dict[Selector, _Said] = {}
        self.names: list[_Said] = []
        self.words: dict[str, list[tuple[str, object]]] = {}  # what is said of each class
        self.spans: dict[str, Span] = {}
        # Before all entries inputs and weights have 8 bits, and outputs are left alone.
        self.general = _Said(Everything(), span, span)
        for role in ROLES:
            switch = Setting("enabled", role != "output", span)
            self.general.tensors[role] = {"enabled": switch, **{s.field: s for s in default_settings(span)}}
        self.general.tensors["bias"] = {"enabled": Setting("enabled", False, span)}

    def entry(self, entry: Entry) -> None:
        subject = named(entry.name)
        if subject is None:
            self._elsewhere(entry)
            return
        selector = self._selector(entry, named_=subject.names is not None)
        if selector is None:
            return
        roles = subject.roles
        if entry.parent is not None and not set(operators(entry.parent)) & facts().weighted:
            roles = tuple(role for role in roles if role != "weight")
        fields = dict(self._fields(entry, roles))
        value = "off" if not entry.enable else _value(entry)
        complete = entry.attributes is not None
        if entry.parent is not None:
            said = self.classes.setdefault(selector, _Said(selector, entry.span, entry.subject))
            self._against_names(roles, value, entry)
            self.words.setdefault(entry.parent, []).append((entry.name, value))
            self.spans |= dict.fromkeys(operators(entry.parent), entry.subject)
        elif subject.names is not None:
            said = _Said(selector_of_names(subject.names), entry.span, entry.subject)
            self.names.append(said)
        else:
            said = self.general
            self._overrule(fields, complete=complete)
        for role, settings in fields.items():
            said.put(role, settings, complete=complete)
            said.values[role] = value

    def _elsewhere(self, entry: Entry) -> None:
        """Lose quantizers that are none of an input, an output or a weight, unless they are switched off."""
        if entry.enable:
            message = f"no tensor of a node is what `{entry.name}` names: it is dropped"
            self.findings.lost(LossKind.PLACEMENT, message, entry.subject, entry.pointer, "enabled")

    def _selector(self, entry: Entry, *, named_: bool) -> Selector | None:
        """Return the operators of a class, or all; None after reporting a class that cannot be told."""
        if entry.parent is None:
            return Everything()
        found = selector_of_class(entry.parent)
        if found is None and entry.enable:
            message = f"no operator is a module of class `{entry.parent}`: what is said of it is dropped"
            self.findings.lost(LossKind.PLACEMENT, message, entry.subject, entry.pointer, "enabled")
        if found is not None and named_:
            message = f"modules by name and by class at once cannot be told: `{entry.name}` is dropped"
            self.findings.lost(LossKind.SELECTOR, message, entry.subject, entry.pointer)
            return None
        return found

    def _fields(self, entry: Entry, roles: tuple[str, ...]) -> Iterator[tuple[str, Fields]]:
        """Yield what an entry says of each tensor; of weights, which have channels of their own, first."""
        switch = {"enabled": Setting("enabled", entry.enable, entry.switch, entry.pointer)}
        operator = next(iter(operators(entry.parent)), "") if entry.parent is not None else ""
        findings = self.findings
        for role in sorted(roles, key=ROLES.index):
            if entry.attributes is None:
                yield role, dict(switch)
                continue
            read = Attributes(entry.attributes, f"{entry.pointer}/cfg", role, operator, findings)
            yield role, {**switch, **{setting.field: setting for setting in read.settings(entry.cfg)}}
            findings = Findings(self.findings.tool, lambda _: None)  # what is wrong was reported with the first

    # ── precedence ───────────────────────────────────────────────────────────────────────────

    def _overrule(self, fields: Mapping[str, Fields], *, complete: bool) -> None:
        """Apply an entry about all modules to what was said of some of them."""
        for said in (*self.classes.values(), *self.names):
            for role in set(said.tensors) & set(fields):
                if complete:
                    del said.tensors[role], said.values[role]
                else:
                    said.put(role, fields[role], complete=False)
        self.names = [said for said in self.names if said.tensors]

    def _against_names(self, roles: tuple[str, ...], value: object, entry: Entry) -> None:
        """Lose that a class, said later, wins over a name."""
        for said in self.names:
            if any(said.values.get(role, value) != value for role in roles):
                message = f"what was said of modules by name wins over the class `{entry.parent}`, which is said later"
                self.findings.lost(LossKind.PRECEDENCE, message, entry.subject, entry.pointer)
                return

    def lose_halves(self) -> None:
        """Lose what is said of some classes of an operator and not of the others, or otherwise."""
        told: set[tuple[str, ...]] = set()
        for operator, span in self.spans.items():
            every = classes(operator)
            said = {word: self.words.get(word, []) for word in every}
            if every not in told and any(one != said[every[0]] for one in said.values()):
                some = " and ".join(f"`{word}`" for word in every if said[word])
                message = f"what is said of {some} is read as of every {operator}"
                self.findings.lost(LossKind.SELECTOR, message, span, "")
            told.add(every)


def _value(entry: Entry) -> object:
    return None if entry.attributes is None else {key: plain(m.value) for key, m in entry.attributes.items()}
