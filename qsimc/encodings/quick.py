"""Lint an encodings file in about twice the time that decoding it takes.

Nearly every entry is sound and has one of a few shapes, which are recognized at once (shapes.py).  Every other entry
is read and linted as ever (read.py, lint.py), and so is a whole file of which anything is unusual, so that no finding
is made here.  Tests hold the two ways to each other.

orjson keeps the last of two equal keys without a word.  So the strings of the value are counted: each stands between
two quotes in the text, and a key that was dropped is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from qsimc.diagnostics import Diagnostic
from qsimc.encodings import aimet0, aimet1, aimet2, own, shapes
from qsimc.encodings.document import LOCATED_UP_TO, Document
from qsimc.encodings.entry import Layout
from qsimc.encodings.lint import lint
from qsimc.encodings.read import SECTIONS, Reader, file_of, layout_of, read_entries
from qsimc.source import Source
from qsimc.syntax.json import MAX_DEPTH, MAX_DIGITS

_BOM = b"\xef\xbb\xbf"
_DEEPEST = MAX_DEPTH // 2
"""Levels that one value may have.  It stands on no more than the other half, so that nothing is nested too deep."""

_NUMERIC = bytes(ord("0" if chr(byte) in "+-.0123456789Ee" else " ") for byte in range(256))
_DIGITS = bytes(ord("0" if chr(byte) in "0123456789" else " ") for byte in range(256))
_MACHINE_DIGITS = 18
"""Digits of which every integer is one of 64 bits; orjson makes a float of a longer one, which reads differently."""


def findings(content: bytes, path: str) -> list[Diagnostic] | None:
    """Return what lint finds in a file by itself, or None where it must be read the ordinary way.

    That is where it is not plain JSON or is built in another way than AIMET's files and qsimc's, where a key or a name
    appears twice, and where a finding has a place in the text (see `Document`).
    """
    try:
        top = orjson.loads(content.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        return None
    found: list[Diagnostic] = []
    document = Document(Source(path, ""), top)
    layout = layout_of(document, top, found.append)
    if layout is None or layout not in _SIFTS or _has_long_number(content):
        return None
    entries = _Entries()
    sifted = _SIFTS[layout](top, entries)
    strings = len(top) + entries.strings + sum(_strings(value) for key, value in top.items() if key not in sifted)
    if len(set(entries.names)) < len(entries.names) or 2 * strings != _quotes(content):
        return None
    found += lint(document, file_of(top, layout, read_entries(document, entries.doubtful, found.append)))
    placed = len(content) <= LOCATED_UP_TO or len(content.decode()) <= LOCATED_UP_TO
    return None if found and (placed or _has_run(content, _DIGITS, _MACHINE_DIGITS + 1)) else found


@dataclass(slots=True)
class _Entries:
    """What is kept of a file's entries.

    Attributes:
        names: of all of them.
        strings: how many they hold, keys included.
        doubtful: readers of those that were not recognized.
    """

    names: list[str] = field(default_factory=list)
    strings: float = 0
    doubtful: list[Reader] = field(default_factory=list)

    def doubt(self, value: object, reader: Reader) -> None:
        self.strings += _strings(value)
        self.doubtful.append(reader)


# One function per layout: it fills `_Entries`, and returns the keys of the top level that it has seen to.


def _sift_0(top: Mapping[str, Any], entries: _Entries) -> Collection[str]:
    for key, section in SECTIONS.items():
        named = top.get(key, {})
        entries.names += named
        entries.strings += len(named)
        for name, value in named.items():
            if strings := shapes.entry_0(value):
                entries.strings += strings
            else:
                entries.doubt(value, partial(aimet0.read_entry, name, value, section, (key, name)))
    return SECTIONS


def _sift_1(top: Mapping[str, Any], entries: _Entries) -> Collection[str]:
    for key, section in SECTIONS.items():
        listed = top.get(key, [])
        entries.names += _names(listed)
        for position, value in enumerate(listed):
            if strings := shapes.entry_1(value):
                entries.strings += strings
            else:
                entries.doubt(value, partial(aimet1.read_entry, value, section, (key, position)))
    return SECTIONS


def _sift_2(top: Mapping[str, Any], entries: _Entries) -> Collection[str]:
    entries.names += _names(top["encodings"])
    for position, value in enumerate(top["encodings"]):
        if strings := shapes.entry_2(value):
            entries.strings += strings
        else:
            entries.doubt(value, partial(aimet2.read_entry, value, ("encodings", position)))
    return ("encodings",)


def _sift_native(top: Mapping[str, Any], entries: _Entries) -> Collection[str]:
    named = top["encodings"]
    entries.strings += len(named)
    for name, value in named.items():
        if strings := shapes.entry_native(value):
            entries.strings += strings
        else:
            entries.doubt(value, partial(own.read_entry, name, value, ("encodings", name)))
    return ("encodings",)


_SIFTS: dict[Layout, Callable[[Mapping[str, Any], _Entries], Collection[str]]] = {
    Layout.V0_6_1: _sift_0,
    Layout.V1_0_0: _sift_1,
    Layout.V2_0_0: _sift_2,
    Layout.V2_1_0: _sift_2,
    Layout.QSIMC: _sift_native,
}


def _names(listed: list[Any]) -> list[str]:
    """Return the names in a list of records; those of records that will not be understood do no harm."""
    return [name for record in listed if type(record) is dict and type(name := record.get("name")) is str]


def _strings(value: object, levels: int = _DEEPEST) -> float:
    """Return how many strings a value holds, keys included; infinity where it is nested too deep."""
    if type(value) is dict:
        own, inner = len(value), list(value.values())
    elif type(value) is list:
        own, inner = 0, value
    else:
        return int(type(value) is str)
    types = set(map(type, inner))
    if types.isdisjoint((str, list, dict)):
        return own
    return own + sum(_strings(item, levels - 1) for item in inner) if levels else math.inf


def _has_long_number(content: bytes) -> bool:
    """Say whether a text that is not large holds a number that the ordinary way refuses."""
    return len(content) <= 4 * LOCATED_UP_TO and _has_run(content, _NUMERIC, MAX_DIGITS + 1)


def _has_run(content: bytes, table: bytes, length: int) -> bool:
    """Say whether so many bytes in a row are of those that a table makes `0`."""
    return b"0" * length in content.translate(table)


def _quotes(content: bytes) -> int:
    """Return how many quotes begin or end a string: those that no backslash precedes, which none itself precedes."""
    if b"\\" not in content:
        return content.count(b'"')
    return content.count(b'"') - content.replace(b"\\\\", b"").count(b'\\"')
