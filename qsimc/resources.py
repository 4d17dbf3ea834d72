"""Locate the data files qsimc ships: grammar/, specs/ and templates/."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

Kind = Literal["grammar", "specs", "templates"]


def root(kind: Kind) -> Traversable:
    """Return the folder of one kind: inside the wheel, or beside the package in a checkout."""
    package = files("qsimc")
    shipped = package.joinpath("_data", kind)
    return shipped if shipped.is_dir() else package.joinpath("..", kind)


def read(kind: Kind, path: str) -> str:
    """Return the text of one data file, its path relative to the folder of its kind."""
    return root(kind).joinpath(*path.split("/")).read_text(encoding="utf-8")
