"""What may stand where the cursor is: keys and values in a vendor's JSON, words in .qsim."""

from __future__ import annotations

import re

from lsprotocol import types

from qsimc.lsp import choices, statements, vocabulary
from qsimc.lsp.choices import Choice
from qsimc.lsp.cursor import Cursor, locate
from qsimc.lsp.positions import View, extent, offset
from qsimc.spec import keymap
from qsimc.spec.keymap import KeyTable, Place

_COLON = re.compile(r"\s*:")


def completions(view: View, place: types.Position) -> list[types.CompletionItem]:
    """Return what may stand at a place."""
    return (_words if choices.is_qsim(view) else _json)(view, offset(view, place))


def _words(view: View, at: int) -> list[types.CompletionItem]:
    """Return the words of .qsim that may stand at an offset."""
    place = statements.locate(view.text, at)
    if place is None or place.word.kind == "string":
        return []
    return [_word(choice, n, place.word, view) for n, choice in enumerate(choices.choices(view, place))]


def _word(choice: Choice, order: int, typed: statements.Word, view: View) -> types.CompletionItem:
    then = "" if view.text[typed.end :].lstrip(" \t").startswith(choice.then.strip()) else choice.then
    return types.CompletionItem(
        label=choice.label,
        kind=choice.kind,
        documentation=_markdown(choice.doc) if choice.doc else None,
        sort_text=f"{order:04}",
        filter_text=choice.label.strip("[]"),
        text_edit=types.TextEdit(extent(view, typed.start, typed.end), f"{choice.label}{then}"),
    )


def _json(view: View, at: int) -> list[types.CompletionItem]:
    """Return the keys or values of JSON that may stand at an offset."""
    cursor = locate(view.text, at)
    if cursor is None:
        return []
    table = vocabulary.table_of(cursor.top)
    # A file that does not yet tell whose it is may become any vendor's.
    tables = tuple(map(keymap.load, keymap.names())) if table is None and not cursor.path else (table,)
    return [item for known in tables if known is not None for item in _of_table(known, cursor, view)]


def _of_table(table: KeyTable, cursor: Cursor, view: View) -> list[types.CompletionItem]:
    found = vocabulary.find(table, cursor.path)
    if found is None:
        return []
    place, rest = found
    if cursor.is_key:
        free = [key for key in vocabulary.keys(table, place, rest) if key not in cursor.before]
        return [_key(table, place, key, order, cursor, view) for order, key in enumerate(free)]
    return [_value(word, order, cursor, view) for order, word in enumerate(vocabulary.values(table, place, rest))]


def _key(table: KeyTable, place: Place, key: str, order: int, cursor: Cursor, view: View) -> types.CompletionItem:
    colon = "" if _COLON.match(view.text, cursor.end) else ": "
    below = vocabulary.find(table, (*cursor.path, key))
    known = below is not None and not below[1]
    return types.CompletionItem(
        label=key,
        kind=types.CompletionItemKind.Property,
        detail=table.title,
        documentation=_markdown(vocabulary.described(table, below[0], key)) if known and below else None,
        sort_text=f"{order:04}",
        filter_text=_filter(f'"{key}"', cursor, view),
        text_edit=types.TextEdit(extent(view, cursor.start, cursor.end), f'"{key}"{colon}'),
    )


def _value(word: str, order: int, cursor: Cursor, view: View) -> types.CompletionItem:
    return types.CompletionItem(
        label=word.strip('"'),
        kind=types.CompletionItemKind.EnumMember,
        sort_text=f"{order:04}",
        filter_text=_filter(word, cursor, view),
        text_edit=types.TextEdit(extent(view, cursor.start, cursor.end), word),
    )


def _filter(word: str, cursor: Cursor, view: View) -> str:
    """Return what an editor compares with what is typed: with quotes only behind a quote."""
    return word if view.text.startswith('"', cursor.start) else word.strip('"')


def _markdown(text: str) -> types.MarkupContent:
    return types.MarkupContent(types.MarkupKind.Markdown, text)
