"""Lay out .qsim files: which ones a command line means, and what they become."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.pipeline.fixing import FixedFile
from qsimc.pipeline.inputs import inputs
from qsimc.reading import read_source

SUFFIX = ".qsim"
"""How the names of files end that can be laid out."""

STDIN = "-"


def formatted(references: Sequence[str], report: Report) -> Iterator[FixedFile]:
    """Yield every file in its layout, changed or not; of folders and patterns, those whose name ends in .qsim.

    What cannot be read or parsed, or is no .qsim, is reported and left out.

    Args:
        references: paths, folders, patterns such as `configs/**/*.qsim`, or `-` for stdin.
    """
    # Imported here: the other commands lay nothing out.
    from qsimc.formats.fmt import fmt

    for file in inputs(references, report):
        if file.reference != STDIN and not file.reference.endswith(SUFFIX):
            if file.named:
                report(_not_qsim(file.reference, f"its name does not end in `{SUFFIX}`"))
            continue
        source = read_source(file.reference, report)
        if source is None:
            continue
        if source.text.lstrip().startswith(("{", "[")):
            report(_not_qsim(source.path, "it holds JSON"))
            continue
        after = fmt(source, report)
        if after is not None:
            yield FixedFile(file.reference, source.text, after, fixes=0, mark=_has_mark(file.reference))


def _has_mark(reference: str) -> bool:
    """Say whether a byte order mark begins a file."""
    if reference == STDIN:
        return False
    with Path(reference).open("rb") as raw:
        return raw.read(len(BOM_UTF8)) == BOM_UTF8


def _not_qsim(path: str, reason: str) -> Diagnostic:
    return Diagnostic(
        code="Q0112",
        name="no-layout",
        severity=Severity.ERROR,
        message=f"only .qsim can be laid out: {reason}",
        path=path,
        helps=("write it as .qsim first: `qsimc translate CONFIG --to qsim`",),
    )
