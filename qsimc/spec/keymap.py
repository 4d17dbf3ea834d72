"""A vendor's key table (specs/vendors/*.toml): which path of its file says which neutral field.

Tables are ours, so they are validated by a test (pydantic, on these very dataclasses) and not at every start:
`qsimc check` would spend a third of its time on it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
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
    hints: tuple[str, ...] = ()
    key: dict[str, str]
    empty: dict[str, str] = field(default_factory=dict)
    instead: dict[str, dict[str, str]] = field(default_factory=dict)
    limit: tuple[Limit, ...] = ()
    roles: dict[str, str] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    words: dict[str, dict[str, str]] = field(default_factory=dict)
    schema: bool = False
    group: dict[str, dict[str, str]] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One key: what its value means.

    `where` is `*`, `model`, `option`, `fuse`, `target`, the capture that names an operator (`<op>`), or `<entry>`:
    the operator type or node that the object in an array names by its `entry` rows.  `role` is empty for every
    role, a role, or a capture (`<param>`).
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

    `subject` is set where a rule begins: everything below it speaks of the same nodes.  `empty` is set where it counts
    that an object or array stands there with nothing in it: the roles (`*` for every one) of a clause without
    settings, or `option`.
    """

    path: str
    literal: dict[str, Place] = field(default_factory=dict)
    capture: tuple[str, Place] | None = None
    items: Place | None = None
    row: Row | None = None
    subject: str | None = None
    empty: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyTable:
    """A key table, compiled to the tree of places its paths describe.

    `recognise` are keys that no other format has, `hints` keys that others have as well.  `schema` says that the
    vendor's program validates files by a JSON schema, and so what it prints.  `roles`, `devices` and `words` translate
    the vendor's words, `instead` has the vendor's nearest word for a value that it has none for, and `says` is what its
    program prints where one of our restrictions fails.
    """

    name: str
    title: str
    tool: str
    dialect: str
    recognise: frozenset[str]
    hints: frozenset[str]
    root: Place
    schema: bool
    roles: Mapping[str, str]
    devices: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]
    instead: Mapping[str, Mapping[str, str]]
    says: Mapping[str, str]


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
    for path, meaning in _expanded(table):
        where, field_, codec = (part.strip() for part in meaning.split("|"))
        head = re.fullmatch(r"(\*|<\w+>|\w+)(?:\[(<?\w+>?)\])?", where)
        assert head is not None, f"vendors/{name}.toml: cannot read `{where}`"
        row = Row(path, head[1], head[2] or "", field_, codec, limits.get(path))
        _plant(root, row)
    for path, roles in _each_role(table.empty, table.roles):
        _at(root, path).empty = tuple(roles.split(", "))
    for path in table.required:
        parent, _, key = path.rpartition(".")
        place = _at(root, parent)
        place.required = (*place.required, key)
    return KeyTable(
        name=table.name,
        title=table.title,
        tool=table.tool,
        dialect=table.dialect,
        recognise=frozenset(table.recognise),
        hints=frozenset(table.hints),
        root=root,
        schema=table.schema,
        roles=table.roles,
        devices=table.devices,
        words=table.words,
        instead=table.instead,
        says=table.says,
    )


def _expanded(table: TableFile) -> Iterator[tuple[str, str]]:
    """Yield path and meaning of every row: `{role}` stands for each tensor, `{quant}` for each key of that group."""
    for at, where in _each_role(table.key, table.roles):
        group = re.search(r"\{(\w+)\}", at)
        if group is None:
            yield at, where
        else:
            for key, said in table.group[group[1]].items():
                yield at.replace(group[0], key), f"{where} | {said}"


def _each_role(meanings: Mapping[str, str], roles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path, meaning in meanings.items():
        for word, role in roles.items() if "{role}" in path else (("", ""),):
            yield path.replace("{role}", word), meaning.replace("{role}", role)


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
    """Add a row's path to the tree; a rule begins at its operator's name or its entry, else at its section."""
    segments = tuple(_segments(row.path))
    opening = "[]" if row.where == "<entry>" else row.where
    begins = segments.index(opening) if opening in segments else 0
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
        if depth == begins and row.where not in ("option", "fuse", "target", "entry"):
            place.subject = row.where
    place.row = row


def _at(root: Place, path: str) -> Place:
    place = root
    for segment in filter(None, _segments(path)):
        captured = place.capture[1] if place.capture and place.capture[0] == segment else None
        below = place.items if segment == "[]" else captured or place.literal[segment]
        assert below is not None, f"nothing stands at {path}"
        place = below
    return place
