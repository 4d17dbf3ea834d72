"""What formats of this folder share: findings about JSON, what no configuration file of a tool says, text of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, did_you_mean
from qsimc.ir.config import Config, Setting, show_setting
from qsimc.ir.loss import OF_FIELD, Lose, Loss, LossKind
from qsimc.ir.select import Selector, show
from qsimc.source import Span
from qsimc.syntax.json import Json, Member, Object, kind

Plain: TypeAlias = "Mapping[str, Plain] | list[Plain] | str | int | float | bool | None"
"""A JSON value to be written."""


def text(value: Plain) -> str:
    """Return a value as the text of a JSON file: two spaces of indent, a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def below(pointer: str, key: str | int) -> str:
    """Return the JSON pointer of what a key or an index names within `pointer` (RFC 6901)."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def members(value: Object) -> Mapping[str, Member]:
    """Return the members of an object by key; of equal keys the last one counts, and the parser has reported it."""
    return {member.key: member for member in value.members}


def whole(member: Member) -> Span:
    """Return where a member stands, from its key to the end of its value."""
    return Span(member.key_span.source, member.key_span.start, member.value.span.end)


# ── reading ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Findings:
    """Reports what is wrong with a file of `tool`, or what the neutral vocabulary has no word for."""

    tool: str
    report: Report

    def unknown(self, member: Member, known: Iterable[str], where: str, pointer: str, *, refused: bool) -> None:
        """Report a key that `where` does not have: an error if the tool refuses it, else a loss."""
        choices = tuple(known)
        near = did_you_mean(member.key, choices)
        severity = Severity.ERROR if refused else LossKind.DROPPED.value[2]
        listed = ", ".join(f"`{key}`" for key in choices)
        self.report(
            Diagnostic(
                code="Q0201" if refused else LossKind.DROPPED.value[0],
                name="unknown-key" if refused else LossKind.DROPPED.value[1],
                severity=severity,
                message=f"no key is called `{member.key}` in {where}",
                labels=(Label(member.key_span),),
                notes=(f"known here: {listed}",) if listed and not near else (),
                helps=(f"did you mean `{near}`?" if near else "write a key that is known, or leave it out",),
                fixes=(Fix(f"rename to `{near}`", (Edit(member.key_span, f'"{near}"'),)),) if near else (),
                pointer=pointer,
            )
        )

    def bad(self, message: str, span: Span, pointer: str, *helps: str) -> None:
        """Report a value that cannot be."""
        self._error("Q0202", "bad-value", message, span, pointer, helps)

    def wrong(self, value: Json, where: str, expected: str, pointer: str) -> None:
        """Report a section of the wrong kind."""
        message = f"{where} must be {expected}, found {kind(value)}"
        self._error("Q0203", "wrong-section", message, value.span, pointer, ())

    def lost(self, what: LossKind, message: str, span: Span, pointer: str, *fields: str) -> None:
        """Report what the file says and the vocabulary cannot."""
        self.report(Loss(what, message, span, fields=fields, pointer=pointer).diagnostic())

    def _error(self, code: str, name: str, message: str, span: Span, pointer: str, helps: tuple[str, ...]) -> None:
        self.report(
            Diagnostic(
                code=code,
                name=name,
                severity=Severity.ERROR,
                message=message,
                labels=(Label(span),),
                helps=helps,
                pointer=pointer,
            )
        )


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def of(setting: Setting, selector: Selector) -> str:
    """Return a setting and whose it is, for a message: "`range=0..1` of Softmax"."""
    return f"`{show_setting(setting.field, setting.value)}` of {show(selector)}"


def lost(setting: Setting, message: str, what: LossKind | None = None, tensors: tuple[str, ...] = ()) -> Loss:
    """Return the loss of one setting, at its place; its kind is that of its field if none is given."""
    found = what or OF_FIELD.get(setting.field, LossKind.DROPPED)
    return Loss(found, message, setting.span, tensors, (setting.field,), setting.pointer)


class Once:
    """Passes each loss on once: what is said once and holds for many entries of a file is lost once."""

    def __init__(self, lose: Lose) -> None:
        self._lose = lose
        self._seen: set[object] = set()

    def __call__(self, loss: Loss) -> None:
        place = (loss.span.start, loss.span.end) if loss.span is not None else loss.message
        key = (loss.kind, loss.fields, place)
        if key not in self._seen:
            self._seen.add(key)
            self._lose(loss)


def lose_options(config: Config, lose: Lose, tool: str, *kept: str) -> None:
    """Lose every option of the source but those that are `kept`: a tool has no switches of another one."""
    for option in config.options:
        if option.name not in kept:
            message = f"{tool} has no counterpart of the option `{option.name}`, which is dropped"
            lose(Loss(LossKind.OPTION, message, option.span))


def lose_restrictions(config: Config, lose: Lose, tool: str) -> None:
    """Lose what the source requires and forbids: it was checked, and the written file does not repeat it."""
    for restriction in config.restrictions:
        named = f" `{restriction.name}`" if restriction.name else ""
        message = f"{tool} has no restrictions: `{restriction.polarity}`{named} is dropped"
        lose(Loss(LossKind.RESTRICTION, message, restriction.span))
