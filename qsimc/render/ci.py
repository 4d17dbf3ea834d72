"""Findings for CI services: GitHub annotations, GitLab code quality, JUnit XML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.render.machine import fingerprint, portable_path
from qsimc.render.text import printable

_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_GITLAB = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.INFO: "info"}


def github(findings: Sequence[Diagnostic]) -> str:
    """Return one workflow command per finding; data cannot break out of its command."""
    return "".join(_annotation(d) for d in findings)


def _annotation(d: Diagnostic) -> str:
    properties = {"title": f"{d.code} {d.name}"}
    if d.file:
        properties["file"] = portable_path(d.file)
    if d.labels:
        span = d.labels[0].span
        properties |= {"line": str(span.line), "col": str(span.column), "endLine": str(span.end_line)}
    said = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    message = "\n".join((d.message, *(f"help: {h}" for h in d.helps)))
    return f"::{_GITHUB[d.severity]} {said}::{_escaped(message, '')}\n"


def _escaped(text: str, more: str) -> str:
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return printable(text)


def gitlab(findings: Sequence[Diagnostic]) -> str:
    """Return a GitLab Code Quality report; GitLab keeps one entry per fingerprint, so a repeated one is numbered."""
    seen: Counter[str] = Counter()
    entries = [
        {
            "description": d.message,
            "check_name": d.code,
            "fingerprint": _numbered(fingerprint(d), seen),
            "severity": _GITLAB[d.severity],
            "location": {"path": portable_path(d.file), "lines": {"begin": d.labels[0].span.line if d.labels else 1}},
        }
        for d in findings
    ]
    return json.dumps(entries, indent=2) + "\n"


def _numbered(mark: str, seen: Counter[str]) -> str:
    """Return a name that no finding before has, and the same one in every run."""
    seen[mark] += 1
    return mark if seen[mark] == 1 else f"{mark}-{seen[mark]}"


def junit(findings: Sequence[Diagnostic]) -> str:
    """Return a JUnit report: one failed case per finding, one passed case when there is none."""
    suite = Xml.Element("testsuite", name="qsimc", tests=str(max(len(findings), 1)), failures=str(len(findings)))
    for d in findings:
        place = f"{d.file}:{d.labels[0].span.line}" if d.labels else d.file
        case = Xml.SubElement(suite, "testcase", classname=printable(d.file), name=printable(f"{d.code} {place}"))
        failure = Xml.SubElement(case, "failure", type=d.code, message=printable(d.message))
        failure.text = printable("; ".join(d.helps))
    if not findings:
        Xml.SubElement(suite, "testcase", classname="qsimc", name="no findings")
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
