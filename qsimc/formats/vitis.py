"""Read Vitis AI configurations, and say what rules of that dialect mean.

What is particular: a list of tensors says which ones the settings beside it are about; of two entries with one name
the later takes the other's place; and the program stops at its first complaint, which every finding is paired with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor
from qsimc.formats import keyed
from qsimc.formats.vitis_program import Complaint, complaints
from qsimc.ir.config import Clause, Config, Rule
from qsimc.ir.select import NO_TENSOR, ROLES, AnyOf, Everything, OpType, Selector, alternatives, show, spread
from qsimc.source import Source, Span
from qsimc.spec.keymap import KeyTable
from qsimc.syntax.json import Array, Json, Member, Object, plain

_ENTRIES = "layer_quantize_config"


def read(table: KeyTable, source: Source, document: Json, report: Report) -> Config:
    """Return what a file says, as it says it.  Everything wrong with it is reported; what can be read is read."""
    findings: list[Diagnostic] = []
    config = keyed.read(table, source, document, findings.append)
    entries = list(_entries(table, document))
    _unlike_entries(entries, findings.append)
    for finding in _paired(findings, list(complaints(document)), table.tool, source):
        report(finding)
    return config


def last_part(op_type: str) -> str:
    """Return what the program compares of an operator type: `Conv2d` of `torch.nn.Conv2d`."""
    return op_type.rpartition(".")[2]


# ── rules ────────────────────────────────────────────────────────────────────────────────────


def meaning(config: Config) -> Config:
    """Return a configuration of this dialect with rules that say what they mean by themselves.

    What `on` names is a list: over all operators it leaves the other tensors off, and in a rule about some of them the
    clauses for every role are about the listed tensors.  Of rules with lists about the same operators or the same node
    the last takes the place of the others.
    """
    return replace(config, rules=tuple(_meant(config.rules)))


def _meant(rules: tuple[Rule, ...]) -> Iterator[Rule]:
    lists = {_identity(one): index for index, r in enumerate(rules) if _lists(r) for one in alternatives(r.selector)}
    general = [rule for rule in rules if isinstance(rule.selector, Everything)]
    left_out = _left_out(general)
    last = next((rule for rule in reversed(general) if _lists(rule)), None)
    for index, rule in enumerate(rules):
        if isinstance(rule.selector, Everything):
            off = tuple(_switched_off(rule, left_out)) if rule is last and left_out else ()
            yield replace(rule, clauses=(*rule.clauses, *off))
            continue
        subjects = tuple(alternatives(rule.selector))
        counting = tuple(one for one in subjects if lists.get(_identity(one), index) <= index)
        if counting:
            selector = rule.selector if counting == subjects else AnyOf(counting)
            yield replace(rule, selector=selector, clauses=tuple(_particular(rule.clauses)))


def _lists(rule: Rule) -> bool:
    """Say whether a rule has a list of tensors."""
    return any(_is_list(clause) for clause in rule.clauses)


def _is_list(clause: Clause) -> bool:
    return bool(clause.roles) and any(s.field == "enabled" and s.value is True for s in clause.settings)


def _identity(selector: Selector) -> Selector:
    return OpType(last_part(selector.name)) if isinstance(selector, OpType) else selector


def _left_out(general: Iterable[Rule]) -> tuple[str, ...]:
    """Return the tensors that no rule over all operators switches on, if any switches some of them on."""
    clauses = [clause for rule in general for clause in rule.clauses]
    every = any(not c.roles and s.field == "enabled" and s.value is True for c in clauses for s in c.settings)
    listed = {role for clause in clauses if _is_list(clause) for said in clause.roles for role in spread(said)}
    return () if every else tuple(role for role in ROLES if role not in listed)


def _switched_off(rule: Rule, left_out: tuple[str, ...]) -> Iterator[Clause]:
    clause = next(clause for clause in reversed(rule.clauses) if _is_list(clause))
    for setting in clause.settings:
        if setting.field == "enabled":
            yield Clause(left_out, (replace(setting, value=False),), clause.span)


def _particular(clauses: tuple[Clause, ...]) -> Iterator[Clause]:
    """An entry's overall block is about the tensors in the entry's list, and what its tensor blocks say is above it."""
    listed = [part for clause in clauses for part in _part(clause, listing=True)]
    roles = tuple(dict.fromkeys(role for clause in listed for role in clause.roles if (role,) != NO_TENSOR))
    yield from (clause for clause in listed if clause.roles != NO_TENSOR)
    others = [part for clause in clauses for part in _part(clause, listing=False)]
    if roles or not listed:
        yield from (replace(clause, roles=roles) for clause in others if not clause.roles)
    yield from (clause for clause in others if clause.roles)


def _part(clause: Clause, *, listing: bool) -> Iterator[Clause]:
    """Yield a clause with only the list of tensors in it, or with everything else."""
    if listing is _is_list(clause):
        settings = tuple(setting for setting in clause.settings if not listing or setting.field == "enabled")
        yield replace(clause, settings=settings)
    elif not listing:
        others = tuple(setting for setting in clause.settings if setting.field != "enabled")
        if others:
            yield replace(clause, settings=others)


# ── findings ─────────────────────────────────────────────────────────────────────────────────


def _entries(table: KeyTable, document: Json) -> Iterator[tuple[Object, Selector | None, str]]:
    """Yield the objects of `layer_quantize_config`, what each is about, and its pointer."""
    member = _member(document, _ENTRIES)
    place = table.root.literal[_ENTRIES].items
    assert place is not None
    if member is not None and isinstance(member.value, Array):
        for index, item in enumerate(member.value.items):
            if isinstance(item, Object):
                yield item, keyed.entry_selector(place, item), f"/{_ENTRIES}/{index}"


def _member(value: Json, key: str) -> Member | None:
    members = value.members if isinstance(value, Object) else ()
    return next((m for m in reversed(members) if m.key == key), None)


def _unlike_entries(entries: list[tuple[Object, Selector | None, str]], report: Report) -> None:
    """Report entries that are about nothing, about two things, or about the same as a later one."""
    last = {_identity(selector): item for item, selector, _ in entries if selector is not None}
    for item, selector, pointer in entries:
        if selector is None:
            message = "the entry names neither a layer type nor a layer, so it has no effect"
            help_ = "name the operator in `layer_type`, or the layer in `layer_name`"
            report(_warning("Q0307", "nameless-entry", message, _opening(item), pointer, help_))
            continue
        if (winner := last[_identity(selector)]) is not item:
            message = f"a later entry is about `{show(selector)}` too and takes the place of this one"
            found = _warning("Q0309", "repeated-entry", message, _opening(item), pointer, "keep one of them")
            report(replace(found, labels=(*found.labels, Label(_opening(winner), "this one counts"))))
        name = _member(item, "layer_name")
        if isinstance(selector, OpType) and name is not None and plain(name.value):
            message = "`layer_name` has no effect beside `layer_type`"
            help_ = "make two entries, or leave one of the keys out"
            report(_warning("Q0308", "name-beside-type", message, name.value.span, f"{pointer}/layer_name", help_))
        _outside(item, pointer, report)


def _outside(item: Object, pointer: str, report: Report) -> None:
    """Report blocks about tensors that the entry's list leaves out: the program loses the defaults under them."""
    listed, blocks = _member(item, "quantizable_data_type"), _member(item, "tensor_quantize_config")
    if listed is None or not isinstance(listed.value, Array) or blocks is None or not isinstance(blocks.value, Object):
        return
    kinds = [plain(kind) for kind in listed.value.items]
    for block in blocks.value.members:
        if block.key not in kinds and block.key in ("input", "weights", "bias", "activation"):
            report(
                Diagnostic(
                    code="Q0310",
                    name="unlisted-tensor",
                    severity=Severity.WARNING,
                    message=f"the block for `{block.key}` stands in an entry whose list leaves `{block.key}` out",
                    labels=(Label(block.key_span, "settings here"), Label(listed.value.span, "not listed here")),
                    notes=("vai_q_pytorch takes such a block without the defaults, and stops when it calibrates",),
                    helps=(f'add `"{block.key}"` to the list',),
                    pointer=f"{pointer}/tensor_quantize_config/{block.key}",
                )
            )


def _opening(item: Object) -> Span:
    return Span(item.span.source, item.span.start, item.span.start + 1)


def _warning(code: str, name: str, message: str, span: Span, pointer: str, help_: str) -> Diagnostic:
    return Diagnostic(
        code=code,
        name=name,
        severity=Severity.WARNING,
        message=message,
        labels=(Label(span),),
        helps=(help_,),
        pointer=pointer,
    )


def _paired(findings: list[Diagnostic], said: list[Complaint], tool: str, source: Source) -> Iterator[Diagnostic]:
    """Yield findings with what the program says at the same place, and of its complaints those left alone."""
    vendors: dict[str, Vendor] = {}
    for index, complaint in enumerate(said):
        vendors.setdefault(complaint.pointer, Vendor(tool, complaint.id, complaint.text, (0, index)))
    for finding in findings:
        vendor = vendors.pop(finding.pointer, None) if finding.severity is Severity.ERROR else None
        yield replace(finding, vendor=vendor)
    for pointer, vendor in vendors.items():
        yield Diagnostic(
            code="Q0202",
            name="bad-value",
            severity=Severity.ERROR,
            message="vai_q_pytorch stops here",
            labels=(Label(Span(source, 0, min(1, len(source.text)))),),
            vendor=vendor,
            pointer=pointer,
        )
