"""What an editor shows under the mouse: why a finding matters, or what a key is."""

from __future__ import annotations

from lsprotocol import types

from qsimc import explain
from qsimc.lsp import findings, vocabulary
from qsimc.lsp.cursor import locate
from qsimc.lsp.positions import View, extent, offset


def hover(view: View, place: types.Position) -> types.Hover | None:
    """Return the pages of the findings at a place, else what the key there is."""
    at = offset(view, place)
    found = findings.at(view, at, at)
    if not found:
        return _key(view, at)
    span = findings.place(found[0], view)
    pages = dict.fromkeys(explain.explain(d.code).text for d in found)
    return _markdown("\n\n---\n\n".join(pages), view, span.start, span.end)


def _key(view: View, at: int) -> types.Hover | None:
    """Return what the key at an offset is, None where none is or nobody knows it."""
    cursor = locate(view.text, at)
    if cursor is None or not cursor.is_key:
        return None
    key = view.text[cursor.start : cursor.end].strip('"')
    table = vocabulary.table_of(cursor.top)
    found = vocabulary.find(table, (*cursor.path, key)) if table is not None else None
    if table is None or found is None or found[1]:
        return None
    return _markdown(vocabulary.described(table, found[0], key), view, cursor.start, cursor.end)


def _markdown(text: str, view: View, start: int, end: int) -> types.Hover:
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text), extent(view, start, end))
