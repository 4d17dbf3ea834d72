"""An encodings file as JSON values, with places to point at when it is small enough."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.encodings.entry import Path
from qsimc.source import Source
from qsimc.syntax.json import Array, Json, Object, parse, plain

LOCATED_UP_TO = 4 * 2**20
"""Characters up to which every value gets a place; the files of large models have hundreds of millions."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON file, or with `cache` the lines of a TensorRT calibration cache.

    `tree` is None when it is large: findings then name the file and the JSON pointer only.
    """

    source: Source
    value: object
    tree: Json | None = None
    cache: bool = False

    def finding(
        self,
        code: str,
        name: str,
        severity: Severity,
        message: str,
        where: Path = (),
        *,
        notes: tuple[str, ...] = (),
        helps: tuple[str, ...] = (),
        text: str = "",
    ) -> Diagnostic:
        """Return a diagnostic about one place of the document."""
        return Diagnostic(
            code=code,
            name=name,
            severity=severity,
            message=message,
            labels=() if self.tree is None else (_label(self.tree, where, text),),
            notes=notes,
            helps=helps,
            pointer=pointer(where),
            path=self.source.path,
        )


def read_document(source: Source, report: Report) -> Document | None:
    """Return the JSON of a text, or None after reporting why there is none (Q01xx)."""
    if len(source.text) <= LOCATED_UP_TO:
        tree = parse(source, report)
        return None if tree is None else Document(source, plain(tree), tree)
    repeated: list[str] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) < len(members):
            repeated.extend(key for key, times in Counter(key for key, _ in members).items() if times > 1)
        return found

    try:
        value = json.loads(source.text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        report(_large(source, "Q0102", "not-json", f"the file is not JSON: {str(error)[:120].lower()}"))
        return None
    for key in sorted(set(repeated)):
        report(_large(source, "Q0103", "duplicate-key", f"the key `{key[:60]}` appears twice in one object"))
    return Document(source, value)


def pointer(where: Path) -> str:
    """Return a place as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in where)


def _large(source: Source, code: str, name: str, message: str) -> Diagnostic:
    return Diagnostic(code=code, name=name, severity=Severity.ERROR, message=message, path=source.path)


def _label(tree: Json, where: Path, text: str) -> Label:
    """Return a label on the value at a place, or on the last thing on the way there that exists."""
    value, span = tree, tree.span
    for step in where:
        match value:
            case Object(members, _):
                member = next((m for m in reversed(members) if m.key == step), None)
                if member is None:
                    break
                value, span = member.value, member.key_span
            case Array(items, _) if isinstance(step, int) and step < len(items):
                value = items[step]
                span = value.span
            case _:
                break
    return Label(span, text)
