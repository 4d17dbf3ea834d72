"""Encodings files of text, opened: what `qsimc encodings lint` needs and no more."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.encodings import tensorrt
from qsimc.encodings.document import Document, read_document
from qsimc.encodings.entry import EncodingsFile
from qsimc.encodings.read import read_file
from qsimc.source import Source

MAX_BYTES = 2**30
"""Largest file that is read; the encodings of the largest models take some hundred megabytes."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An encodings file: where it is, what it says, and its text for findings (none of a QDQ model)."""

    path: str
    file: EncodingsFile
    document: Document | None


def read_content(path: str, report: Report) -> bytes | None:
    """Return what is in a file or comes through stdin (`-`); None after reporting why there is nothing."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content
        reason = f"it is larger than {MAX_BYTES // 2**30} GiB"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    report(_unreadable(shown_path(path), reason.lower()))
    return None


def open_text(path: str, content: bytes, report: Report) -> Opened | None:
    """Return a file of text, its content read; None after reporting what is wrong."""
    source = _source(path, content, report)
    document = None if source is None else _document(source, report)
    file = None if document is None else read_file(document, report)
    return None if file is None else Opened(path, file, document)


def is_model(path: str) -> bool:
    """Say whether a path is that of a QDQ model."""
    return path.endswith(".onnx")


def shown_path(path: str) -> str:
    """Return what findings call a file."""
    return "<stdin>" if path == "-" else path


def _source(path: str, content: bytes, report: Report) -> Source | None:
    """Return content as text; None after reporting that it is none."""
    try:
        return Source(shown_path(path), content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        report(_unreadable(shown_path(path), "it is not UTF-8"))
        return None


def _document(source: Source, report: Report) -> Document | None:
    return tensorrt.read_document(source) if tensorrt.is_cache(source.text) else read_document(source, report)


def _unreadable(path: str, reason: str) -> Diagnostic:
    return Diagnostic(
        code="Q0101",
        name="unreadable",
        severity=Severity.ERROR,
        message=f"cannot read the encodings: {reason}",
        path=path,
    )
