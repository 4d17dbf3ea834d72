"""A vendor's key table (specs/vendors/*.toml): which path of its file says which neutral field.

Tables are ours, so they are validated by a test (pydantic, on these very dataclasses) and not at every start:
`qsimc check` would spend a third of its time on it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from qsimc import resources


@dataclass(frozen=True, slots=True)
class Limit:
    """Values of one key that the vendor's program takes, and what it prints for any other."""

    key: str
    values: tuple[bool, ...]
    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A key table as its file says it."""

    name: str
    title: str
    tool: str
    dialect: str
    required: tuple[str, ...]
    recognise: tuple[str, ...]
    key: dict[str, str]
    limit: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One key: what its value means.

    `where` is `*`, `model`, `option`, `fuse` or the capture that names an operator (`<op>`); `role` is empty
    for every role, a role, or a capture (`<param>`).
    """

    path: str
    where: str
    role: str
    field: str
    codec: str
    limit: Limit | None


@dataclass(slots=True)
class Place:
    """One object or array of the vendor's file, by what may stand in it.

    `subject` is set where a rule begins: everything below it speaks of the same nodes.
    """

    path: str
    literal: dict[str, Place] = field(default_factory=dict)
    capture: tuple[str, Place] | None = None
    items: Place | None = None
    row: Row | None = None
    subject: str | None = None
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyTable:
    """A key table, compiled to the tree of places its paths describe."""

    name: str
    title: str
    tool: str
    dialect: str
    recognise: frozenset[str]
    root: Place


@cache
def names() -> tuple[str, ...]:
    """Return the names of all vendors that have a key table, sorted."""
    folder = resources.root("specs").joinpath("vendors")
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def load(name: str) -> KeyTable:
    """Return one vendor's table, read and compiled once."""
    file = tomllib.loads(resources.read("specs", f"vendors/{name}.toml"))
    limits = {entry["key"]: Limit(**(entry | {"values": tuple(entry["values"])})) for entry in file.pop("limit", ())}
    table = TableFile(**file)
    root = Place("")
    for path, meaning in table.key.items():
        where, field_, codec = (part.strip() for part in meaning.split("|"))
        head = re.fullmatch(r"(\*|<\w+>|\w+)(?:\[(<?\w+>?)\])?", where)
        assert head is not None, f"vendors/{name}.toml: cannot read `{where}`"
        row = Row(path, head[1], head[2] or "", field_, codec, limits.get(path))
        _plant(root, row)
    for path in table.required:
        parent, _, key = path.rpartition(".")
        place = _at(root, parent)
        place.required = (*place.required, key)
    return KeyTable(table.name, table.title, table.tool, table.dialect, frozenset(table.recognise), root)


def rows(place: Place) -> Iterator[Row]:
    """Yield every row at and below a place."""
    if place.row is not None:
        yield place.row
    captured = (place.capture[1],) if place.capture else ()
    for below in (*place.literal.values(), *captured, *filter(None, (place.items,))):
        yield from rows(below)


def _segments(path: str) -> Iterator[str]:
    for segment in path.split("."):
        yield segment.removesuffix("[]")
        if segment.endswith("[]"):
            yield "[]"


def _plant(root: Place, row: Row) -> None:
    """Add a row's path to the tree; a rule begins at its operator's name, else at its top-level section."""
    segments = tuple(_segments(row.path))
    begins = segments.index(row.where) if row.where in segments else 0
    place = root
    for depth, segment in enumerate(segments):
        path = f"{place.path}.{segment}" if place.path else segment
        if segment == "[]":
            place.items = place.items or Place(path)
            place = place.items
        elif segment.startswith("<"):
            place.capture = place.capture or (segment, Place(path))
            place = place.capture[1]
        else:
            place = place.literal.setdefault(segment, Place(path))
        if depth == begins and row.where not in ("option", "fuse"):
            place.subject = row.where
    place.row = row


def _at(root: Place, path: str) -> Place:
    place = root
    for segment in filter(None, path.split(".")):
        place = place.literal[segment]
    return place
