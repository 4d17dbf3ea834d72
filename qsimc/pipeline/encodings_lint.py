"""What is wrong with an encodings file."""

from __future__ import annotations

from qsimc.diagnostics import Diagnostic, in_order
from qsimc.encodings import quick
from qsimc.encodings.lint import lint as lint_file
from qsimc.pipeline.encodings_text import is_model, open_text, read_content, shown_path


def lint(path: str, *, model: str | None = None) -> list[Diagnostic]:
    """Return everything wrong with an encodings file, by itself and, if one is named, on a model."""
    findings: list[Diagnostic] = []
    if model is None and not is_model(path):
        content = read_content(path, findings.append)
        return in_order(findings if content is None else _lint_text(path, content))
    # Imported here: a backend and the planner take longer than a file without a model.
    from qsimc.encodings.bound import lint_bound
    from qsimc.pipeline.encodings_model import bound, open_encodings

    with bound(model, findings.append) as binding:
        read = open_encodings(path, findings.append)
        if read is not None and read.document is not None:
            findings += lint_file(read.document, read.file)
            if binding is not None:
                findings += lint_bound(read.document, read.file, binding)
    return in_order(findings)


def _lint_text(path: str, content: bytes) -> list[Diagnostic]:
    found = quick.findings(content, shown_path(path))
    if found is not None:
        return found
    findings: list[Diagnostic] = []
    read = open_text(path, content, findings.append)
    if read is not None and read.document is not None:
        findings += lint_file(read.document, read.file)
    return findings
