"""Read any keyed JSON format by its key table: one walk over the file, one Setting per key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, Vendor, did_you_mean
from qsimc.formats.codecs import CODECS
from qsimc.formats.decoded import Problem
from qsimc.ir.config import Clause, Config, Fusion, Option, Rule, Setting, Value
from qsimc.ir.select import NO_TENSOR, Boundary, Chain, Everything, NodeName, OpType, Selector, param_role
from qsimc.source import Source, Span
from qsimc.spec.keymap import KeyTable, Place, Row
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind


@dataclass(slots=True)
class _Draft:
    """A rule being read."""

    selector: Selector
    span: Span
    subject: Span | None = None
    clauses: list[tuple[tuple[str, ...], list[Setting], Span]] = field(default_factory=list)

    def add(self, roles: tuple[str, ...], setting: Setting, span: Span) -> None:
        """Add a setting to the clause of those roles; a new clause begins at `span`."""
        if self.clauses and self.clauses[-1][0] == roles and self.clauses[-1][1]:
            self.clauses[-1][1].append(setting)
        else:
            self.clauses.append((roles, [setting], span))

    def add_empty(self, roles: tuple[str, ...], span: Span) -> None:
        """Add a clause that says nothing: naming a tensor can matter."""
        self.clauses.append((roles, [], span))

    def rule(self) -> Rule:
        clauses = tuple(Clause(roles, tuple(settings), span) for roles, settings, span in self.clauses)
        return Rule(self.selector, clauses, self.span, self.subject)


def has_any(document: Json, keys: Collection[str]) -> bool:
    """Say whether a document has one of some keys at its top level."""
    return isinstance(document, Object) and any(m.key in keys for m in document.members)


def read(table: KeyTable, source: Source, document: Json, report: Report) -> Config:
    """Return what a vendor file says.  Everything wrong with it is reported; what can be read is read."""
    reader = _Reader(table, report)
    reader.walk(table.root, document, "", None, {})
    return Config(
        source=source,
        dialect=table.dialect,
        format=table.name,
        options=tuple(reader.options),
        rules=tuple(draft.rule() for draft in reader.drafts),
        fusions=tuple(reader.fusions),
        target=reader.target,
        target_span=reader.target_span,
    )


class _Reader:
    def __init__(self, table: KeyTable, report: Report) -> None:
        self.table = table
        self.report = report
        self.drafts: list[_Draft] = []
        self.options: list[Option] = []
        self.fusions: list[Fusion] = []
        self.target: str | None = None
        self.target_span: Span | None = None

    def walk(
        self, place: Place, value: Json, pointer: str, draft: _Draft | None, captured: Mapping[str, Member]
    ) -> None:
        """Read one value at one place of the table, within the rule `draft` if one has begun."""
        if place.row is not None:
            self._leaf(place.row, value, pointer, draft, captured)
        elif place.items is not None:
            if not isinstance(value, Array):
                self._wrong_section(place, value, pointer, "an array", "array")
                return
            if not value.items and place.empty:
                self.options.append(Option(place.path, (), value.span))
            for index, item in enumerate(value.items):
                self.walk(place.items, item, f"{pointer}/{index}", self._entry(place.items, item) or draft, captured)
        elif not isinstance(value, Object):
            self._wrong_section(place, value, pointer, "an object", "object")
        else:
            self._object(place, value, pointer, draft, captured)

    def _object(
        self, place: Place, value: Object, pointer: str, draft: _Draft | None, captured: Mapping[str, Member]
    ) -> None:
        if draft is not None and place.empty and not value.members:
            named = (param_role(captured[role].key) if role in captured else role for role in place.empty)
            draft.add_empty(() if place.empty == ("*",) else tuple(named), value.span)
        # Of equal keys the last one counts, as for every vendor's json.load; the parser has reported it.
        last = {member.key: member for member in value.members}
        if missing := [key for key in place.required if key not in last]:
            self._missing(place, missing, value, pointer)
        for member in value.members:
            if last[member.key] is not member:
                continue
            below = place.literal.get(member.key)
            inside = captured
            if below is None and place.capture is not None:
                name, below = place.capture
                inside = {**captured, name: member}
            at = f"{pointer}/{_escaped(member.key)}"
            if below is None:
                self._unknown(place, member, at)
                continue
            self.walk(below, member.value, at, self._begin(below, member, inside) or draft, inside)

    def _begin(self, place: Place, member: Member, captured: Mapping[str, Member]) -> _Draft | None:
        """Begin a rule where the table says that one begins."""
        if place.subject is None:
            return None
        fixed: dict[str, Selector] = {"*": Everything(), "model": Boundary()}
        selector = fixed[place.subject] if place.subject in fixed else OpType(captured[place.subject].key)
        span = Span(member.key_span.source, member.key_span.start, member.value.span.end)
        draft = _Draft(selector, span)
        self.drafts.append(draft)
        return draft

    def _entry(self, place: Place, item: Json) -> _Draft | None:
        """Begin the rule of an object in an array, which names its own subject; one that names none is left out."""
        if place.subject is None or not isinstance(item, Object):
            return None
        selector = entry_selector(place, item)
        draft = _Draft(selector or Everything(), item.span, _subject(place, item))
        if selector is not None:
            self.drafts.append(draft)
        return draft

    def _leaf(self, row: Row, value: Json, pointer: str, draft: _Draft | None, captured: Mapping[str, Member]) -> None:
        decoded = CODECS[row.codec](value)
        for problem in decoded.problems:
            self._bad_value(problem, pointer)
        # With defaults under it, what cannot be read must not look like what was not said.
        unknown = bool(decoded.problems) and not any(p.absent for p in decoded.problems) and not self.table.schema
        if decoded.value is None and not (unknown and draft is not None and row.codec != "kinds"):
            return
        if row.limit is not None and decoded.value not in row.limit.values:
            self._refused(row, decoded.value, value.span, pointer)
        if row.where == "entry":
            return
        if row.where == "target":
            self._target(str(decoded.value), value.span, pointer)
        elif row.where == "option":
            self.options.append(Option(row.field, decoded.value, value.span))
        elif row.where == "fuse":
            assert isinstance(decoded.value, tuple)
            steps = tuple(OpType(str(name)) for name in decoded.value)
            self.fusions.append(Fusion(Chain(steps), value.span))
        else:
            assert draft is not None, f"no rule begins above {row.path}"
            if row.codec == "kinds":
                self._kinds(draft, decoded.value, value.span, pointer)
                return
            setting = Setting(row.field, decoded.value, value.span, pointer)
            if named := captured.get(row.role):
                draft.add((param_role(named.key),), setting, named.key_span)
            else:
                draft.add((row.role,) if row.role else (), setting, value.span)

    def _kinds(self, draft: _Draft, roles: Value, span: Span, pointer: str) -> None:
        """Switch on the tensors of a list, which may be empty."""
        assert isinstance(roles, tuple)
        draft.add(tuple(map(str, roles)) or NO_TENSOR, Setting("enabled", True, span, pointer), span)

    def _target(self, device: str, span: Span, pointer: str) -> None:
        if device in self.table.devices:
            self.target, self.target_span = self.table.devices[device], span
            return
        near = did_you_mean(device, tuple(self.table.devices))
        known = ", ".join(f'`"{name}"`' for name in self.table.devices)
        self.report(
            Diagnostic(
                code="Q0212",
                name="unknown-device",
                severity=Severity.ERROR,
                message=f"no device is called `{device}`; case counts",
                labels=(Label(span),),
                notes=(f"{self.table.tool} takes any word here, checks nothing, and then stops: UnboundLocalError",),
                helps=(f"did you mean `{near}`?",) if near else (f"devices: {known}",),
                fixes=(Fix(f"write `{near}`", (Edit(span, f'"{near}"'),)),) if near else (),
                pointer=pointer,
            )
        )

    # ── diagnostics ──────────────────────────────────────────────────────────────────────────

    def _vendor(self, text: str | None, id_: str = "ValidationError") -> Vendor | None:
        return Vendor(self.table.tool, id_, text) if text is not None and self.table.schema else None

    def _bad_value(self, problem: Problem, pointer: str) -> None:
        if problem.absent:
            self._absent(problem, pointer)
            return
        self.report(
            Diagnostic(
                code="Q0202",
                name="bad-value",
                severity=Severity.ERROR,
                message=problem.message,
                labels=(Label(problem.span),),
                helps=problem.helps,
                fixes=problem.fixes,
                vendor=self._vendor(problem.vendor),
                pointer=pointer + problem.pointer,
            )
        )

    def _absent(self, problem: Problem, pointer: str) -> None:
        self.report(
            Diagnostic(
                code="Q0211",
                name="absent-value",
                severity=Severity.WARNING,
                message=problem.message,
                labels=(Label(problem.span),),
                helps=problem.helps,
                pointer=pointer,
            )
        )

    def _unknown(self, place: Place, member: Member, pointer: str) -> None:
        near = did_you_mean(member.key, tuple(place.literal))
        known = ", ".join(f"`{key}`" for key in place.literal)
        where = f"`{place.path}`" if place.path else "the top level"
        fix = None if near is None else Fix(f"rename to `{near}`", (Edit(member.key_span, f'"{near}"'),))
        self.report(
            Diagnostic(
                code="Q0201",
                name="unknown-key",
                severity=Severity.ERROR,
                message=f"no key is called `{member.key}` in {where}",
                labels=(Label(member.key_span),),
                notes=() if near else (f"known here: {known}",),
                helps=(f"did you mean `{near}`?" if near else "write a key that is known, or leave it out",),
                fixes=() if fix is None else (fix,),
                vendor=self._vendor(f"Additional properties are not allowed ({member.key!r} was unexpected)"),
                pointer=pointer,
            )
        )

    def _wrong_section(self, place: Place, value: Json, pointer: str, expected: str, schema_type: str) -> None:
        where = f"`{place.path}`" if place.path else "the whole file"
        self.report(
            Diagnostic(
                code="Q0203",
                name="wrong-section",
                severity=Severity.ERROR,
                message=f"{where} must be {expected}, found {kind(value)}",
                labels=(Label(value.span),),
                vendor=self._vendor(f"... is not of type '{schema_type}'"),
                pointer=pointer,
            )
        )

    def _missing(self, place: Place, keys: list[str], value: Object, pointer: str) -> None:
        where = f"`{place.path}`" if place.path else "the top level"
        help_ = f"add {', '.join(f'`{key}`' for key in keys)}"
        if not any(place.literal[key].row for key in keys):
            empty = ", ".join(f'"{key}": {"[]" if place.literal[key].items else "{}"}' for key in keys)
            help_ = f"add `{empty}`; sections may be empty"
        self.report(
            Diagnostic(
                code="Q0204",
                name="missing-section",
                severity=Severity.ERROR,
                message=f"{', '.join(f'`{key}`' for key in keys)} missing from {where}",
                labels=(Label(Span(value.span.source, value.span.start, value.span.start + 1)),),
                helps=(help_,),
                vendor=self._vendor(f"{keys[0]!r} is a required property"),
                pointer=pointer,
            )
        )

    def _refused(self, row: Row, value: Value, span: Span, pointer: str) -> None:
        assert row.limit is not None
        key = row.path.rpartition(".")[2]
        allowed = " or ".join(f'`"{v}"`' for v in row.limit.values)
        help_ = f"write {allowed}, or leave the key out" if allowed else "leave the key out"
        self.report(
            Diagnostic(
                code="Q0205",
                name="unsupported-value",
                severity=Severity.ERROR,
                message=f'`{key}` cannot be `"{value}"` here',
                labels=(Label(span),),
                helps=(help_,),
                vendor=self._vendor(row.limit.text, row.limit.id),
                pointer=pointer,
            )
        )


def entry_selector(place: Place, item: Object) -> Selector | None:
    """Return what an object in an array is about: its operator type, else its node, else nothing."""
    named = _named(place, item)
    if "op_type" in named:
        return OpType(str(named["op_type"].value))
    return NodeName(str(named["node_name"].value)) if "node_name" in named else None


def _subject(place: Place, item: Object) -> Span | None:
    """Return where an object in an array says what it is about."""
    named = _named(place, item)
    said = named.get("op_type") or named.get("node_name")
    return said.span if said is not None else None


def _named(place: Place, item: Object) -> Mapping[str, Scalar]:
    """Return the values of an object that name its subject, by what they name; the last of equal keys counts."""
    last = {member.key: member.value for member in item.members}
    found: dict[str, Scalar] = {}
    for key, below in place.literal.items():
        value = last.get(key)
        if below.row is not None and below.row.where == "entry" and isinstance(value, Scalar) and value.value:
            found[below.row.field] = value
    return found


def _escaped(key: str) -> str:
    """Return a key as a JSON pointer spells it (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
