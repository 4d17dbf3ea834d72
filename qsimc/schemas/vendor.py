"""The schema of a vendor's format, out of its key table.

A file without a finding about its words (Q02xx) is valid, and one with an error about them is not.  What the vendor's
program only takes for absent (Q0211) is not valid either: a schema is for writing a file.  No schema can tell `8.0`
from `8`; Vitis AI can, and `qsimc check` says so.
"""

from __future__ import annotations

from typing import Any

from qsimc.schemas.codecs import shape_of
from qsimc.spec import keymap
from qsimc.spec.fields import vocabulary
from qsimc.spec.keymap import KeyTable, Place, Row


def schema(name: str) -> dict[str, Any]:
    """Return the schema of the format with that key table."""
    table = keymap.load(name)
    return {"title": table.title, "description": f"what {table.tool} reads", **_place(table, table.root)}


def _place(table: KeyTable, place: Place) -> dict[str, Any]:
    if place.row is not None:
        return _value(table, place.row)
    if place.items is not None:
        return {"type": "array", "items": _place(table, place.items)}
    return _object(table, place)


def _object(table: KeyTable, place: Place) -> dict[str, Any]:
    """Any key that a capture names, or only those that the table names."""
    required = {"required": list(place.required)} if place.required else {}
    return {
        "type": "object",
        **required,
        "properties": {key: _place(table, below) for key, below in place.literal.items()},
        "additionalProperties": False if place.capture is None else _place(table, place.capture[1]),
    }


def _value(table: KeyTable, row: Row) -> dict[str, Any]:
    meaning = vocabulary().fields.get(row.field)
    described = {} if meaning is None else {"description": meaning.doc}
    return described | (shape_of(table, row.codec) if row.limit is None else _limited(row.limit.values))


def _limited(values: tuple[bool, ...]) -> dict[str, Any]:
    """Of booleans spelled as AIMET does, those that its program takes; it may take none."""
    return {"enum": [str(value) for value in values]} if values else {"not": {}}
