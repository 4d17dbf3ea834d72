"""Edits of configuration texts that leave the rest as it is, byte for byte."""

from __future__ import annotations

import json as plain_json
from collections.abc import Sequence
from dataclasses import dataclass

from qsimc.source import Source, Span
from qsimc.syntax import json
from qsimc.syntax.json import Array, Json, Object


@dataclass(frozen=True, slots=True)
class Inside:
    """The innermost object that a path of keys leads into: how many keys lead there, and where it begins."""

    depth: int
    start: int


def replace_value(text: str, span: Span, new: str) -> str:
    """Return a text with what stands at a span replaced; the text before the span is as it was."""
    return text[: span.start] + new + text[span.end :]


def insert_statement(text: str, line: str) -> str:
    """Return a .qsim text with one statement more, at its end."""
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"


def insert_member(text: str, keys: Sequence[str], value: str) -> tuple[Inside, str, str]:
    """Return where a value is added to a JSON text, what is added there, and the text after it.

    Args:
        keys: from the top to the value; an index leads into an array.  Objects that are missing are made.
        value: JSON.
    """
    document = json.parse(Source("", text), lambda _: None)
    assert isinstance(document, Object)
    at, depth = document, 0
    node: Json | None = document
    for number, key in enumerate(keys[:-1]):
        node = _below(node, key)
        if node is None:
            break
        if isinstance(node, Object):
            at, depth = node, number + 1
    member = value
    for key in reversed(keys[depth + 1 :]):
        member = f"{{{plain_json.dumps(key)}: {member}}}"
    member = f"{plain_json.dumps(keys[depth])}: {member}"
    return Inside(depth, at.span.start), member, _with_member(text, at, member)


def has_member(text: str, keys: Sequence[str]) -> bool:
    """Say whether a JSON text has a value at the end of a path of keys."""
    node = json.parse(Source("", text), lambda _: None)
    for key in keys:
        node = _below(node, key)
    return node is not None


def _below(node: Json | None, key: str) -> Json | None:
    if isinstance(node, Array):
        return node.items[int(key)] if key.isdigit() and int(key) < len(node.items) else None
    if isinstance(node, Object):
        return next((m.value for m in reversed(node.members) if m.key == key), None)
    return None


def _with_member(text: str, inside: Object, member: str) -> str:
    """Return a text with a member at the end of an object, laid out as the member above it."""
    if not inside.members:
        return f"{text[: inside.span.start]}{{{member}}}{text[inside.span.end :]}"
    last = inside.members[-1]
    begin = last.key_span.start
    margin = text[text.rfind("\n", 0, begin) + 1 : begin]
    gap = f"\n{margin}" if "\n" in text[:begin] and not margin.strip() else " "
    return f"{text[: last.value.span.end]},{gap}{member}{text[last.value.span.end :]}"
