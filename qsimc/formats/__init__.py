"""Configuration formats: which there are, which one a text is in, and how it is read."""

from __future__ import annotations

import re
from dataclasses import replace

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.formats import foreign, keyed, qtypes
from qsimc.ir.config import Config
from qsimc.source import Source
from qsimc.spec import keymap
from qsimc.syntax import json

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


def read(source: Source, report: Report, format: str | None = None) -> Config | None:
    """Return what a configuration file means, or None after reporting why it cannot be read.

    Args:
        format: one of `names()`; None looks at the content.

    Raises:
        LookupError: no such format; the message names those there are.
    """
    config = written(source, report, format)
    return config and meaning(config)


def meaning(config: Config) -> Config:
    """Return a configuration with rules that mean by themselves what its dialect takes them to mean."""
    if config.dialect != "vitis":
        return config
    # Imported here: only this vendor's files need it.
    from qsimc.formats import vitis

    return vitis.meaning(config)


def written(source: Source, report: Report, format: str | None = None) -> Config | None:
    """Return what a configuration file says, word for word: what a translation begins with.

    Args and errors are those of `read`.
    """
    if format is not None and format not in names():
        raise LookupError(f"no format `{format}`; there are {', '.join(names())}")
    if format in READINGS:
        is_qsim = not source.text.lstrip().startswith("{")
        config = written(source, report, QSIM if is_qsim else READINGS[format])
        return config and replace(config, dialect=format, format=format)
    if format == QSIM or (format is None and not _looks_like_json(source.text)):
        # Imported here: lark costs more than everything else that a JSON config needs.
        from qsimc.formats.qsim import read as read_qsim

        return read_qsim(source, report)
    document = json.parse(source, report)
    if document is None:
        return None
    found = format or _recognised(document)
    if found is None:
        report(_of_another_tool(source, document) or _unrecognised(source))
        return None
    if found == QTYPES:
        return qtypes.read(source, document, report)
    if (other := foreign.reader(found)) is not None:
        return other.read(source, document, report)
    if found == "vitis":
        # Imported here, as above: only this vendor's files need it.
        from qsimc.formats import vitis

        return vitis.read(keymap.load(found), source, document, report)
    return keyed.read(keymap.load(found), source, document, report)


def _looks_like_json(text: str) -> bool:
    """Say whether a text begins as JSON does; one that begins with a name in quotes is .qsim, unless that is all."""
    return text.lstrip().startswith(("{", "[")) or re.fullmatch(r'\s*"[^"\n]*"\s*', text) is not None


def _recognised(document: json.Json) -> str | None:
    """Return the format that a JSON document is in, by its content."""
    if qtypes.recognises(document):
        return QTYPES
    keyed_format = next((name for name in keymap.names() if keyed.recognises(keymap.load(name), document)), None)
    return keyed_format or next((name for name in foreign.names() if _is_in(name, document)), None)


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
