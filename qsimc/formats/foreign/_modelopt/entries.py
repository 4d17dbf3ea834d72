"""Entries of a ModelOpt configuration, with what they import put in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qsimc.formats.foreign._modelopt.cfg import located
from qsimc.formats.foreign._modelopt.names import facts
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar

IMPORT = "$import"
_ENTRY = ("quantizer_name", "parent_class", "enable", "cfg")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: the quantizers that it names, and their attributes (None: it only switches them)."""

    name: str
    parent: str | None
    enable: bool
    attributes: Mapping[str, Member] | None
    span: Span  # of the whole entry
    subject: Span  # of the name
    switch: Span  # of what turns it on or off
    pointer: str
    cfg: Span


@dataclass(slots=True)
class Entries:
    """Reads the entries of one file; `imports` are those of its own section."""

    imports: Mapping[str, Member]
    findings: Findings

    def read(self, value: Json, pointer: str) -> Iterator[Entry]:
        """Yield the entries of `quant_cfg`, which used to be an object."""
        if isinstance(value, Array):
            for index, item in enumerate(value.items):
                yield from self._item(item, below(pointer, index))
        elif isinstance(value, Object):
            yield from self._old(value, pointer)
        else:
            self.findings.wrong(value, "`quant_cfg`", "an array of entries", pointer)

    def _item(self, item: Json, pointer: str) -> Iterator[Entry]:
        if not isinstance(item, Object):
            self.findings.wrong(item, "an entry of `quant_cfg`", "an object", pointer)
            return
        found = members(item)
        if IMPORT in found and "quantizer_name" not in found:
            for name, span in self._aliases(found[IMPORT].value, below(pointer, IMPORT)):
                yield from self._imported(name, span, below(pointer, IMPORT))
        elif "quantizer_name" not in found and found and not set(found) & set(_ENTRY):
            yield from self._old(item, pointer)
        else:
            yield from self._entry(item, found, pointer)

    def _entry(self, item: Object, found: Mapping[str, Member], pointer: str) -> Iterator[Entry]:
        for member in found.values():
            if member.key not in _ENTRY:
                self.findings.unknown(member, _ENTRY, "an entry", below(pointer, member.key), refused=True)
        named, parent = found.get("quantizer_name"), found.get("parent_class")
        name = _text(named)
        if named is None or name is None:
            place = named.value.span if named is not None else item.span
            self.findings.bad("an entry names its quantizers by `quantizer_name`", place, pointer)
            return
        if parent is not None and _text(parent) is None and not _null(parent.value):
            self.findings.bad("`parent_class` is the name of a class", parent.value.span, below(pointer, parent.key))
            return
        enable, cfg = found.get("enable"), found.get("cfg")
        on = enable.value.value if enable is not None and isinstance(enable.value, Scalar) else True
        if not isinstance(on, bool):
            assert enable is not None
            self.findings.bad("`enable` is true or false", enable.value.span, below(pointer, "enable"))
            return
        if enable is None and cfg is None:
            message = "an entry says something: `cfg`, `enable`, or both"
            self.findings.bad(message, item.span, pointer)
            return
        attributes = None
        if cfg is not None and not _null(cfg.value):
            attributes = self._attributes(cfg.value, below(pointer, "cfg"), on=on)
            if attributes is None:
                return
            attributes = attributes or None
        switch = enable.value.span if enable is not None else named.value.span
        at = cfg.value.span if cfg is not None else item.span
        yield Entry(name, _text(parent), on, attributes, item.span, named.value.span, switch, pointer, at)

    def _attributes(self, value: Json, pointer: str, *, on: bool) -> Mapping[str, Member] | None:
        """Return the attributes of `cfg`, with those that it imports under them; None after reporting an error."""
        if isinstance(value, Array) and value.items:
            if len(value.items) > 1:
                message = "quantizers one after the other are read as the first of them"
                self.findings.lost(LossKind.DTYPE, message, value.span, pointer, "type", "bits")
            value, pointer = value.items[0], below(pointer, 0)
        if not isinstance(value, Object):
            self.findings.wrong(value, "`cfg`", "an object of attributes", pointer)
            return None
        own = dict(members(value))
        imported: dict[str, Member] = {}
        if (reference := own.pop(IMPORT, None)) is not None:
            for name, span in self._aliases(reference.value, below(pointer, IMPORT)):
                found = self._numbers(name, span, below(pointer, IMPORT))
                if found is None:
                    return None
                imported |= found
        if on and not (own or imported):
            self.findings.bad("`cfg` is empty: leave it out, or name an attribute", value.span, pointer)
            return None
        return {**imported, **own}

    # ── imports ──────────────────────────────────────────────────────────────────────────────

    def _aliases(self, value: Json, pointer: str) -> Iterator[tuple[str, Span]]:
        """Yield what is imported: the path that each alias stands for, and where the alias is."""
        items = value.items if isinstance(value, Array) else (value,)
        for item in items:
            alias = item.value if isinstance(item, Scalar) else None
            if not isinstance(alias, str) or alias not in self.imports:
                known = ", ".join(f"`{name}`" for name in self.imports)
                helps = (f"imports: {known}",) if known else ("add it to the section `imports`",)
                self.findings.bad(f"`{str(alias)[:60]}` is not imported", item.span, pointer, *helps)
                continue
            path = _text(self.imports[alias])
            if path is None:
                self.findings.bad(f"`{alias}` is the path of a file", self.imports[alias].value.span, pointer)
            else:
                yield path, item.span

    def _imported(self, path: str, span: Span, pointer: str) -> Iterator[Entry]:
        """Yield the entries of a snippet that comes with ModelOpt; any other is lost."""
        name = _last(path)
        known = facts()
        for pattern in known.disabled.get(name, ()):
            parent = pattern if pattern.startswith("nn.") else None
            yield Entry("*" if parent else pattern, parent, False, None, span, span, span, pointer, span)
        for pattern, numbers in known.enabled.get(name, {}).items():
            attributes = _members(known.numerics[numbers], span)
            yield Entry(pattern, None, True, attributes, span, span, span, pointer, span)
        if name not in known.disabled and name not in known.enabled:
            message = f"only ModelOpt's own snippets are known here: what `{path}` says is dropped"
            self.findings.lost(LossKind.DROPPED, message, span, pointer)

    def _numbers(self, path: str, span: Span, pointer: str) -> Mapping[str, Member] | None:
        numbers = facts().numerics.get(_last(path))
        if numbers is None:
            message = f"only ModelOpt's own snippets are known here: what `{path}` says is dropped"
            self.findings.lost(LossKind.DROPPED, message, span, pointer, "bits", "type")
            return None
        return _members(numbers, span)

    # ── the old form ─────────────────────────────────────────────────────────────────────────

    def _old(self, value: Object, pointer: str) -> Iterator[Entry]:
        """Yield the entries of an object of names, in which a class has an object of its own."""
        for member in members(value).values():
            at = below(pointer, member.key)
            if member.key.startswith("nn.") and isinstance(member.value, Object):
                for inner in members(member.value).values():
                    yield from self._old_entry(inner, member.key, below(at, inner.key))
            else:
                yield from self._old_entry(member, None, at)

    def _old_entry(self, member: Member, parent: str | None, pointer: str) -> Iterator[Entry]:
        name = "*" if member.key == "default" else member.key
        value = member.value
        items = value.items if isinstance(value, Array) else (value,)
        if not items or not all(isinstance(item, Object) for item in items):
            self.findings.wrong(value, "what is said of a quantizer", "an object", pointer)
            return
        assert isinstance(items[0], Object)
        enable = members(items[0]).get("enable")
        on = enable.value.value if enable is not None and isinstance(enable.value, Scalar) else True
        attributes = self._attributes(value, pointer, on=on is not False)
        if attributes is None:
            return
        rest = {key: one for key, one in attributes.items() if key != "enable"}
        span = Span(member.key_span.source, member.key_span.start, value.span.end)
        switch = enable.value.span if enable is not None else member.key_span
        yield Entry(name, parent, on is not False, rest or None, span, member.key_span, switch, pointer, value.span)


def _members(table: Mapping[str, object], span: Span) -> Mapping[str, Member]:
    return {key: Member(key, span, located(value, span)) for key, value in table.items()}


def _last(path: str) -> str:
    return path.removesuffix(".yaml").removesuffix(".yml").rpartition("/")[2]


def _text(member: Member | None) -> str | None:
    value = member.value.value if member is not None and isinstance(member.value, Scalar) else None
    return value if isinstance(value, str) else None


def _null(value: Json) -> bool:
    return isinstance(value, Scalar) and value.value is None
