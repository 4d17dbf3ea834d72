"""Findings for programs: JSON, JSON lines and SARIF."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from qsimc.diagnostics import Diagnostic, Fix, Severity
from qsimc.explain import explain
from qsimc.source import Span
from qsimc.version import VERSION

FORMAT_VERSION = "1.0"
_SARIF_RESULTS = 5000  # what code scanning keeps of one upload


def fingerprint(d: Diagnostic) -> str:
    """Return a name for the finding that survives reformatting: code, file and JSON pointer, not the line."""
    where = d.pointer or (d.labels[0].span.text if d.labels else "")
    said = "\0".join((d.code, portable_path(d.file), where, d.message))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def portable_path(path: str) -> str:
    """Return a path as every machine says it: from the current folder if it is below it, with forward slashes."""
    if not path or path.startswith("<"):
        return path
    full, here = os.path.abspath(path), os.getcwd()
    below = full.startswith(here.rstrip(os.sep) + os.sep)
    return (os.path.relpath(full, here) if below else os.path.normpath(path)).replace(os.sep, "/")


def finding(d: Diagnostic) -> dict[str, Any]:
    """Return one finding in the shape of the command-line contract."""
    span = d.labels[0].span if d.labels else None
    return {
        "code": d.code,
        "name": d.name,
        "severity": str(d.severity),
        "message": d.message,
        "path": d.file,
        "line": span and span.line,
        "column": span and span.column,
        "end_line": span and span.end_line,
        "end_column": span and span.end_column,
        "pointer": d.pointer,
        "fingerprint": fingerprint(d),
        "labels": [{**_place(label.span), "text": label.text} for label in d.labels],
        "notes": list(d.notes),
        "help": list(d.helps),
        "fixes": [_fix(fix) for fix in d.fixes],
        "vendor": d.vendor and {"tool": d.vendor.tool, "id": d.vendor.id, "text": d.vendor.text},
    }


def json_document(findings: Sequence[Diagnostic]) -> str:
    """Return all findings as one JSON document."""
    count = Counter(str(d.severity) for d in findings)
    document = {
        "format_version": FORMAT_VERSION,
        "findings": [finding(d) for d in findings],
        "summary": {str(severity): count[severity] for severity in Severity},
    }
    return json.dumps(document, indent=2) + "\n"


def json_lines(findings: Sequence[Diagnostic]) -> str:
    """Return one JSON object per finding and line."""
    return "".join(json.dumps(finding(d)) + "\n" for d in findings)


def _place(span: Span) -> dict[str, Any]:
    return {
        "path": span.source.path,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    edits = [{**_place(edit.span), "text": edit.text} for edit in fix.edits]
    return {"title": fix.title, "safe": fix.safe, "edits": edits}


def sarif(findings: Sequence[Diagnostic]) -> str:
    """Return the findings as SARIF 2.1.0, the first 5000 of them; a notification says how many are left out.

    Each code's page is the help of its rule, every label is a location, and fixes are the edits to make.
    """
    kept = findings[:_SARIF_RESULTS]
    rules = {d.code: d.name for d in kept}
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "qsimc",
                "version": VERSION,
                "semanticVersion": VERSION,
                "rules": [_sarif_rule(code, rules[code]) for code in sorted(rules)],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(d) for d in kept],
    }
    if len(kept) < len(findings):
        said = {"text": f"{len(findings) - len(kept)} more findings are left out"}
        notes = [{"level": "warning", "message": said}]
        run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": notes}]
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2) + "\n"


def _sarif_rule(code: str, name: str) -> dict[str, Any]:
    page = explain(code)
    paragraph = page.text.partition("\n\n")[2].partition("\n\n")[0].replace("\n", " ")
    return {
        "id": code,
        "name": name,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": paragraph},
        "help": {"text": page.text, "markdown": page.text},
    }


def _sarif_result(d: Diagnostic) -> dict[str, Any]:
    text = "\n".join((d.message, *(f"help: {h}" for h in d.helps)))
    first = d.labels[0] if d.labels else None
    result: dict[str, Any] = {
        "ruleId": d.code,
        "level": "note" if d.severity is Severity.INFO else str(d.severity),
        "message": {"text": text},
        "locations": [_sarif_location(d.file, first.span if first else None)],
        "partialFingerprints": {"qsimc/v1": fingerprint(d)},
    }
    if others := [label for label in d.labels[1:] if label.span.source.path]:
        result["relatedLocations"] = [
            {**_sarif_location(label.span.source.path, label.span), "message": {"text": label.text or "see also"}}
            for label in others
        ]
    if d.fixes:
        result["fixes"] = [_sarif_fix(fix) for fix in d.fixes]
    return result


def _sarif_fix(fix: Fix) -> dict[str, Any]:
    changes: dict[str, list[dict[str, Any]]] = {}
    for edit in fix.edits:
        change = {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        changes.setdefault(edit.span.source.path, []).append(change)
    return {
        "description": {"text": fix.title},
        "artifactChanges": [
            {"artifactLocation": _sarif_artifact(path), "replacements": made} for path, made in changes.items()
        ],
    }


def _sarif_location(path: str, span: Span | None) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": _sarif_artifact(path)}
    if span is not None:
        location["region"] = _region(span)
    return {"physicalLocation": location}


def _sarif_artifact(path: str) -> dict[str, str]:
    """Return a file as a URI: relative to the root of the sources, or whole if it is outside of them."""
    shown = portable_path(path) or "qsimc"
    if os.path.isabs(shown):
        return {"uri": f"file://{quote(shown)}"}
    return {"uri": quote(shown), "uriBaseId": "%SRCROOT%"}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
