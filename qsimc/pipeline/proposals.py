"""Changes of a configuration as edits of its file: in the words of its format, where a person would make them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from qsimc import formats
from qsimc.formats.encoders import encode
from qsimc.ir.config import Config, Setting, Value, show_rule, show_setting
from qsimc.ir.select import Selector
from qsimc.pipeline.edits import insert_member, insert_statement, replace_value
from qsimc.source import Span
from qsimc.spec import keymap


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that is to have another value: `setting` of the file, or a new one if that is None.

    `keys` leads to a new setting in a vendor's file: the keys from the top, an index for an entry of an array.
    """

    selector: Selector
    roles: tuple[str, ...]
    field: str
    value: Value
    setting: Setting | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit, as a person makes it: where, and what to write."""

    title: str
    span: Span


def is_same(setting: Setting, other: Setting) -> bool:
    """Return whether two settings of a file are one."""
    return setting.field == other.field and setting.span == other.span


def written(config: Config, changes: Sequence[Change]) -> tuple[tuple[Proposal, ...], str]:
    """Return changes as edits of the file, with the whole text after them; those of values come first."""
    values = [change for change in changes if change.setting is not None]
    ordered = [*sorted(values, key=_position, reverse=True), *(c for c in changes if c.setting is None)]
    proposals: list[Proposal] = []
    after = config.source.text
    for change in ordered:
        proposal, after = _edit(config, change, after)
        proposals.append(proposal)
    return tuple(sorted(proposals, key=lambda p: p.span.start)), after


def _position(change: Change) -> int:
    assert change.setting is not None
    return change.setting.span.start


def _edit(config: Config, change: Change, text: str) -> tuple[Proposal, str]:
    """Return one change as an edit, and the text after it; in `text` changes further down have been made."""
    in_qsim = config.format == formats.QSIM
    if change.setting is not None:
        span = change.setting.span
        new = show_setting(change.field, change.value) if in_qsim else _spelled(config, change)
        key = "" if in_qsim else f'"{change.setting.pointer.rpartition("/")[2]}": '
        title = f"write `{key}{new}` instead of `{_short(span.text)}`"
        return Proposal(f"{title}{'' if in_qsim else _meaning(config, change)}", span), replace_value(text, span, new)
    if in_qsim:
        end = len(config.source.text)
        line = _rule(config, change)
        return Proposal(f"add `{line}`", Span(config.source, end, end)), insert_statement(text, line)
    inside, member, after = insert_member(text, change.keys, _spelled(config, change))
    original, _, _ = insert_member(config.source.text, change.keys, _spelled(config, change))
    where = ".".join(change.keys[: inside.depth]) or "the top level"
    title = f"add `{member}` to {where}{_meaning(config, change)}"
    return Proposal(title, Span(config.source, original.start, original.start + 1)), after


def _rule(config: Config, change: Change) -> str:
    """Return a change as a line of .qsim: the rule that it changes, or the one that it adds."""
    setting = Setting(change.field, change.value, Span(config.source, 0, 0))
    if change.setting is None:
        return show_rule(change.selector, change.roles, setting)
    changed = (
        (rule.selector, clause.roles)
        for rule in config.rules
        for clause in rule.clauses
        if any(is_same(said, change.setting) for said in clause.settings)
    )
    return show_rule(*next(changed, (change.selector, change.roles)), setting)


def _meaning(config: Config, change: Change) -> str:
    return f": {_rule(config, change)}"


def _spelled(config: Config, change: Change) -> str:
    """Return a value as JSON of the vendor's file."""
    table = keymap.load(formats.READINGS.get(config.format, config.format))
    row = next(row for row in keymap.rows(table.root) if row.field == change.field)
    return json.dumps(encode(table, row.codec, change.value))


def _short(text: str) -> str:
    return " ".join(text.split())
