"""Configuration formats: which there are, which one a text is in, and how it is read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.formats import foreign, keyed, qtypes
from qsimc.ir.config import Config
from qsimc.source import Source
from qsimc.spec import keymap
from qsimc.syntax import json

if TYPE_CHECKING:
    from qsimc.graph import Graph

READINGS = {"aimet-torch": "aimet"}
"""Formats that are another one read otherwise: AIMET's torch half means something else by the same file."""

QTYPES = "aimet-qtypes"
QSIM = "qsim"


def names() -> tuple[str, ...]:
    """Return the names of all formats that can be read, as `--from` takes them."""
    others = (name for name in foreign.names() if foreign.reader(name))
    return (*sorted({*keymap.names(), *READINGS, QTYPES, *others}), QSIM)


def writable() -> tuple[str, ...]:
    """Return the names of all formats that can be written, as `--to` takes them."""
    return (*sorted({*keymap.names(), *(name for name in foreign.names() if foreign.writer(name))}), QSIM)


def read(source: Source, report: Report, format: str | None = None, graph: Graph | None = None) -> Config | None:
    """Return what a configuration file means, or None after reporting why it cannot be read.

    Args:
        format: one of `names()`; None looks at the content.
        graph: that of a model, for formats that speak of its tensors.

    Raises:
        LookupError: no such format; the message names those there are.
    """
    config = written(source, report, format, graph)
    return config and meaning(config)


def meaning(config: Config) -> Config:
    """Return a configuration with rules that mean by themselves what its dialect takes them to mean."""
    if config.dialect != "vitis":
        return config
    # Imported here: only this vendor's files need it.
    from qsimc.formats import vitis

    return vitis.meaning(config)


def written(source: Source, report: Report, format: str | None = None, graph: Graph | None = None) -> Config | None:
    """Return what a configuration file says, word for word: what a translation begins with.

    Args and errors are those of `read`.
    """
    if format is not None and format not in names():
        raise LookupError(f"no format `{format}`; there are {', '.join(names())}")
    if format in READINGS:
        is_qsim = not source.text.lstrip().startswith("{")
        config = written(source, report, QSIM if is_qsim else READINGS[format])
        return config and replace(config, dialect=format, format=format)
    if format == QSIM or (format is None and not _is_data(source)):
        # Imported here: lark costs more than everything else that a JSON config needs.
        from qsimc.formats.qsim import read as read_qsim

        return read_qsim(source, report)
    found, document = _document(source, report, format)
    if document is None:
        return None
    if found is None:
        report(_of_another_tool(source, document) or _unrecognised(source))
        return None
    if found == QTYPES:
        return qtypes.read(source, document, report)
    if (other := foreign.reader(found)) is not None:
        return foreign.read(other, source, document, report, graph)
    if found == "vitis":
        # Imported here, as above: only this vendor's files need it.
        from qsimc.formats import vitis

        return vitis.read(keymap.load(found), source, document, report)
    return keyed.read(keymap.load(found), source, document, report)


def _is_data(source: Source) -> bool:
    """Say whether a text is JSON or YAML; one that begins with a name in quotes is .qsim, unless that is all."""
    begins = source.text.lstrip().startswith(("{", "[", "//", "/*"))
    return begins or source.path.endswith(_YAML) or re.fullmatch(r'\s*"[^"\n]*"\s*', source.text) is not None


_YAML = (".yaml", ".yml")


def _document(source: Source, report: Report, format: str | None) -> tuple[str | None, json.Json | None]:
    """Return the format of a text and the value in it; no value after reporting why it cannot be read.

    Formats that have a syntax of their own, comments in JSON or YAML, are tried where the text is no JSON.
    """
    if format is not None:
        return format, foreign.parser(format)(source, report)
    findings: list[Diagnostic] = []
    document = None if source.path.endswith(_YAML) else json.parse(source, findings.append)
    if document is not None:
        for finding in findings:
            report(finding)
        return _recognised(document), document
    for name in foreign.with_syntax():
        said: list[Diagnostic] = []
        other = foreign.parser(name)(source, said.append)
        if other is not None and _is_in(name, other):
            for finding in said:
                report(finding)
            return name, other
    for finding in findings or [_unrecognised(source)]:
        report(finding)
    return None, None


def _recognised(document: json.Json) -> str | None:
    """Return the format that a JSON document is in, by its content: by keys of one vendor, or by one of several."""
    if qtypes.recognises(document):
        return QTYPES
    tables = [keymap.load(name) for name in keymap.names()]
    found = next((table.name for table in tables if keyed.has_any(document, table.recognise)), None)
    # Looked at one after the other only where no key has decided: each is a module to import.
    found = found or next((name for name in foreign.names() if _is_in(name, document)), None)
    return found or next((table.name for table in tables if keyed.has_any(document, table.hints)), None)


def _is_in(name: str, document: json.Json) -> bool:
    found = foreign.reader(name)
    return found is not None and found.recognises(document)


_TENSORFLOW = (
    "quantize_registry_config", "quantize_pipeline_config", "optimize_pipeline_config", "bfloat16_op_supported"
)  # fmt: skip
"""Top-level keys of the strategy files of vai_q_tensorflow2."""


def _of_another_tool(source: Source, document: json.Json) -> Diagnostic | None:
    """Return what to say of a file that is known to be no configuration that qsimc reads."""
    keys = [m for m in document.members if m.key in _TENSORFLOW] if isinstance(document, json.Object) else []
    if not keys:
        return None
    return Diagnostic(
        code="Q0109",
        name="tensorflow-strategy",
        severity=Severity.ERROR,
        message="this is a quantize strategy of vai_q_tensorflow2, which is another tool than vai_q_pytorch",
        labels=(Label(keys[0].key_span),),
        notes=("the two share a name and no keys: strategies speak of Keras layers and graph passes",),
        helps=("write the settings as a vai_q_pytorch configuration, or as .qsim",),
    )


def _unrecognised(source: Source) -> Diagnostic:
    return Diagnostic(
        code="Q0107",
        name="unknown-format",
        severity=Severity.ERROR,
        message="the content is of no configuration format that qsimc knows",
        path=source.path,
        notes=(f"known formats: {', '.join(names())}",),
        helps=("name the format with `--from` to see what is wrong with the file",),
    )
