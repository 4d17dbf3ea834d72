"""Read Vitis AI configurations: the key table's reading, made to mean what the file means.

What is particular: a list of tensors says which ones the settings beside it are about; of two entries with one name
the later takes the other's place; and the program stops at its first complaint, which every finding is paired with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor
from qsimc.formats import keyed
from qsimc.formats.vitis_program import Complaint, complaints
from qsimc.ir.config import Clause, Config, Rule
from qsimc.ir.select import ROLES, Everything, OpType, Selector, show
from qsimc.source import Source, Span
from qsimc.spec.keymap import KeyTable
from qsimc.syntax.json import Array, Json, Member, Object, plain

_ENTRIES = "layer_quantize_config"


def read(table: KeyTable, source: Source, document: Json, report: Report) -> Config:
    """Return what a file says.  Everything wrong with it is reported; what can be read is read."""
    findings: list[Diagnostic] = []
    config = keyed.read(table, source, document, findings.append)
    entries = list(_entries(table, document))
    _unlike_entries(entries, findings.append)
    for finding in _paired(findings, list(complaints(document)), table.tool, source):
        report(finding)
    return replace(config, rules=tuple(_meant(config.rules)))


def last_part(op_type: str) -> str:
    """Return what the program compares of an operator type: `Conv2d` of `torch.nn.Conv2d`."""
    return op_type.rpartition(".")[2]


# ── rules ────────────────────────────────────────────────────────────────────────────────────


def _meant(rules: tuple[Rule, ...]) -> Iterator[Rule]:
    """Yield rules whose clauses name the tensors they are about; of entries with one name the last one counts."""
    entries: dict[Selector, Rule] = {}
    for rule in rules:
        if isinstance(rule.selector, Everything):
            yield replace(rule, clauses=tuple(_general(rule.clauses)))
        else:
            entries[_identity(rule.selector)] = replace(rule, clauses=tuple(_particular(rule.clauses)))
    yield from entries.values()


def _identity(selector: Selector) -> Selector:
    return OpType(last_part(selector.name)) if isinstance(selector, OpType) else selector


def _general(clauses: tuple[Clause, ...]) -> Iterator[Clause]:
    """The list of the whole file says what is quantized; what it leaves out is not."""
    for clause in clauses:
        yield clause
        for setting in clause.settings:
            left_out = tuple(role for role in ROLES if role not in clause.roles)
            if setting.field == "enabled" and left_out:
                yield Clause(left_out, (replace(setting, value=False),), clause.span)


def _particular(clauses: tuple[Clause, ...]) -> Iterator[Clause]:
    """An entry's overall block is about the tensors in the entry's list, and what its tensor blocks say is above it."""
    listed = [part for clause in clauses for part in _part(clause, listing=True)]
    roles = listed[-1].roles if listed else ROLES
    yield from (clause for clause in listed if clause.roles)
    others = [part for clause in clauses for part in _part(clause, listing=False)]
    if roles:
        yield from (replace(clause, roles=roles) for clause in others if not clause.roles)
    yield from (clause for clause in others if clause.roles)


def _part(clause: Clause, *, listing: bool) -> Iterator[Clause]:
    """Yield a clause with only the list of tensors in it, or with everything else."""
    settings = tuple(setting for setting in clause.settings if (setting.field == "enabled") is listing)
    if settings or (not clause.settings and not listing):
        yield replace(clause, settings=settings)


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
