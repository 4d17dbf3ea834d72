"""Writing an encodings file in a layout that can hold it (qsimc.encodings.convert sees to that)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from qsimc.encodings import aimet0, aimet1, aimet2, own, tensorrt
from qsimc.encodings.entry import EncodingsFile, Entry, Layout, Section
from qsimc.encodings.read import SECTIONS
from qsimc.version import VERSION


def text(file: EncodingsFile) -> str:
    """Return a file as text."""
    if file.layout is Layout.TENSORRT:
        return tensorrt.write_text(file)
    return json.dumps(document(file), indent=1) + "\n"


def document(file: EncodingsFile) -> dict[str, Any]:
    """Return a file in JSON as plain data."""
    if file.layout is Layout.QSIMC:
        return {
            "format_version": own.FORMAT_VERSION,
            "encodings": {e.name: own.write_entry(e) for e in file.entries},
            **file.extra,
        }
    if file.layout is Layout.QNN:
        said = {} if file.producer is None else {"producer": file.producer}
        return _sections({"version": file.version or str(Layout.V0_6_1), **said}, file)
    producer = {"package": "qsimc", "version": VERSION} if file.producer is None else file.producer
    # `_torch.encodings` is built in one way and says another version.
    head = {"version": file.version if file.layout is Layout.TORCH else str(file.layout), "producer": producer}
    if not file.layout.sections:
        return head | {"encodings": [aimet2.write_entry(e, file.layout) for e in file.entries], **file.extra}
    return _sections(head, file)


def _sections(head: dict[str, Any], file: EncodingsFile) -> dict[str, Any]:
    arguments = {} if file.quantizer_args is None else {"quantizer_args": file.quantizer_args}
    sections = {key: _SECTION[file.layout](_of(file, section)) for key, section in SECTIONS.items()}
    return head | sections | arguments | dict(file.extra)


def _of(file: EncodingsFile, section: Section) -> list[Entry]:
    return [entry for entry in file.entries if entry.section is section]


def _by_name(entries: list[Entry]) -> dict[str, Any]:
    return {entry.name: aimet0.write_entry(entry) for entry in entries}


def _by_module(entries: list[Entry]) -> dict[str, Any]:
    if not any(entry.port for entry in entries):
        return _by_name(entries)
    found: dict[str, Any] = {}
    for entry in entries:
        direction, _, number = entry.port.partition(".")
        ports = found.setdefault(entry.name, {}).setdefault(direction, {})
        ports[number] = aimet0.write_entry(entry)[0]
    return found


def _listed(entries: list[Entry]) -> list[dict[str, Any]]:
    return [aimet1.write_entry(entry) for entry in entries]


_SECTION: dict[Layout, Callable[[list[Entry]], Any]] = {
    Layout.V0_6_1: _by_name,
    Layout.V1_0_0: _listed,
    Layout.QNN: _by_name,
    Layout.TORCH: _by_module,
}
