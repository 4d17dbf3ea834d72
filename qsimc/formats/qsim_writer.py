"""Write any configuration as .qsim, such that reading gives back what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qsimc.formats import claims
from qsimc.formats.compact import Words, merged, named
from qsimc.formats.fmt import fmt
from qsimc.formats.qsim import MAX_SETTINGS
from qsimc.ir.config import Clause, Config, Rule, show_roles, show_setting, show_value
from qsimc.ir.select import show
from qsimc.source import Source


def write(config: Config, *, compact: bool = False) -> str:
    """Return a configuration as .qsim text, in the layout of `qsimc fmt`.

    `read(write(config))` is the configuration again, but for places in the text.  What stands in files that it extends
    is written out; a value that could not be read, and was reported, is left out.

    Args:
        config: any configuration.
        compact: make one rule of neighbours with the same clauses, one fusion of those that differ in the last step,
            and a `let` of settings that repeat.  What is read is then the same once sets are taken apart.
    """
    said = merged(config) if compact else config
    text = "".join(f"{statement}\n" for statement in _statements(said, compact=compact))
    written = fmt(Source(config.source.path, text), _refuse)
    assert written is not None
    return written


def _refuse(finding: object) -> None:
    raise AssertionError(finding)


def _statements(config: Config, *, compact: bool) -> Iterator[str]:
    yield f"dialect {config.dialect}"
    if config.target is not None:
        yield f"target {config.target}"
    for option in config.options:
        yield f"option {option.name}={show_value(option.value)}"
    clauses = [_words(clause) for rule in config.rules for clause in rule.clauses]
    lets, clauses = named(clauses) if compact and max(map(len, clauses), default=0) <= MAX_SETTINGS else ({}, clauses)
    for name, words in lets.items():
        yield f"let {name} = {' '.join(words)}"
    waiting = iter(clauses)
    for rule in config.rules:
        yield _rule(rule, [next(waiting) for _ in rule.clauses])
    for fusion in config.fusions:
        yield f"fuse {show(fusion.chain)}"
    yield from map(claims.show, config.restrictions)


def _words(clause: Clause) -> Words:
    return tuple(show_setting(s.field, s.value) for s in clause.settings if s.value is not None)


def _rule(rule: Rule, settings: Sequence[Words]) -> str:
    """Return a rule as a block; layout makes one line of it where it can."""
    heads = (show_roles(clause.roles) or "*" for clause in rule.clauses)
    entries = (f"{head}: {' '.join(words)}\n" for head, words in zip(heads, settings, strict=True))
    return f"{show(rule.selector)} {{\n{''.join(entries)}}}"
