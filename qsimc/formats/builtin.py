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


_MARKS = (".git", "qsimc.toml", "pyproject.toml")
"""What lies in the folder of a project; its files may extend one another, and none outside."""


def beside(source_: Source, path: str) -> Source:
    """Return the file of a path relative to another file, within the project that the other file is in.

    Raises:
        ValueError: it cannot be extended; the message says why.
    """
    try:
        above = Path(source_.path).parent
        file = above / path
        if not file.resolve().is_relative_to(_project(above.resolve())):
            raise ValueError("it lies outside the project of this file")
        # A pipe would block and a device never end: look before opening.
        if not file.is_file():
            raise ValueError("there is no such file")
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
        return Source(str(file), file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except OSError as error:
        raise ValueError((error.strerror or str(error)).lower()) from None


def _project(folder: Path) -> Path:
    """Return the nearest folder that holds a project's marks, else the folder itself."""
    found = (above for above in (folder, *folder.parents) if any((above / mark).exists() for mark in _MARKS))
    return next(found, folder)
