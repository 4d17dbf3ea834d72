"""Encodings files: read, lint, convert, compare, merge, split, rename."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from qsimc import formats
from qsimc.diagnostics import Diagnostic, InputError, Report, Severity, in_order
from qsimc.encodings import edit, tensorrt
from qsimc.encodings.aimet import entry_of
from qsimc.encodings.bound import Binding, lint_bound
from qsimc.encodings.convert import INFERRED
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.document import Document, read_document
from qsimc.encodings.entry import EncodingsFile, Layout
from qsimc.encodings.lint import lint as lint_file
from qsimc.encodings.read import read_file
from qsimc.encodings.write import text as written
from qsimc.outputs import safe_name, staged
from qsimc.pipeline.plan import Choices, installed_backend, opened, resolve_on
from qsimc.source import Source

TARGETS: Mapping[str, Layout] = {
    **{f"aimet-{layout}": layout for layout in (Layout.V0_6_1, Layout.V1_0_0, Layout.V2_0_0, Layout.V2_1_0)},
    "qnn-overrides": Layout.QNN,
    "tensorrt-cache": Layout.TENSORRT,
    "qsimc": Layout.QSIMC,
}
"""What `qsimc encodings convert --to` takes."""

MAX_BYTES = 2**30
"""Largest file that is read; the encodings of the largest models take some hundred megabytes."""

_EVERY_PARAM = Source(
    "<built in>",
    "dialect aimet\n*: full_range\n*[output]: on\n*[param]: on symmetric per_channel\nmodel[input]: on\n",
)
"""A configuration under which the plan of a model names every param with its channel axis."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An encodings file: where it is, what it says, and its text for findings (none of a QDQ model)."""

    path: str
    file: EncodingsFile
    document: Document | None


@dataclass(frozen=True, slots=True)
class Product:
    """A new encodings file as text, and what was found on the way (no errors)."""

    text: str
    findings: tuple[Diagnostic, ...]

    @property
    def lossy(self) -> bool:
        """Whether something was lost; what had to be inferred is no loss."""
        return any(d.code.startswith("Q07") and d.code not in INFERRED for d in self.findings)


def lint(path: str, *, model: str | None = None) -> list[Diagnostic]:
    """Return everything wrong with an encodings file, by itself and, if one is named, on a model."""
    findings: list[Diagnostic] = []
    with _bound(model, findings.append) as binding:
        read = _open(path, findings.append)
        if read is not None and read.document is not None:
            findings += lint_file(read.document, read.file)
            if binding is not None:
                findings += lint_bound(read.document, read.file, binding)
    return in_order(findings)


def convert(path: str, to: str, *, model: str | None = None) -> Product:
    """Return an encodings file, or the encodings of a QDQ model, in another form.

    Raises:
        InputError: a file is wrong, or the form needs what nobody says.
        LookupError: no such form; the message names those there are.
    """
    target = _target(to)
    findings: list[Diagnostic] = []
    with _bound(model, findings.append) as binding:
        read = _sound(path, findings)
        if target is Layout.QNN and binding is not None and read.document is not None:
            # QNN drops what is in the wrong section, and says nothing.
            findings += (d for d in lint_bound(read.document, read.file, binding) if d.code == "Q0813")
        return _product(read, target, findings, binding)


def merge(paths: Sequence[str], *, to: str | None = None, model: str | None = None) -> Product:
    """Return the union of encodings files, in the form of the first one unless another is named.

    Raises:
        As `convert`; and InputError where two files say different things of one tensor (Q0819).
    """
    findings: list[Diagnostic] = []
    with _bound(model, findings.append) as binding:
        read = [_sound(path, findings) for path in paths]
        target = read[0].file.layout if to is None else _target(to)
        if target is Layout.TORCH and any(r.file.layout is not target for r in read):
            raise InputError([*findings, _by_module(read[0].path)])
        converted = [
            (r.path, convert_file(r.file, target, findings.append, path=r.path, binding=binding)) for r in read
        ]
        merged = edit.merge(converted, findings.append)
        return _text(merged, findings)


def split(path: str, *, models: Sequence[str], out: Path, force: bool = False) -> tuple[list[Path], list[Diagnostic]]:
    """Write the part of an encodings file that each model has tensors for, `<model>.encodings`, into a folder.

    Raises:
        InputError: a file or a model is wrong.
    """
    findings: list[Diagnostic] = []
    read = _sound(path, findings)
    names: dict[str, frozenset[str]] = {}
    for reference in models:
        with opened(reference, findings.append) as model:
            _stop_on_errors(findings)
            assert model is not None
            name = safe_name(f"{Path(model.path).stem}.encodings")
            names[name] = names.get(name, frozenset()) | frozenset(model.graph.tensors)
    parts, left = edit.split(read.file, names)
    if left:
        findings.append(_left_over(path, left))
    with staged(out, force=force, expected=tuple(parts)) as stage:
        for name, part in parts.items():
            (stage / name).write_text(_dump(part), encoding="utf-8", newline="\n")
    return [out / name for name in parts], in_order(findings)


def rename(path: str, names: Mapping[str, str]) -> Product:
    """Return an encodings file with tensors renamed.

    Raises:
        InputError: the file is wrong, or has no such tensors.
    """
    findings: list[Diagnostic] = []
    read = _sound(path, findings)
    return _text(edit.rename(read.file, names, findings.append, path=path), findings)


def diff(first: str, second: str, *, tolerance: float = 0.0) -> tuple[tuple[edit.Difference, ...], list[Diagnostic]]:
    """Return the differences between two encodings files, of any versions, or QDQ models.

    Raises:
        InputError: a file is wrong.
    """
    findings: list[Diagnostic] = []
    a, b = (_sound(path, findings) for path in (first, second))
    return edit.diff(a.file, b.file, tolerance=tolerance), in_order(findings)


def _target(to: str) -> Layout:
    if to not in TARGETS:
        raise LookupError(f"no form `{to}`; forms: {', '.join(TARGETS)}")
    return TARGETS[to]


def _sound(path: str, findings: list[Diagnostic]) -> Opened:
    """Open a file, and stop where it is wrong."""
    read = _open(path, findings.append)
    if read is not None and read.document is not None:
        findings += lint_file(read.document, read.file)
    _stop_on_errors(findings)
    assert read is not None
    return read


def _open(path: str, report: Report) -> Opened | None:
    if path.endswith(".onnx"):
        return _open_qdq(path, report)
    source = _read(path, report)
    document = None if source is None else _document(source, report)
    file = None if document is None else read_file(document, report)
    return None if file is None else Opened(path, file, document)


def _document(source: Source, report: Report) -> Document | None:
    return tensorrt.read_document(source) if tensorrt.is_cache(source.text) else read_document(source, report)


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


def _read(path: str, report: Report) -> Source | None:
    """Return the text of a file or of stdin (`-`); None after reporting why there is none."""
    name = "<stdin>" if path == "-" else path
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES // 2**30} GiB")
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        report(_unreadable(name, "it is not UTF-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        report(_unreadable(name, reason.lower()))
    return None


@contextmanager
def _bound(reference: str | None, report: Report) -> Iterator[Binding | None]:
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
        _stop_on_errors(findings)
        assert model is not None
        for finding in findings:
            report(finding)
        config = formats.read(_EVERY_PARAM, _silent, "qsim")
        assert config is not None, "the built-in configuration cannot be read"
        bound = resolve_on(backend, model, config, Choices(), _silent)
        assert bound is not None, "the built-in configuration cannot be resolved"
        yield Binding(model.graph.tensors, bound.plan)


def _silent(_: Diagnostic) -> None:
    """Drop a finding about a configuration that the user did not write."""


def _product(read: Opened, target: Layout, findings: list[Diagnostic], binding: Binding | None) -> Product:
    return _text(convert_file(read.file, target, findings.append, path=read.path, binding=binding), findings)


def _text(file: EncodingsFile, findings: list[Diagnostic]) -> Product:
    _stop_on_errors(findings)
    return Product(_dump(file), tuple(in_order(findings)))


def _dump(file: EncodingsFile) -> str:
    return written(file)


def _stop_on_errors(findings: list[Diagnostic]) -> None:
    if any(d.severity is Severity.ERROR for d in findings):
        raise InputError(in_order(findings))


def _unreadable(path: str, reason: str) -> Diagnostic:
    return Diagnostic(
        code="Q0101",
        name="unreadable",
        severity=Severity.ERROR,
        message=f"cannot read the encodings: {reason}",
        path=path,
    )


def _no_quantizers(path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0803",
        name="not-encodings",
        severity=Severity.ERROR,
        message=f"`{path}` holds no encodings: it has no DequantizeLinear",
        helps=("name the QDQ model, not the float one",),
        path=path,
    )


def _left_over(path: str, left: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        code="Q0821",
        name="left-over",
        severity=Severity.WARNING,
        message=f"{len(left)} of the encodings (first `{left[0]}`) are in none of the models; they are in no part",
        path=path,
    )


def _by_module(path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0822",
        name="filed-by-module",
        severity=Severity.ERROR,
        message=f"`{path}` is filed by module and port; files that are filed by tensor cannot be merged into it",
        helps=("merge the file that was exported beside it",),
        path=path,
    )
