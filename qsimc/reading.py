"""Get the text of a configuration: a file, stdin, or a built-in name."""

from __future__ import annotations

import sys
from pathlib import Path

from qsimc import targets
from qsimc.diagnostics import Diagnostic, Report, Severity, did_you_mean
from qsimc.source import Source

MAX_BYTES = 64 * 2**20
"""Largest configuration that is read; real ones have a few kilobytes."""


def read_source(reference: str, report: Report) -> Source | None:
    """Return the text behind a path, `-` (stdin) or a built-in name, or None after reporting why there is none."""
    if targets.is_name(reference) and not Path(reference).exists():
        if reference in targets.names():
            return targets.source(reference)
        near = did_you_mean(reference, targets.names())
        help_ = f"did you mean `{near}`?" if near else f"built-in configurations: {', '.join(targets.names())}"
        report(_unreadable(reference, f"no built-in configuration is called `{reference}`", help_))
        return None
    path = "<stdin>" if reference == "-" else reference
    content = _bytes(reference, path, report)
    return None if content is None else _decode(path, content, report)


def _bytes(reference: str, path: str, report: Report) -> bytes | None:
    try:
        if reference == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(reference).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        missing = isinstance(error, FileNotFoundError)
        helps = ("name a file, a folder, or a built-in configuration (`qsimc targets` lists them)",) if missing else ()
        report(_unreadable(path, f"cannot read the configuration: {reason.lower()}", *helps))
        return None
    if len(content) > MAX_BYTES:
        report(_unreadable(path, f"the file is larger than {MAX_BYTES // 2**20} MiB, no configuration is"))
        return None
    return content


def _decode(path: str, content: bytes, report: Report) -> Source | None:
    try:
        return Source(path, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        line = content.count(b"\n", 0, error.start) + 1
        detail = "it looks like UTF-16" if wide else f"byte 0x{content[error.start]:02x} in line {line}"
        report(_unreadable(path, f"the file is not UTF-8: {detail}", "save it as UTF-8"))
        return None


def _unreadable(path: str, message: str, *helps: str) -> Diagnostic:
    return Diagnostic(code="Q0101", name="unreadable", severity=Severity.ERROR, message=message, path=path, helps=helps)
