"""Locate the data files qsimc ships: grammar/, specs/ and templates/."""

from pathlib import Path
from typing import Literal

Kind = Literal["grammar", "specs", "templates"]

_PACKAGE = Path(__file__).parent
"""Not by importlib.resources, which takes a twentieth of the time of `qsimc check`."""


def root(kind: Kind) -> Path:
    """Return the folder of one kind: inside the wheel, or beside the package in a checkout."""
    shipped = _PACKAGE / "_data" / kind
    return shipped if shipped.is_dir() else _PACKAGE.parent / kind


def read(kind: Kind, path: str) -> str:
    """Return the text of one data file, its path relative to the folder of its kind."""
    return root(kind).joinpath(*path.split("/")).read_text(encoding="utf-8")
