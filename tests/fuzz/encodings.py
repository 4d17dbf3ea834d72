"""Fuzz the readers of encodings files: what lint accepts converts to every form, or says why not.

Whatever the quick way through a file finds, the ordinary way finds.
"""

from __future__ import annotations

import json

from qsimc.diagnostics import InputError, Severity
from qsimc.pipeline.encodings import TARGETS, convert, lint
from tests.fuzz.files import shown, written
from tests.unit.test_encodings_quick import agree


def fuzz_one(data: bytes) -> None:
    """Lint bytes as an encodings file and convert what is sound."""
    agree(data)
    path = written(data, "input.encodings")
    findings = lint(path)
    shown(findings)
    if any(d.severity is Severity.ERROR for d in findings):
        return
    for form in TARGETS:
        try:
            text = convert(path, form).text
            if form != "tensorrt-cache":
                json.loads(text)
        except InputError as error:
            shown(error.findings)
