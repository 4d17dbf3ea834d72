"""What comes with qsimc by name: configurations (`aimet:default`) and hardware targets (`vitis-dpu`).

Both are files of specs/targets.  One called `VENDOR-default.qsim` is a configuration: what that vendor's tool does
when it is given none; `VENDOR-default-WORDS.qsim` is another that comes with the tool.  Every other one is a target,
which restricts configurations, but for families: a file of one word beside others whose names begin with it, such as
`htp` beside `htp-v73`, holds what its members share.  A family can be extended and printed, and is no hardware.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from qsimc import resources
from qsimc.diagnostics import Diagnostic
from qsimc.formats import builtin
from qsimc.ir.config import Clause, Config, Restriction, Rule
from qsimc.source import Source

_CONFIGURATION = re.compile(r"[a-z0-9]+-default(-.*)?")
_EXTENDS = re.compile(r"^extends target (\S+)", re.MULTILINE)

ALL = "all"
"""What stands for every hardware target where one is named."""

HARDWARE = "hw_version"
"""The option by which a configuration of AIMET says what hardware it is for."""

_SILENT = {
    "vitis": None,
    "aimet": frozenset({"type", "symmetric", "per_channel", "narrow_range", "unsigned_symmetric", "scale"}),
}
"""Dialects whose silence means something, and which fields of it; None is every one.

Widths, signs and estimators are arguments of AIMET's programs, and no business of its configurations.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A hardware target: its restrictions, and as rules the configuration that its maker ships or recommends for it."""

    name: str
    config: Config


@cache
def names() -> tuple[str, ...]:
    """Return the names of all built-in configurations, sorted."""
    return tuple(stem.replace("-", ":", 1) for stem in builtin.stems() if _CONFIGURATION.fullmatch(stem))


@cache
def families() -> tuple[str, ...]:
    """Return the names of what several targets have in common, sorted."""
    beginnings = {stem.partition("-")[0] for stem in builtin.stems() if "-" in stem}
    return tuple(stem for stem in builtin.stems() if stem in beginnings)


@cache
def hardware() -> tuple[str, ...]:
    """Return the names of all hardware targets, sorted."""
    return tuple(s for s in builtin.stems() if s not in families() and not _CONFIGURATION.fullmatch(s))


def is_name(word: str) -> bool:
    """Say whether a word is written like a built-in configuration's name rather than like a path."""
    return re.fullmatch(r"[a-z]+:[a-z0-9_.-]+", word) is not None


@cache
def load(name: str) -> Target:
    """Return one hardware target, or a family of them.

    Raises:
        LookupError: there is none of that name; the message names those there are.
    """
    if name not in (*hardware(), *families()):
        raise LookupError(f"no target `{name}`; there are {', '.join(hardware())}")
    return Target(name, _own(f"targets/{name}.qsim"))


@cache
def silent(dialect: str) -> tuple[Rule, ...]:
    """Return the rules that hold where a configuration of a dialect says nothing; none where nothing is known."""
    if dialect not in _SILENT:
        return ()
    fields = _SILENT[dialect]
    return tuple(
        Rule(rule.selector, tuple(_only(clause, fields) for clause in rule.clauses), rule.span)
        for rule in _own(f"silence/{dialect}.qsim").rules
    )


def _only(clause: Clause, fields: frozenset[str] | None) -> Clause:
    """Return a clause with the settings of some fields alone; None is every one."""
    kept = tuple(s for s in clause.settings if fields is None or s.field in fields)
    return Clause(clause.roles, kept, clause.span)


CONFLICTING = "signed"
"""A field that every conflict on any hardware is about; a file that does not say it needs no such check."""


@cache
def conflicts() -> Config:
    """Return the restrictions that hold on any hardware."""
    return _own("conflicts.qsim")


@cache
def cautions(name: str) -> tuple[Restriction, ...]:
    """Return what a target's tool accepts and then does otherwise, and that of the targets which it extends."""
    found: list[Restriction] = []
    for stem in _lineage(name):
        if resources.root("specs").joinpath("cautions", f"{stem}.qsim").is_file():
            found += _own(f"cautions/{stem}.qsim").restrictions
    return tuple(found)


def _lineage(name: str) -> tuple[str, ...]:
    """Return a target and those that it extends, directly and not."""
    found = [name]
    while match := _EXTENDS.search(builtin.source(found[-1]).text):
        found.append(match[1])
    return tuple(found)


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
    if name not in (*names(), *hardware(), *families()):
        raise LookupError(f"nothing built in is called `{name}`; there are {', '.join((*names(), *hardware()))}")
    return builtin.source(name.replace(":", "-", 1))


def title(name: str) -> str:
    """Return the first comment line of a built-in file: what it is, in a sentence."""
    return source(name).text.split("\n", 1)[0].lstrip("# ")
