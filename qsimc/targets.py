"""What comes with qsimc by name: configurations (`aimet:default`) and hardware targets (`vitis-dpu`).

Both are files of specs/targets.  One called `VENDOR-default.qsim` is a configuration: what that vendor's tool does
when it is given none.  Every other one is a target, which restricts configurations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from qsimc import resources
from qsimc.diagnostics import Diagnostic
from qsimc.formats import builtin
from qsimc.ir.config import Config
from qsimc.source import Source

_CONFIGURATION = "-default"


@dataclass(frozen=True, slots=True)
class Target:
    """A hardware target: its restrictions, and as rules what holds where a configuration says nothing."""

    name: str
    config: Config


def names() -> tuple[str, ...]:
    """Return the names of all built-in configurations, sorted."""
    stems = (stem for stem in builtin.stems() if stem.endswith(_CONFIGURATION))
    return tuple(stem.replace("-", ":", 1) for stem in stems)


def hardware() -> tuple[str, ...]:
    """Return the names of all hardware targets, sorted."""
    return tuple(stem for stem in builtin.stems() if not stem.endswith(_CONFIGURATION))


def is_name(word: str) -> bool:
    """Say whether a word is written like a built-in configuration's name rather than like a path."""
    return re.fullmatch(r"[a-z]+:[a-z0-9_.-]+", word) is not None


@cache
def load(name: str) -> Target:
    """Return one hardware target.

    Raises:
        LookupError: there is none of that name; the message names those there are.
    """
    if name not in hardware():
        raise LookupError(f"no target `{name}`; there are {', '.join(hardware())}")
    return Target(name, _own(f"targets/{name}.qsim"))


CONFLICTING = "signed"
"""A field that every conflict on any hardware is about; a file that does not say it needs no such check."""


@cache
def conflicts() -> Config:
    """Return the restrictions that hold on any hardware."""
    return _own("conflicts.qsim")


@cache
def cautions(name: str) -> Config | None:
    """Return what a target's tool accepts and then does otherwise, as restrictions; None if nothing is known."""
    stem = {"vitis-gpu": "vitis-cpu"}.get(name, name)
    path = f"cautions/{stem}.qsim"
    return _own(path) if resources.root("specs").joinpath(*path.split("/")).is_file() else None


def _own(path: str) -> Config:
    # Imported here: most files name no target, and are checked without one.
    from qsimc.formats import qsim

    findings: list[Diagnostic] = []
    config = qsim.read(Source(f"specs/{path}", resources.read("specs", path)), findings.append)
    assert not findings, f"{path}: {findings[0].message}"
    return config


def source(name: str) -> Source:
    """Return the text of a built-in configuration or target.

    Raises:
        LookupError: there is none of that name; the message names those there are.
    """
    if name not in (*names(), *hardware()):
        raise LookupError(f"nothing built in is called `{name}`; there are {', '.join((*names(), *hardware()))}")
    return builtin.source(name.replace(":", "-", 1))


def title(name: str) -> str:
    """Return the first comment line of a built-in file: what it is, in a sentence."""
    return source(name).text.split("\n", 1)[0].lstrip("# ")
