"""Where something is decided: the rule that wins over a setting, the `let` of a name, the file that is extended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lsprotocol import types

from qsimc import formats, resources
from qsimc.checks import effects
from qsimc.diagnostics import Diagnostic
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.select import Everything, alternatives
from qsimc.lsp import choices, statements
from qsimc.lsp.positions import View, extent, offset
from qsimc.source import Source, Span

_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_NEVER = "Q0314"
_TO_VALUE = re.compile(r"\s*:\s*")


@dataclass(frozen=True, slots=True)
class _Said:
    """One setting where a rule says it, and what of it the cursor is on: the setting, or the head of what it is in.

    A `let` may bring the same setting to several rules.
    """

    rule: Rule
    clause: Clause
    setting: Setting
    place: Span

    @property
    def is_brought(self) -> bool:
        """Whether the setting comes from a `let`; a vendor's file has none, and its clauses need not hold settings."""
        return not self.setting.pointer and not _holds(self.clause.span, self.setting.span.start)


@dataclass(frozen=True, slots=True)
class _Loss:
    """Where a setting is said that loses to another, and where that one is; `everywhere` if nothing is left to it."""

    span: Span
    winner: Span
    everywhere: bool


def definition(view: View, place: types.Position) -> list[types.Location]:
    """Return where what stands at a place is decided: itself first if it still counts, then what overrules it."""
    at = offset(view, place)
    spans = _named(view, at) if choices.is_qsim(view) else None
    return list(_locations(_deciding(view, at) if spans is None else spans, view))


# ── names ────────────────────────────────────────────────────────────────────────────────────


def _named(view: View, at: int) -> list[Span] | None:
    """Return what a name at an offset names: a `let` or a file.  None where no such name stands."""
    place = statements.locate(view.text, at)
    if place is None:
        return None
    if place.word.kind == "reference":
        named = choices.lets(place).get(place.word.text[1:])
        return [Span(Source(view.path, view.text), named[0].start, named[-1].end)] if named else []
    if place.texts in (("extends",), ("extends", "target"), ("target",)):
        source = choices.extended(view, (*place.before, place.word))
        return [Span(source, 0, 0)] if source else []
    return None


# ── rules ────────────────────────────────────────────────────────────────────────────────────


def _deciding(view: View, at: int) -> list[Span]:
    """Return what decides all that the settings at an offset are about."""
    source = Source(view.path, view.text)
    config = formats.read(source, lambda found: None, "qsim" if choices.is_qsim(view) else None)
    if config is None:
        return []
    losses = _losses(config)
    if pointed := _pointed(config, view.text, at):
        return _winning(config, pointed, losses, view)
    options = [o.span for o in config.options if o.span.source is config.source and _holds(o.span, at)]
    winners = {loss.span: loss.winner for loss in losses}
    return [winners.get(span, span) for span in options]


def _winning(config: Config, pointed: list[_Said], losses: list[_Loss], view: View) -> list[Span]:
    """Return the places of settings that still decide something, then of those that win over them, this file first."""
    all_levels = levels(config)
    settings = {said.setting for said in pointed}
    saying: dict[Setting, list[_Said]] = {}
    for said in _said(config):
        saying.setdefault(said.setting, []).append(said)
    own: dict[Span, None] = {}
    others: dict[Span, None] = {}
    for said in pointed:
        winners = dict(_winners(config, said, all_levels))
        beaten = [_shown(level, winner, saying[winner]) for winner, level in winners.items() if winner not in settings]
        lost = [loss for loss in losses if loss.span == said.setting.span]
        others |= dict.fromkeys(beaten or (loss.winner for loss in lost))
        # No level speaks of `model`: there a setting holds unless the check says that it does not.
        is_left = not winners or len(beaten) < len(winners)
        if is_left and not any(loss.everywhere for loss in lost):
            own[said.place] = None
    return [*own, *sorted(others, key=lambda span: (span.source.path != view.path, span.start))]


def _pointed(config: Config, text: str, at: int) -> list[_Said]:
    """Return the settings at an offset, else those of the entry or rule whose head stands there."""
    said = _said(config)
    value = _value_at(text, at) if config.format != "qsim" else -1
    own = [s for s in said if s.setting.span.source is config.source]
    if found := [s for s in own if _holds(s.setting.span, at) or s.setting.span.start == value]:
        return found
    here = [s for s in said if s.rule.span.source is config.source]
    if config.format != "qsim":
        return [replace(s, place=_head(s.rule)) for s in here if _holds(_head(s.rule), at)]
    entry = [replace(s, place=s.clause.span) for s in here if _holds(s.clause.span, at)]
    return entry or [replace(s, place=s.rule.span) for s in here if _holds(s.rule.span, at)]


def _said(config: Config) -> list[_Said]:
    return [_Said(r, c, s, s.span) for r in config.rules for c in r.clauses for s in c.settings]


def _value_at(text: str, at: int) -> int:
    """Return where the value begins whose key stands at an offset of JSON, -1 where no key stands."""
    start = text.rfind("\n", 0, at) + 1
    key = next((m for m in _KEY.finditer(text, start) if m.end() >= at), None)
    colon = _TO_VALUE.match(text, key.end()) if key is not None and key.start() <= at else None
    return -1 if colon is None else colon.end()


def _head(rule: Rule) -> Span:
    """Return where a vendor's file names what a rule is about."""
    if rule.subject is not None:
        return rule.subject
    key = _KEY.match(rule.span.source.text, rule.span.start)
    return replace(rule.span, end=key.end() if key is not None else rule.span.start)


def _holds(span: Span, at: int) -> bool:
    return span.start <= at <= span.end


def _winners(config: Config, said: _Said, all_levels: Iterable[Level]) -> Iterator[tuple[Setting, Level]]:
    """Yield what decides each field of each tensor that a setting would decide alone, level by level."""
    only = replace(said.rule, clauses=(replace(said.clause, settings=(said.setting,)),))
    alone = {level.selector: level.own for level in levels(replace(config, rules=(only,)))}
    for level in all_levels:
        for role, spoken in alone.get(level.selector, alone[Everything()]).items():
            for field in spoken:
                yield level.said[role][field], level


def _losses(config: Config) -> list[_Loss]:
    """Return the settings that lose to another of equal rank, as the check labels them: loser, winner, more losers."""
    found: list[Diagnostic] = []
    effects.check(config, found.append)
    labelled = [(d.code == _NEVER, [label.span for label in d.labels]) for d in found]
    return [
        _Loss(loser, winner, everywhere) for everywhere, (first, winner, *more) in labelled for loser in (first, *more)
    ]


def _shown(level: Level, winner: Setting, saying: list[_Said]) -> Span:
    """Return where a rule says a setting: the whole clause if a `let` brings it."""
    if any(not said.is_brought for said in saying):
        return winner.span
    wanted = {level.selector, Everything()}
    clauses = [said.clause.span for said in saying if not wanted.isdisjoint(alternatives(said.rule.selector))]
    return clauses[-1] if clauses else winner.span


# ── places ───────────────────────────────────────────────────────────────────────────────────


def _locations(spans: Iterable[Span], view: View) -> Iterator[types.Location]:
    """Yield where spans are, as far as an editor can open it."""
    for span in spans:
        path = view.path if span.source.path == view.path else _real(span.source.path)
        if path is not None:
            uri = view.uri if path == view.path else Path(path).as_uri()
            there = View(uri, path, span.source.text, view.encoding)
            yield types.Location(uri, extent(there, span.start, span.end))


def _real(path: str) -> str | None:
    """Return the absolute path of a file, also of one that comes with qsimc; None of any other relative one."""
    if os.path.isabs(path):
        return os.path.normpath(path)
    folder, _, rest = path.partition("/")
    if folder != "specs":
        return None
    return os.path.normpath(resources.root("specs").joinpath(rest).absolute())
