"""Which files a command line means: files, folders, patterns, stdin and built-in names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.settings import Settings, nearest

SUFFIXES = (".json", ".qsim")
"""Files of a folder that are looked into."""

_PATTERN = frozenset("*?[")
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True, slots=True)
class Input:
    """One file to check; `named` if the user named it, rather than a folder or pattern that holds it."""

    reference: str
    named: bool
    settings: Settings


def inputs(references: Sequence[str], report: Report, settings: Settings | None = None) -> list[Input]:
    """Return every file that references mean, each once, in their order; a folder's are sorted by path.

    Args:
        references: paths, folders, patterns such as `configs/**/*.json`, `-`, or built-in names.
        report: gets Q0101 for a pattern that no file matches and a folder that holds none.
        settings: holds for all files; None looks for those of each file's nearest parent.

    Raises:
        InputError: Q0110, settings are wrong.
    """
    found: dict[str, Input] = {}
    for reference in references:
        path = Path(reference)
        if path.is_dir():
            held = list(_walk(path, settings))
        elif _PATTERN & set(reference) and not path.exists():
            held = sorted(name for name in glob.glob(reference, recursive=True) if Path(name).is_file())
        else:
            own = settings or nearest(path.parent if path.exists() else Path())
            found[reference] = Input(reference, named=True, settings=own)
            continue
        for name in held:
            found.setdefault(name, Input(name, named=False, settings=settings or nearest(Path(name).parent)))
        if not held:
            report(_none(reference, is_folder=path.is_dir()))
    return list(found.values())


def _walk(folder: Path, settings: Settings | None) -> Iterator[str]:
    """Yield the files below a folder that may be configurations; links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        here = settings or nearest(Path(root))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not here.excludes(Path(root, name))
        )
        for name in sorted(files):
            if name.endswith(SUFFIXES) and not name.startswith(".") and not here.excludes(Path(root, name)):
                yield str(Path(root, name))


def _none(reference: str, *, is_folder: bool) -> Diagnostic:
    return Diagnostic(
        code="Q0101",
        name="unreadable",
        severity=Severity.ERROR,
        message="the folder holds no file to check" if is_folder else "no file matches the pattern",
        path=reference,
        helps=(f"files of a folder are looked at if they end in {' or '.join(SUFFIXES)}",) if is_folder else (),
    )
