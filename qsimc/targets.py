"""Configurations that come with qsimc, by name: `aimet:default` is specs/targets/aimet-default.qsim."""

from __future__ import annotations

import re

from qsimc import resources
from qsimc.source import Source


def names() -> tuple[str, ...]:
    """Return the names of all built-in configurations, sorted."""
    folder = resources.root("specs").joinpath("targets")
    stems = (f.name.removesuffix(".qsim") for f in folder.iterdir() if f.name.endswith(".qsim"))
    return tuple(sorted(stem.replace("-", ":", 1) for stem in stems))


def is_name(word: str) -> bool:
    """Say whether a word is written like a built-in name rather than like a path."""
    return re.fullmatch(r"[a-z]+:[a-z0-9_.-]+", word) is not None


def source(name: str) -> Source:
    """Return the text of a built-in configuration.

    Raises:
        LookupError: there is none of that name; the message names those there are.
    """
    if name not in names():
        raise LookupError(f"no built-in configuration `{name}`; there are {', '.join(names())}")
    path = f"targets/{name.replace(':', '-', 1)}.qsim"
    return Source(f"specs/{path}", resources.read("specs", path))


def title(name: str) -> str:
    """Return the first comment line of a built-in configuration: what it is, in a sentence."""
    return source(name).text.split("\n", 1)[0].lstrip("# ")
