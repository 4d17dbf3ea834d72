"""Findings for programs: JSON, JSON lines and SARIF."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from qsimc.diagnostics import Diagnostic, Fix, Severity
from qsimc.source import Span
from qsimc.version import VERSION

FORMAT_VERSION = "1.0"
_SARIF_RESULTS = 5000  # what code scanning keeps of one upload


def fingerprint(d: Diagnostic) -> str:
    """Return a name for the finding that survives reformatting: code, file and JSON pointer, not the line."""
    where = d.pointer or (d.labels[0].span.text if d.labels else "")
    return hashlib.sha256("\0".join((d.code, d.file, where, d.message)).encode()).hexdigest()[:32]


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
    """Return the findings as SARIF 2.1.0, the first 5000 of them."""
    kept = findings[:_SARIF_RESULTS]
    rules = {d.code: {"id": d.code, "name": d.name} for d in kept}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "qsimc", "version": VERSION, "rules": sorted(rules.values(), key=_id)}},
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(d) for d in kept],
            }
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _id(rule: dict[str, str]) -> str:
    return rule["id"]


def _sarif_result(d: Diagnostic) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": d.file.replace("\\", "/") or "qsimc"}}
    if d.labels:
        location["region"] = _region(d.labels[0].span)
    text = "\n".join((d.message, *(f"help: {h}" for h in d.helps)))
    return {
        "ruleId": d.code,
        "level": "note" if d.severity is Severity.INFO else str(d.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"qsimc/v1": fingerprint(d)},
    }


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
