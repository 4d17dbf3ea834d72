"""What a vendor's file may say at a place: the keys and values that its key table knows there."""

from __future__ import annotations

from collections.abc import Iterable

from qsimc.checks.names import HARDWARE, PARAMS, known_operators
from qsimc.spec import fields, keymap
from qsimc.spec.keymap import KeyTable, Place, Row
from qsimc.spec.ops import operators as operators_with_facts

_SIDES = ("activation", "param")
_KERNEL = ("bitwidth", "dtype")
_INNER_KEYS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("range",): ("min", "max"),
    ("kernels", "[]"): _SIDES,
    **{("kernels", "[]", side): _KERNEL for side in _SIDES},
}
"""Keys below the place where a table ends and a codec goes on, by the codec and the path from there."""

_INNER_VALUES: dict[tuple[str, ...], tuple[str, ...]] = {
    **{("kernels", "[]", side, "bitwidth"): ("4", "8", "16", "32") for side in _SIDES},
    **{("kernels", "[]", side, "dtype"): ('"int"', '"float"') for side in _SIDES},
}


def table_of(top: Iterable[str]) -> KeyTable | None:
    """Return the key table that a file is written by, as its top-level keys tell; None for no vendor's."""
    seen = frozenset(top)
    return next((table for table in map(keymap.load, keymap.names()) if (table.recognise | table.hints) & seen), None)


def find(table: KeyTable, path: Iterable[str]) -> tuple[Place, tuple[str, ...]] | None:
    """Return the place at a path, and what of the path leads on below a row of the table; None for an unknown one."""
    place = table.root
    segments = tuple(path)
    for depth, segment in enumerate(segments):
        if place.row is not None:
            return place, segments[depth:]
        below = place.items if segment == "[]" else _member(place, segment)
        if below is None:
            return None
        place = below
    return place, ()


def keys(table: KeyTable, place: Place, rest: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys that may stand in an object, in the order of the table."""
    if place.row is not None:
        return _INNER_KEYS.get((_codec(place.row), *rest), ())
    captured = {"<op>": known_operators(table.dialect), "<param>": PARAMS}
    return (*place.literal, *(captured.get(place.capture[0], ()) if place.capture else ()))


def values(table: KeyTable, place: Place, rest: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values that may stand at a place, as JSON; none where there is no end of them."""
    row = place.row
    if row is None:
        return ()
    if rest == ("[]",) and row.codec in ("kinds", "chain", "texts"):
        return _items(table, row)
    return _INNER_VALUES.get((_codec(row), *rest), ()) if rest else _scalars(table, row)


def options(table: KeyTable) -> dict[str, Row]:
    """Return the rows of the options that a .qsim file of the table's dialect can set, by their names."""
    return {row.field: row for row in keymap.rows(table.root) if row.where == "option"}


def option_values(table: KeyTable, name: str) -> tuple[str, ...]:
    """Return the values, as .qsim, that an option can have, or that its set can hold; none where there is no end."""
    row = options(table).get(name)
    if row is None:
        return ()
    found = _items(table, row) if row.codec == "texts" else _scalars(table, row)
    return tuple(value.strip('"') for value in found)


def described(table: KeyTable, place: Place, key: str) -> str:
    """Return what a key is, as Markdown."""
    if place.row is None:
        within = ", ".join(f"`{name}`" for name in place.literal)
        return f"`{key}`: {_kind(place)} of the {table.title}" + (f"\n\nkeys: {within}" if within else "")
    lines = [f"`{key}`: {_meaning(table, place.row)}"]
    if place.row.role:
        lines.append(f"tensors: `{place.row.role.strip('<>')}`")
    if (known := values(table, place, ())) and len(known) <= 12:
        lines.append(f"values: {', '.join(f'`{value}`' for value in known)}")
    return "\n\n".join(lines)


def _member(place: Place, key: str) -> Place | None:
    return place.literal.get(key) or (place.capture[1] if place.capture else None)


def _codec(row: Row) -> str:
    return "kernels" if row.codec == "op_kernels" else row.codec


def _items(table: KeyTable, row: Row) -> tuple[str, ...]:
    passes = operators_with_facts().graph_passes if row.field == "supergroup_passes" else ()
    return _quoted({"kinds": table.roles, "chain": known_operators(table.dialect), "texts": passes}[row.codec])


def _scalars(table: KeyTable, row: Row) -> tuple[str, ...]:
    if row.codec == "bool":
        return _quoted(str(flag) for flag in (True, False) if row.limit is None or flag in row.limit.values)
    if row.codec in ("true_or_false", "switch"):
        return ("true", "false")
    if row.codec == "device":
        return _quoted(table.devices)
    if row.field == "hw_version":
        return _quoted(HARDWARE)
    if (row.where, row.field) == ("entry", "op_type"):
        return _quoted(known_operators(table.dialect))
    return _quoted(table.words.get(row.codec, ()))


def _quoted(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(f'"{word}"' for word in words)


def _kind(place: Place) -> str:
    if place.subject is not None and place.subject.startswith("<"):
        return "the rules of one operator type"
    return "an array" if place.items is not None else "a section"


def _meaning(table: KeyTable, row: Row) -> str:
    if row.where == "option":
        return f"an option of {table.tool}"
    if row.where == "entry":
        return "what this entry is about"
    if row.where == "fuse":
        return "operators that run as one, in order"
    if row.where == "target":
        return "the hardware that the file is for"
    return fields.vocabulary().fields[row.field].doc
