"""The .qsim files that come with qsimc (specs/targets), by the stems of their names, and files beside others."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from qsimc import resources
from qsimc.source import Source

_FOLDER = "specs/targets/"


@cache
def stems() -> tuple[str, ...]:
    """Return the stems of all built-in .qsim files, sorted: `vitis-dpu`."""
    folder = resources.root("specs").joinpath("targets")
    return tuple(sorted(f.name.removesuffix(".qsim") for f in folder.iterdir() if f.name.endswith(".qsim")))


@cache
def source(stem: str) -> Source:
    """Return one built-in file.

    Raises:
        LookupError: there is none of that name; the message names those there are.
    """
    if stem not in stems():
        raise LookupError(f"no target `{stem}`; there are {', '.join(stems())}")
    return Source(f"{_FOLDER}{stem}.qsim", resources.read("specs", f"targets/{stem}.qsim"))


def is_own(source_: Source) -> bool:
    """Say whether a source is a built-in file."""
    return source_.path.startswith(_FOLDER) and source_.path.removeprefix(_FOLDER).removesuffix(".qsim") in stems()


MAX_BYTES = 64 * 2**20
"""Largest file that is extended; as large as a configuration may be."""


def beside(source_: Source, path: str) -> Source | None:
    """Return the file of a path relative to another file, or None if it cannot be read."""
    try:
        file = Path(source_.path).parent / path
        # A pipe would block and a device never end: look before opening.
        if not file.is_file() or file.stat().st_size > MAX_BYTES:
            return None
        return Source(str(file), file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
