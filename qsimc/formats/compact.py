"""Say the same in fewer lines: rules and fusions that are alike become one, settings that repeat get a name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from qsimc.ir.config import Config, Fusion, Rule, show_setting
from qsimc.ir.select import AnyOf, Chain, NodeName, OpType, Selector, alternatives

Words = tuple[str, ...]
"""Settings of one clause, as they are written."""

_SHORTEST = 4  # words that get a name
_MOST = 20  # names; each costs another look at every clause


def merged(config: Config) -> Config:
    """Make neighbouring rules with the same clauses one rule, and fusions with the same beginning one fusion.

    Before: `Cast[output]: off`, `Dropout[output]: off`, `fuse Conv -> Relu`, `fuse Conv -> Clip`.
    After: `(Cast | Dropout)[output]: off`, `fuse Conv -> (Relu | Clip)`.  Sets mean what they hold, in order.
    """
    return replace(config, rules=tuple(_rules(config.rules)), fusions=tuple(_fusions(config.fusions)))


def _rules(rules: Iterable[Rule]) -> Iterator[Rule]:
    for (mergeable, _), group in groupby(rules, lambda rule: (_is_mergeable(rule.selector), _said(rule))):
        first, *others = group
        if mergeable:
            yield replace(first, selector=_any_of(rule.selector for rule in (first, *others)))
        else:
            yield from (first, *others)


def _is_mergeable(selector: Selector) -> bool:
    return all(isinstance(choice, (OpType, NodeName)) for choice in alternatives(selector))


def _said(rule: Rule) -> tuple[tuple[tuple[str, ...], Words], ...]:
    """Return what a rule's clauses say, as it is written: an integer and a real can be equal."""
    return tuple((c.roles, tuple(show_setting(s.field, s.value) for s in c.settings)) for c in rule.clauses)


def _any_of(selectors: Iterable[Selector]) -> Selector:
    choices = tuple(choice for selector in selectors for choice in alternatives(selector))
    return choices[0] if len(choices) == 1 else AnyOf(choices)


def _fusions(fusions: Iterable[Fusion]) -> Iterator[Fusion]:
    for beginning, group in groupby(fusions, lambda fusion: _beginning(fusion.chain)):
        first, *others = group
        if beginning:
            last = _any_of(fusion.chain.steps[-1] for fusion in (first, *others))
            yield replace(first, chain=Chain((*beginning, last)))
        else:
            yield from (first, *others)


def _beginning(chain: Chain) -> tuple[Selector, ...]:
    """Return all steps but the last of a chain of single operators; none of one with sets, whose order would change."""
    return chain.steps[:-1] if all(isinstance(step, OpType) for step in chain.steps) else ()


# ── names for settings ───────────────────────────────────────────────────────────────────────


def named(clauses: Iterable[Words]) -> tuple[dict[str, Words], list[Words]]:
    """Give names to runs of settings that occur twice or more: return the names, and clauses that use them.

    The run that saves the most comes first, and of equal ones the first that is met.
    """
    lets: dict[str, Words] = {}
    said = list(clauses)
    while len(lets) < _MOST and (run := _best_run(said)) is not None:
        name = _new_name(run, lets)
        lets[name] = run
        said = [_without(words, run, f"@{name}") for words in said]
    return lets, said


def _best_run(clauses: Sequence[Words]) -> Words | None:
    counts: Counter[Words] = Counter()
    for words in clauses:
        counts.update(dict.fromkeys(_runs(words), 1))
    saved = {run: (count - 1) * len(run) for run, count in counts.items() if count > 1}
    return max(saved, key=lambda run: saved[run], default=None)


def _runs(words: Words) -> Iterator[Words]:
    """Yield the runs of a clause that are long enough and hold no name, the longest first."""
    for length in range(len(words), _SHORTEST - 1, -1):
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            if not any(word.startswith("@") for word in run):
                yield run


def _without(words: Words, run: Words, name: str) -> Words:
    """Return a clause with a name in place of the first of a run in it."""
    for start in range(len(words) - len(run) + 1):
        if words[start : start + len(run)] == run:
            return (*words[:start], name, *words[start + len(run) :])
    return words


def _new_name(run: Words, taken: Iterable[str]) -> str:
    """Return a name that says the precision, if the settings say one: `int8`, then `int8-2`."""
    found = {word.partition("=")[0]: word.partition("=")[2] for word in run}
    name = f"{found.get('type', 'int')}{found['bits']}" if "bits" in found else found.get("type", "common")
    others = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in taken)
    return f"{name}-{others + 1}" if others else name
