"""JSON with comments, as people write it for NNCF: `//` to the end of the line, and `/* ... */`."""

from __future__ import annotations

import re
from dataclasses import replace

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report
from qsimc.source import Source, Span
from qsimc.syntax import json
from qsimc.syntax.json import Array, Json, Member, Object

_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|(//[^\n]*|/\*.*?\*/)', re.S)


def parse(source: Source, report: Report) -> Json | None:
    """Return the located value of a JSON text with comments, or None after reporting why there is none."""
    text = blanked(source.text)
    if text == source.text:
        return json.parse(source, report)
    value = json.parse(Source(source.path, text), lambda finding: report(_of(finding, source)))
    return None if value is None else _in(value, source)


def blanked(text: str) -> str:
    """Return a text with every comment turned into spaces: what is left stands where it stood."""
    return _STRING_OR_COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]) if match[1] else match[0], text)


def _in(value: Json, source: Source) -> Json:
    """Return a value as one of another source; no JSON is nested too deep for this."""
    match value:
        case Object(members, span):
            moved = (Member(m.key, _span(m.key_span, source), _in(m.value, source)) for m in members)
            return Object(tuple(moved), _span(span, source))
        case Array(items, span):
            return Array(tuple(_in(item, source) for item in items), _span(span, source))
        case scalar:
            return replace(scalar, span=_span(scalar.span, source))


def _of(finding: Diagnostic, source: Source) -> Diagnostic:
    labels = tuple(Label(_span(label.span, source), label.text) for label in finding.labels)
    fixes = tuple(
        Fix(fix.title, tuple(Edit(_span(edit.span, source), edit.text) for edit in fix.edits), fix.safe)
        for fix in finding.fixes
    )
    return replace(finding, labels=labels, fixes=fixes)


def _span(span: Span, source: Source) -> Span:
    return replace(span, source=source)
