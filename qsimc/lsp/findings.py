"""Findings as an editor takes them: diagnostics, and their fixes as code actions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lsprotocol import types
from lsprotocol.types import DiagnosticSeverity

from qsimc import settings
from qsimc.diagnostics import Diagnostic, Fix, InputError, Severity
from qsimc.lsp.positions import View, extent, offset
from qsimc.pipeline.batch import Request, check_text
from qsimc.source import Source, Span

_SEVERITIES = {
    Severity.ERROR: DiagnosticSeverity.Error,
    Severity.WARNING: DiagnosticSeverity.Warning,
    Severity.INFO: DiagnosticSeverity.Information,
}


def diagnostics(view: View) -> list[types.Diagnostic]:
    """Return everything wrong with a text."""
    return [_shown(d, view) for d in _examined(view)]


def actions(view: View, asked: types.Range) -> list[types.CodeAction]:
    """Return the fixes of the findings within a range; a safe one is preferred."""
    found = at(view, offset(view, asked.start), offset(view, asked.end))
    return [_action(fix, d, view) for d in found for fix in d.fixes if _is_local(fix, view)]


def at(view: View, start: int, end: int) -> list[Diagnostic]:
    """Return the findings shown within two offsets; touching is enough, for a cursor has no width."""
    found = ((place(d, view), d) for d in _examined(view))
    return [d for span, d in found if span.start <= end and start <= span.end]


def place(d: Diagnostic, view: View) -> Span:
    """Return where a finding is shown: at its first label in this text, else at the beginning."""
    here = (label.span for label in d.labels if label.span.source.path == view.path)
    return next(here, Span(Source(view.path, view.text), 0, 0))


def _examined(view: View) -> list[Diagnostic]:
    """Return what is wrong with the text in the editor, which need not be the one on disk, by the file's settings."""
    settings.forget()
    try:
        return check_text(Source(view.path, view.text), settings.nearest(Path(view.path).parent), Request())
    except InputError as error:
        return list(error.findings)


def _shown(d: Diagnostic, view: View) -> types.Diagnostic:
    span = place(d, view)
    return types.Diagnostic(
        range=extent(view, span.start, span.end),
        message=_message(d),
        severity=_SEVERITIES[d.severity],
        code=d.code,
        source="qsimc",
        related_information=list(_related(d, view)),
    )


def _message(d: Diagnostic) -> str:
    lines = [d.message, *(f"note: {note}" for note in d.notes), *(f"help: {help_}" for help_ in d.helps)]
    if d.vendor is not None:
        lines.append(f"{d.vendor.tool} says: {d.vendor.id}: {d.vendor.text}")
    return "\n".join(lines)


def _related(d: Diagnostic, view: View) -> Iterator[types.DiagnosticRelatedInformation]:
    """Yield the other labels, as far as an editor can open what they point into."""
    primary = place(d, view)
    for label in d.labels:
        location = None if label.span == primary else _location(label.span, view)
        if location is not None:
            yield types.DiagnosticRelatedInformation(location, label.text or d.message)


def _location(span: Span, view: View) -> types.Location | None:
    """Return where a span is, None in what comes with qsimc and is no file of the user's."""
    if span.source.path == view.path:
        return types.Location(view.uri, extent(view, span.start, span.end))
    file = Path(span.source.path)
    if not file.is_absolute():
        return None
    other = View(file.as_uri(), span.source.path, span.source.text, view.encoding)
    return types.Location(other.uri, extent(other, span.start, span.end))


def _is_local(fix: Fix, view: View) -> bool:
    return all(edit.span.source.path == view.path for edit in fix.edits)


def _action(fix: Fix, d: Diagnostic, view: View) -> types.CodeAction:
    edits = [types.TextEdit(extent(view, edit.span.start, edit.span.end), edit.text) for edit in fix.edits]
    return types.CodeAction(
        title=fix.title,
        kind=types.CodeActionKind.QuickFix,
        diagnostics=[_shown(d, view)],
        is_preferred=fix.safe,
        edit=types.WorkspaceEdit(changes={view.uri: edits}),
    )
