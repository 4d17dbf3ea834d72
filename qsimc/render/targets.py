"""Which targets take a configuration, and what would make one take it, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.render.machine import FORMAT_VERSION, finding
from qsimc.render.text import printable, summary
from qsimc.source import Span


def accepts(findings: Sequence[Diagnostic]) -> bool:
    """Say whether a target takes a configuration with these findings: none of them is an error."""
    return all(d.severity is not Severity.ERROR for d in findings)


def matrix_text(rows: Mapping[str, Sequence[Diagnostic]]) -> str:
    """Return one line per target: its name, its verdict, and the first error if there is one."""
    verdicts = {name: _verdict(findings) for name, findings in rows.items()}
    wide, wider = (max(map(len, words), default=0) + 2 for words in (verdicts, verdicts.values()))
    lines = (f"{name:<{wide}}{verdicts[name]:<{wider}}{_first_error(found)}".rstrip() for name, found in rows.items())
    taken = sum(map(accepts, rows.values()))
    return "".join(f"{line}\n" for line in chain(lines, ("", f"{taken} of {len(rows)} targets accept it")))


def matrix_json(rows: Mapping[str, Sequence[Diagnostic]]) -> str:
    """Return one object per target, with all of its findings."""
    document = {
        "format_version": FORMAT_VERSION,
        "targets": [
            {"target": name, "accepts": accepts(found), "findings": [finding(d) for d in found]}
            for name, found in rows.items()
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def suggestion_text(path: str, target: str, edits: Sequence[tuple[str, Span]] | None, blocked: str) -> str:
    """Return edits one per line, each with its place in the file as it is.

    Args:
        edits: what to do and where; None if nothing was found.
        blocked: what no edit can satisfy.
    """
    shown = printable(path)
    if edits is None:
        reason = f"nothing that the file can say satisfies `{blocked}`" if blocked else "the search has an end"
        return f"{shown}: no edits found that make it legal for `{target}`: {reason}\n"
    if not edits:
        return f"{shown}: legal for `{target}` as it is\n"
    count = "1 edit makes" if len(edits) == 1 else f"{len(edits)} edits make"
    lines = (f"  {shown}:{span.line}:{span.column}: {printable(title)}\n" for title, span in edits)
    return f"{shown}: {count} it legal for `{target}`\n{''.join(lines)}"


def suggestion_json(path: str, target: str, edits: Sequence[tuple[str, Span]] | None, after: str, blocked: str) -> str:
    """Return edits for programs, with the whole text after them; `edits` is null if nothing was found."""
    listed = (
        None if edits is None else [{"title": title, "line": span.line, "column": span.column} for title, span in edits]
    )
    document = {
        "format_version": FORMAT_VERSION,
        "path": path,
        "target": target,
        "edits": listed,
        "after": after if edits else None,
        "blocked": blocked or None,
    }
    return json.dumps(document, indent=2) + "\n"


def _verdict(findings: Sequence[Diagnostic]) -> str:
    if not accepts(findings):
        return summary(d for d in findings if d.severity is Severity.ERROR)
    warnings = [d for d in findings if d.severity is Severity.WARNING]
    return f"accepts, {summary(warnings)}" if warnings else "accepts"


def _first_error(findings: Sequence[Diagnostic]) -> str:
    first = next((d for d in findings if d.severity is Severity.ERROR), None)
    return "" if first is None else f"{first.code} {first.name}: {printable(first.message)}"
