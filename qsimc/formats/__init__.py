"""Configuration formats: which there are, which one a text is in, and how it is read."""

from __future__ import annotations

from dataclasses import replace

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.formats import keyed, qtypes
from qsimc.ir.config import Config
from qsimc.source import Source
from qsimc.spec import keymap
from qsimc.syntax import json

READINGS = {"aimet-torch": "aimet"}
"""Formats that are another one read otherwise: AIMET's torch half means something else by the same file."""

QTYPES = "aimet-qtypes"


def names() -> tuple[str, ...]:
    """Return the names of all formats that can be read, as `--from` takes them."""
    return (*sorted({*keymap.names(), *READINGS, QTYPES}), "qsim")


def read(source: Source, report: Report, format: str | None = None) -> Config | None:
    """Return what a configuration file says, or None after reporting why it cannot be read.

    Args:
        format: one of `names()`; None looks at the content.

    Raises:
        LookupError: no such format; the message names those there are.
    """
    if format is not None and format not in names():
        raise LookupError(f"no format `{format}`; there are {', '.join(names())}")
    if format in READINGS:
        is_qsim = not source.text.lstrip().startswith("{")
        config = read(source, report, "qsim" if is_qsim else READINGS[format])
        return config and replace(config, dialect=format, format=format)
    if format == "qsim" or (format is None and not source.text.lstrip().startswith(("{", "[", '"'))):
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
    if found == "vitis":
        # Imported here, as above: only this vendor's files need it.
        from qsimc.formats import vitis

        return vitis.read(keymap.load(found), source, document, report)
    return keyed.read(keymap.load(found), source, document, report)


def _recognised(document: json.Json) -> str | None:
    """Return the format that a JSON document is in, by its content."""
    if qtypes.recognises(document):
        return QTYPES
    return next((name for name in keymap.names() if keyed.recognises(keymap.load(name), document)), None)


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
