"""Reading an encodings file, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.encodings import aimet0, aimet1, aimet2, own, tensorrt
from qsimc.encodings.document import Document
from qsimc.encodings.entry import EncodingsFile, Entry, Layout, Path, Section
from qsimc.encodings.values import MalformedError

SECTIONS = {"activation_encodings": Section.ACTIVATION, "param_encodings": Section.PARAM}

_TOP = frozenset({"version", "producer", "quantizer_args", "encodings", *SECTIONS})
_DICT_VERSIONS = ("0.4.0", "0.5.0", "0.6.0", "0.6.1")
_PORTS = ("input", "output")

Reader = Callable[[], Entry]
"""Reads one entry, or raises MalformedError."""


def read_file(document: Document, report: Report) -> EncodingsFile | None:
    """Return the entries of a document; None after reporting that it is no encodings file.

    Entries that cannot be understood are reported (Q0805) and left out.
    """
    if document.cache:
        return tensorrt.read_file(document, report)
    top = document.value
    layout = layout_of(document, top, report)
    if layout is None:
        return None
    assert isinstance(top, dict), "a layout of what is no object"
    return file_of(top, layout, read_entries(document, _READERS[layout](top), report))


def read_entries(document: Document, readers: Iterable[Reader], report: Report) -> tuple[Entry, ...]:
    """Return the entries that can be understood; the others are reported (Q0805)."""
    entries: list[Entry] = []
    for read in readers:
        try:
            entries.append(read())
        except MalformedError as error:
            report(_malformed(document, error))
    return tuple(entries)


def file_of(top: Mapping[str, Any], layout: Layout, entries: tuple[Entry, ...]) -> EncodingsFile:
    """Return a file of entries, with what its top level says beside them."""
    version = top.get("format_version" if layout is Layout.QSIMC else "version", "")
    return EncodingsFile(
        layout=layout,
        version=str(version),
        entries=entries,
        producer=top.get("producer"),
        quantizer_args=top.get("quantizer_args"),
        extra={key: value for key, value in top.items() if key not in _TOP and key != "format_version"},
    )


def layout_of(document: Document, top: object, report: Report) -> Layout | None:
    """Return how a file is built; None after reporting that nobody knows."""
    if not isinstance(top, dict) or not (
        isinstance(top.get("encodings"), (list, dict)) or any(s in top for s in SECTIONS)
    ):
        report(_not_encodings(document, "it has neither `encodings` nor `activation_encodings` and `param_encodings`"))
        return None
    version = top.get("version", "")
    if isinstance(top.get("encodings"), dict):
        if "format_version" in top and not any(s in top for s in SECTIONS):
            return Layout.QSIMC
        report(
            _not_encodings(
                document, "its `encodings` are an object, which only `qsimc` writes, with a `format_version`"
            )
        )
        return None
    if "encodings" in top:
        return _known(document, version, (Layout.V2_0_0, Layout.V2_1_0), report)
    kinds = {type(top[s]) for s in SECTIONS if s in top}
    if kinds == {list}:
        return _known(document, version, (Layout.V1_0_0,), report)
    if kinds != {dict}:
        report(_not_encodings(document, "its two sections are neither both objects nor both lists"))
        return None
    if _by_module(top.get("activation_encodings", {})) or version == Layout.V1_0_0:
        return Layout.TORCH
    if version == "" or version in _DICT_VERSIONS:
        if version == "":
            report(_no_version(document))
        return Layout.V0_6_1
    return _known(document, version, (Layout.V0_6_1,), report)


def _by_module(section: Mapping[str, Any]) -> bool:
    return any(isinstance(v, dict) and v and all(port in _PORTS for port in v) for v in section.values())


def _known(document: Document, version: object, layouts: tuple[Layout, ...], report: Report) -> Layout | None:
    if isinstance(version, str) and version in [str(layout) for layout in layouts]:
        return Layout(version)
    built = " or ".join(layouts)
    if version == "":
        message = f"the file does not say its version; it is built like {built}"
    else:
        message = f"version `{str(version)[:40]}` is not known of a file built like {built}"
    report(
        document.finding(
            "Q0804",
            "encodings-version",
            Severity.ERROR,
            message,
            ("version",),
            notes=("known are 0.4.0 to 0.6.1, 1.0.0, 2.0.0 and 2.1.0",),
            helps=(f'say `"version": "{layouts[0]}"` if that is what it is',),
        )
    )
    return None


# One reader per entry, so that a bad one leaves the others alone.


def _read_0(top: Mapping[str, Any]) -> Iterator[Reader]:
    for key, section in SECTIONS.items():
        for name, value in top.get(key, {}).items():
            yield partial(aimet0.read_entry, name, value, section, (key, name))


def _read_1(top: Mapping[str, Any]) -> Iterator[Reader]:
    for key, section in SECTIONS.items():
        for position, value in enumerate(top.get(key, [])):
            yield partial(aimet1.read_entry, value, section, (key, position))


def _read_2(top: Mapping[str, Any]) -> Iterator[Reader]:
    for position, value in enumerate(top["encodings"]):
        yield partial(aimet2.read_entry, value, ("encodings", position))


def _read_torch(top: Mapping[str, Any]) -> Iterator[Reader]:
    key = "activation_encodings"
    for module, ports in top.get(key, {}).items():
        if not isinstance(ports, dict) or not all(isinstance(numbered, dict) for numbered in ports.values()):
            yield partial(_no_ports, (key, module))
            continue
        for direction, numbered in ports.items():
            for number, value in numbered.items():
                where = (key, module, direction, number)
                yield partial(aimet0.read_entry, module, value, Section.ACTIVATION, where, f"{direction}.{number}")
    key = "param_encodings"
    for name, value in top.get(key, {}).items():
        yield partial(aimet0.read_entry, name, value, Section.PARAM, (key, name))


def _no_ports(where: Path) -> Entry:
    raise MalformedError("a module has the objects `input` and `output`, with one encoding per number", where)


def _read_native(top: Mapping[str, Any]) -> Iterator[Reader]:
    for name, value in top["encodings"].items():
        yield partial(own.read_entry, name, value, ("encodings", name))


_READERS: dict[Layout, Callable[[Mapping[str, Any]], Iterator[Reader]]] = {
    Layout.V0_6_1: _read_0,
    Layout.V1_0_0: _read_1,
    Layout.V2_0_0: _read_2,
    Layout.V2_1_0: _read_2,
    Layout.TORCH: _read_torch,
    Layout.QSIMC: _read_native,
}


def _not_encodings(document: Document, why: str) -> Diagnostic:
    return document.finding(
        "Q0803", "not-encodings", Severity.ERROR, f"`{document.source.path}` is not an encodings file: {why}"
    )


def _no_version(document: Document) -> Diagnostic:
    return document.finding(
        "Q0804",
        "encodings-version",
        Severity.WARNING,
        "the file does not say its version; it is read as 0.6.1, which it is built like",
        notes=("AIMET refuses a file without a version",),
        helps=('add `"version": "0.6.1"`',),
    )


def _malformed(document: Document, error: MalformedError) -> Diagnostic:
    return document.finding(
        "Q0805", "malformed-encoding", Severity.ERROR, f"the entry is not read: {error}", error.where
    )
