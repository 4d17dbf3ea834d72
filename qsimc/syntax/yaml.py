"""YAML read as located JSON: the same values, with a span on every value and every key.

What YAML has and JSON has not is read where it says the same (comments, anchors and aliases, merge keys, bare words)
and refused where it would make anything but plain values: tags, and keys that are lists or mappings.  Aliases count as
often as they are used, so that a short text cannot stand for a huge one.  A key is the text that stands there: `-1`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.source import Source, Span
from qsimc.syntax.json import MAX_DEPTH, Array, Json, Member, Object, Scalar

MAX_VALUES = 100_000
"""Values of one file, those of aliases counted at each use."""

_MAX_DIGITS = 400  # of one number, as in JSON
_MERGE = "tag:yaml.org,2002:merge"
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def parse(source: Source, report: Report) -> Json | None:
    """Return the located value of a YAML text with one document, or None after reporting why there is none."""
    documents = parse_all(source, report)
    if documents is None:
        return None
    if len(documents) > 1:
        report(_bad(f"the file holds {len(documents)} documents, and one is read", documents[1].span))
        return None
    return documents[0] if documents else Scalar(None, Span(source, 0, 0))


def parse_all(source: Source, report: Report) -> tuple[Json, ...] | None:
    """Return the located values of all documents of a YAML text, or None after reporting why they cannot be read."""
    try:
        return tuple(_documents(source, report))
    except _StopError as stop:
        report(stop.diagnostic)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = min(mark.index if mark is not None else 0, len(source.text))
        message = " ".join(part for part in (error.context, error.problem) if part)
        report(_bad(message or "the text cannot be read", Span(source, at, min(at + 1, len(source.text)))))
    except yaml.reader.ReaderError as error:
        report(_bad("the text holds a character that YAML does not allow", _character(source, error.position)))
    except (ValueError, OverflowError) as error:  # out of PyYAML's own scanner: `\U00110000` in a string
        report(_bad(f"the text cannot be read: {error}", Span(source, 0, 0)))
    return None


class _StopError(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


@dataclass(slots=True)
class _Open:
    """A list or mapping being read; `values` of a mapping are keys and values in turn."""

    event: yaml.CollectionStartEvent | None  # None: the document
    values: list[Json] = field(default_factory=list)
    merges: set[int] = field(default_factory=set)  # which keys are `<<`
    size: int = 1
    height: int = 1


def _documents(source: Source, report: Report) -> Iterator[Json]:
    """Yield the documents.  PyYAML's events need no recursion, however deep the text is nested."""
    reader = _Reader(source, report)
    for event in yaml.parse(source.text, Loader=yaml.SafeLoader):
        match event:
            case yaml.DocumentStartEvent():
                reader.begin()
            case yaml.DocumentEndEvent():
                yield reader.stack[0].values[0]
            case yaml.ScalarEvent():
                reader.scalar(event)
            case yaml.AliasEvent():
                reader.alias(event)
            case yaml.CollectionStartEvent():
                reader.open(event)
            case yaml.CollectionEndEvent():
                reader.close(event)


class _Reader:
    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.report = report
        self.begin()
        self.count = 0

    def begin(self) -> None:
        self.stack = [_Open(None)]
        self.anchors: dict[str, tuple[Json, int, int]] = {}

    # ── events ───────────────────────────────────────────────────────────────────────────────

    def open(self, event: yaml.CollectionStartEvent) -> None:
        self._no_tag(event)
        if len(self.stack) > MAX_DEPTH:
            raise self._too_deep(self._span(event))
        self.stack.append(_Open(event))

    def close(self, event: yaml.CollectionEndEvent) -> None:
        done = self.stack.pop()
        assert done.event is not None
        start, end = _marks(done.event)[0], _marks(event)[1]
        if not done.event.flow_style:  # the mark of a block's end is where the next thing begins
            end = max((value.span.end for value in done.values if value.span.start >= start), default=start)
        span = Span(self.source, start, end)
        value = Array(tuple(done.values), span)
        made = self._object(done, span) if isinstance(done.event, yaml.MappingStartEvent) else value
        self._add(made, done.event.anchor, done.size, done.height)

    def scalar(self, event: yaml.ScalarEvent) -> None:
        self._no_tag(event)
        if len(self.stack[-1].values) % 2 == 0 and self._is_merge(event):
            self.stack[-1].merges.add(len(self.stack[-1].values))
        self._add(self._scalar(event), event.anchor, 1, 0)

    def alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            raise _StopError(_bad(f"nothing before this place is called `{event.anchor}`", self._span(event)))
        value, size, height = self.anchors[event.anchor]
        if len(self.stack) + height > MAX_DEPTH + 1:
            raise self._too_deep(self._span(event))
        self._add(value, None, size, height, self._span(event))

    def _add(self, value: Json, anchor: str | None, size: int, height: int, alias: Span | None = None) -> None:
        """Put a value into what it is part of; an alias counts with all that it stands for."""
        self.count += size if alias is not None else 1
        if self.count > MAX_VALUES:
            raise _StopError(_bad(f"the file holds more than {MAX_VALUES} values", alias or value.span))
        if anchor is not None:
            self.anchors[anchor] = (value, size, height)
        parent = self.stack[-1]
        parent.values.append(value)
        parent.size += size
        parent.height = max(parent.height, height + 1)

    # ── values ───────────────────────────────────────────────────────────────────────────────

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text, span = str(event.value), self._span(event)
        if not event.implicit[0]:  # in quotes, or a block of text
            return Scalar(text, span)
        match _tag(text):
            case "tag:yaml.org,2002:null":
                return Scalar(None, span)
            case "tag:yaml.org,2002:bool":
                return Scalar(text.lower() in ("yes", "true", "on"), span)
            case ("tag:yaml.org,2002:int" | "tag:yaml.org,2002:float") as tag:
                return Scalar(self._number(tag, text, span), span)
            case _:
                return Scalar(text, span)

    def _number(self, tag: str, text: str, span: Span) -> int | float | str:
        if len(text) > _MAX_DIGITS:
            raise _StopError(_bad(f"a number of {len(text)} characters is not meant", span))
        node = yaml.ScalarNode(tag, text)
        try:
            if tag.endswith("int"):
                value: int | float = _CONSTRUCTOR.construct_yaml_int(node)
                return value if -(2**63) <= value < 2**64 else float(value)
            value = _CONSTRUCTOR.construct_yaml_float(node)
        except (ValueError, OverflowError):  # `0x_` looks like a number and is none
            return text
        if not math.isfinite(value):
            self.report(_not_finite(text, span))
        return value

    def _object(self, done: _Open, span: Span) -> Object:
        own: list[Member] = []
        merged: list[Member] = []
        first: dict[str, Member] = {}
        for at in range(0, len(done.values), 2):
            key, value = done.values[at], done.values[at + 1]
            if not isinstance(key, Scalar):
                raise _StopError(_bad("a key must be a word, a number or a string", key.span))
            if at in done.merges:
                merged += self._merged(value)
                continue
            named = key.value if isinstance(key.value, str) else key.span.text
            member = Member(named, key.span, value)
            if named in first:
                self.report(_duplicate(first[named], member))
            first[named] = member
            own.append(member)
        inherited = {member.key: member for member in reversed(merged) if member.key not in first}
        return Object((*reversed(inherited.values()), *own), span)

    def _merged(self, value: Json) -> list[Member]:
        """Return the members that a merge key brings in, the strongest first."""
        objects = value.items if isinstance(value, Array) else (value,)
        found: list[Member] = []
        for one in objects:
            if not isinstance(one, Object):
                raise _StopError(_bad("`<<` merges mappings only", one.span))
            found += one.members
        return found

    def _is_merge(self, event: yaml.ScalarEvent) -> bool:
        mapping = isinstance(self.stack[-1].event, yaml.MappingStartEvent)
        return mapping and event.implicit[0] and _tag(event.value) == _MERGE

    # ── findings ─────────────────────────────────────────────────────────────────────────────

    def _span(self, event: yaml.Event) -> Span:
        start, end = _marks(event)
        kept = len(self.source.text[start:end].rstrip("\n"))
        return Span(self.source, start, start + kept)

    def _no_tag(self, event: yaml.NodeEvent) -> None:
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            shown = self._span(event).text.split()[0][:40] if self._span(event).text.strip() else tag[:40]
            raise _StopError(_bad(f"`{shown}` is a tag, and tags are not read", self._span(event)))

    def _too_deep(self, span: Span) -> _StopError:
        return _StopError(
            Diagnostic(
                code="Q0104",
                name="nested-too-deep",
                severity=Severity.ERROR,
                message=f"values are nested more than {MAX_DEPTH} deep",
                labels=(Label(span, "one level too many"),),
            )
        )


def _marks(event: yaml.Event) -> tuple[int, int]:
    """Return where an event begins and ends, in characters."""
    assert event.start_mark is not None
    assert event.end_mark is not None
    return event.start_mark.index, event.end_mark.index


def _tag(word: str) -> str:
    """Return what a word without quotes is, as PyYAML takes it."""
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]
    return tag


def _character(source: Source, position: int) -> Span:
    at = min(position, len(source.text))
    return Span(source, at, min(at + 1, len(source.text)))


def _bad(message: str, span: Span) -> Diagnostic:
    return Diagnostic(code="Q0115", name="not-yaml", severity=Severity.ERROR, message=message, labels=(Label(span),))


def _not_finite(text: str, span: Span) -> Diagnostic:
    return Diagnostic(
        code="Q0105",
        name="not-finite",
        severity=Severity.ERROR,
        message=f"`{text[:40]}` is not a finite number",
        labels=(Label(span),),
        helps=("write a finite number, or leave the key out",),
    )


def _duplicate(first: Member, again: Member) -> Diagnostic:
    return Diagnostic(
        code="Q0103",
        name="duplicate-key",
        severity=Severity.ERROR,
        message=f"the key `{again.key[:60]}` appears twice in one object",
        labels=(Label(again.key_span, "this one counts"), Label(first.key_span, "this one is lost")),
        helps=("keep one of them",),
    )
