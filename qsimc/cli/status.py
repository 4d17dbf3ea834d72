"""Exit statuses, as the command-line contract fixes them."""

from __future__ import annotations

from collections.abc import Iterable

from qsimc.diagnostics import Diagnostic, Severity

OK = 0
FINDINGS = 1
USAGE = 2
LOSSY = 3
DIFFERENT = 4
BUG = 101
INTERRUPTED = 130

UNREADABLE = frozenset({"Q0101", "Q0110", "Q0111", "Q0112", "Q0116", "Q0501", "Q0601"})
"""Codes that say that a file could not be read at all: a mistake of the command line, not of the file."""


def status_of(findings: Iterable[Diagnostic], fail_on: Severity = Severity.ERROR) -> int:
    """Return the exit status for findings, where those at or above `fail_on` count."""
    counted = [d for d in findings if d.severity.rank >= fail_on.rank]
    if any(d.code in UNREADABLE for d in counted):
        return USAGE
    return FINDINGS if counted else OK
