"""JSON Schemas (2020-12) of the files that qsimc reads and writes."""

from __future__ import annotations

from typing import Any

from qsimc.schemas import vendor, written
from qsimc.spec import keymap

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def names() -> tuple[str, ...]:
    """Return what has a schema: the vendors' formats, then the files of our own."""
    return (*keymap.names(), *written.SHAPES)


def schema(name: str) -> dict[str, Any]:
    """Return the schema of one of `names()`.

    Raises:
        LookupError: there is none.
    """
    if name not in names():
        raise LookupError(f"no schema is called `{name}`; there are {', '.join(names())}")
    shape = vendor.schema(name) if name in keymap.names() else written.SHAPES[name]()
    return {"$schema": DIALECT, **shape}
