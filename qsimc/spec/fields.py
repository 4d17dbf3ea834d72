"""The vocabulary of settings (specs/fields.toml): which words a rule may say, and what they mean."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from qsimc import resources

FieldType = Literal["flag", "boolean", "word", "integer", "real", "range", "kernels"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its type, its words, and what it means.  A test validates the file (see keymap.py)."""

    type: FieldType
    doc: str
    words: Sequence[str] = ("", "")
    choices: Sequence[str] = ()
    bounds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Fields by name, in printing order, and flag words by spelling: `off` -> ("enabled", False)."""

    fields: dict[str, Field]
    flags: dict[str, tuple[str, bool]]

    @property
    def words(self) -> tuple[str, ...]:
        """Every word a rule may say: flags, then the fields that take a value."""
        return (*self.flags, *(name for name, f in self.fields.items() if f.type != "flag"))


def domain(name: str) -> tuple[bool | int | str, ...]:
    """Return the values that a field can have, none where there is no end of them."""
    row = vocabulary().fields[name]
    if row.type in ("flag", "boolean"):
        return (True, False)
    if row.type == "integer" and row.bounds:
        return tuple(range(int(row.bounds[0]), int(row.bounds[1]) + 1))
    return tuple(row.choices)


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary, read once."""
    table = tomllib.loads(resources.read("specs", "fields.toml"))
    fields = {name: Field(**row) for name, row in table.items()}
    flags = {
        word: (name, value)
        for name, f in fields.items()
        if f.type == "flag"
        for word, value in zip(f.words, (True, False), strict=True)
    }
    return Vocabulary(fields, flags)
