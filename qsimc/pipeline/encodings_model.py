"""What a model has to do with encodings files: what it says about one, and the encodings that a QDQ model holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from qsimc import formats
from qsimc.diagnostics import Diagnostic, InputError, Report, Severity, in_order
from qsimc.encodings.aimet import entry_of
from qsimc.encodings.bound import Binding
from qsimc.encodings.entry import EncodingsFile, Layout
from qsimc.pipeline.encodings_text import Opened, is_model, open_text, read_content
from qsimc.pipeline.plan import Choices, installed_backend, opened, resolve_on
from qsimc.source import Source

_EVERY_PARAM = Source(
    "<built in>",
    "dialect aimet\n*: full_range\n*[output]: on\n*[param]: on symmetric per_channel\nmodel[input]: on\n",
)
"""A configuration under which the plan of a model names every param with its channel axis."""


@contextmanager
def bound(reference: str | None, report: Report) -> Iterator[Binding | None]:
    """Open a model and say what it says about encodings; None without a model.

    Raises:
        InputError: the model cannot be opened.
    """
    if reference is None:
        yield None
        return
    findings: list[Diagnostic] = []
    backend = installed_backend("onnx")
    with opened(reference, findings.append, backend) as model:
        stop_on_errors(findings)
        assert model is not None
        for finding in findings:
            report(finding)
        config = formats.read(_EVERY_PARAM, _silent, "qsim")
        assert config is not None, "the built-in configuration cannot be read"
        resolved = resolve_on(backend, model, config, Choices(), _silent)
        assert resolved is not None, "the built-in configuration cannot be resolved"
        yield Binding(model.graph.tensors, resolved.plan)


def open_encodings(path: str, report: Report) -> Opened | None:
    """Return an encodings file or the encodings of a QDQ model; None after reporting what is wrong."""
    if is_model(path):
        return _open_qdq(path, report)
    content = read_content(path, report)
    return None if content is None else open_text(path, content, report)


def _open_qdq(path: str, report: Report) -> Opened | None:
    found = installed_backend("onnx").read_encodings(path, report)
    if found is None:
        return None
    if not found:
        report(_no_quantizers(path))
        return None
    entries = tuple(
        replace(entry_of(tensor, kind, encoding), signed=encoding.signed) for tensor, (kind, encoding) in found.items()
    )
    return Opened(path, EncodingsFile(layout=Layout.QSIMC, version="", entries=entries), None)


def stop_on_errors(findings: list[Diagnostic]) -> None:
    """Raise InputError with all findings if one of them is an error."""
    if any(d.severity is Severity.ERROR for d in findings):
        raise InputError(in_order(findings))


def _silent(_: Diagnostic) -> None:
    """Drop a finding about a configuration that the user did not write."""


def _no_quantizers(path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0803",
        name="not-encodings",
        severity=Severity.ERROR,
        message=f"`{path}` holds no encodings: it has no DequantizeLinear",
        helps=("name the QDQ model, not the float one",),
        path=path,
    )
