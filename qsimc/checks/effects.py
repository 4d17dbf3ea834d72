"""Settings that lose to another of equal rank, in the order in which the resolvers apply them: the later one wins.

Equal rank: the same subject (`*`, an operator type, a node's name), the same role and the same field, whether the
subject stands alone or among several.  AIMET's JSON has no such pairs: each of its keys stands once (else Q0103).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Clause, Config, Option, Rule, Setting, show_rule, show_value
from qsimc.ir.select import Chain, Selector, alternatives, show
from qsimc.source import Span

_Key: TypeAlias = tuple[Selector, str, str]
_SHOWN = 3
"""Losers of one rule that are underlined; the message counts all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Word:
    """One setting where a rule says it; a `let` may bring the same setting to several rules."""

    rule: Rule
    clause: Clause
    setting: Setting

    @property
    def is_brought(self) -> bool:
        """Whether the setting comes from a `let`: a bundle is there to be narrowed down."""
        own, span = self.clause.span, self.setting.span
        return own.source is not span.source or not own.start <= span.start < own.end

    def decides(self) -> Iterator[_Key]:
        """Yield everything that the setting decides: `type=float16` decides the width as well."""
        said = self.setting
        fields = ("type", "bits") if said.field == "type" and said.value != "int" else (said.field,)
        for subject in _subjects(self.rule.selector):
            for role in self.clause.roles or ("",):
                yield from ((subject, role, field) for field in fields)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A setting that loses some subject to another; `everywhere` if nothing is left to it."""

    word: _Word
    winner: _Word
    subject: Selector
    everywhere: bool


def check(config: Config, report: Report) -> None:
    """Report settings and options that never apply, and rules of which only the order of lines decides."""
    if config.format == "aimet":
        return
    _options(config, report)
    found: dict[tuple[int, int, bool], list[_Lost]] = {}
    for lost in _losses(config):
        found.setdefault((id(lost.word.rule), id(lost.winner.rule), lost.everywhere), []).append(lost)
    for losses in found.values():
        report(_never(config, losses) if losses[0].everywhere else _contradiction(config, losses))


def _losses(config: Config) -> Iterator[_Lost]:
    words = [_Word(r, c, s) for r in config.rules for c in r.clauses for s in c.settings]
    deciding = {key: word for word in words for key in word.decides()}
    for word in words:
        keys = list(word.decides())
        beaten = [key for key in keys if deciding[key] is not word and _counts(config, word, deciding[key])]
        # What a file says over one that it extends, or over a `let`, it says on purpose.
        if not beaten or word.setting.span.source is not config.source or _is_let(config, word):
            continue
        if len(beaten) == len(keys):
            yield _Lost(word, deciding[beaten[-1]], beaten[-1][0], everywhere=True)
        else:
            yield from _disputed(word, beaten, deciding)


def _counts(config: Config, word: _Word, winner: _Word) -> bool:
    """Say whether two settings are of equal rank: within an entry of a vendor's file a block comes before a list."""
    return config.format == "qsim" or word.rule is not winner.rule


def _is_let(config: Config, word: _Word) -> bool:
    return config.format == "qsim" and word.is_brought


def _disputed(word: _Word, beaten: Iterable[_Key], deciding: Mapping[_Key, _Word]) -> Iterator[_Lost]:
    """Yield what another subject list takes from a setting, where the two values differ.

    A later rule for some of an earlier one's subjects, and no others, is an exception to it and meant as one.
    """
    subjects = set(_subjects(word.rule.selector))
    for key in beaten:
        winner = deciding[key]
        if winner.rule is word.rule or winner.setting.field != word.setting.field:
            continue
        if set(_subjects(winner.rule.selector)) < subjects:
            continue
        if winner.setting.value != word.setting.value:
            yield _Lost(word, winner, key[0], everywhere=False)


def _subjects(selector: Selector) -> Iterator[Selector]:
    """Yield what a rule is about; of chains there are no rules (Q0306)."""
    return (subject for subject in alternatives(selector) if not isinstance(subject, Chain))


# ── diagnostics ──────────────────────────────────────────────────────────────────────────────


def _options(config: Config, report: Report) -> None:
    last: dict[str, Option] = {option.name: option for option in config.options}
    for option in config.options:
        winner = last[option.name]
        if winner is option or option.span.source is not config.source:
            continue
        report(
            Diagnostic(
                code="Q0314",
                name="rule-never-wins",
                severity=Severity.WARNING,
                message=f"`option {option.name}={show_value(option.value)}` never applies",
                labels=(Label(option.span, "this never applies"), Label(winner.span, "this decides")),
                helps=("keep one of them",),
            )
        )


def _never(config: Config, losses: list[_Lost]) -> Diagnostic:
    first, *others = losses
    said = first.word
    what, them = f"`{show_rule(said.rule.selector, said.clause.roles, said.setting)}` never applies", "it"
    if others:
        what, them = f"{len(losses)} settings for `{show(said.rule.selector)}` never apply", "them"
    return Diagnostic(
        code="Q0314",
        name="rule-never-wins",
        severity=Severity.WARNING,
        message=what,
        labels=(
            Label(said.setting.span, "this never applies"),
            Label(_place(config, first.winner), "this decides"),
            *(Label(lost.word.setting.span, "nor does this") for lost in others[: _SHOWN - 1]),
        ),
        notes=("of two rules that say the same thing of the same nodes the later one wins",),
        helps=(f"leave {them} out, or move {them} after the rule that decides",),
        pointer=said.setting.pointer,
    )


def _contradiction(config: Config, losses: list[_Lost]) -> Diagnostic:
    first = losses[0]
    said, winner = first.word, first.winner
    subjects = ", ".join(dict.fromkeys(f"`{show(lost.subject)}`" for lost in losses))
    fields = ", ".join(dict.fromkeys(f"`{lost.word.setting.field}`" for lost in losses))
    return Diagnostic(
        code="Q0316",
        name="contradicting-rules",
        severity=Severity.WARNING,
        message=f"two rules disagree about {fields} of {subjects}: the later one wins",
        labels=(
            Label(said.setting.span, f"this loses for {subjects}"),
            Label(_place(config, winner), "this decides"),
        ),
        notes=("nothing but the order of the lines decides",),
        helps=(f"take {subjects} out of one of the two rules",),
        pointer=said.setting.pointer,
    )


def _place(config: Config, word: _Word) -> Span:
    """Return where a rule says a setting: the whole clause if a `let` brings it."""
    return word.clause.span if _is_let(config, word) else word.setting.span
