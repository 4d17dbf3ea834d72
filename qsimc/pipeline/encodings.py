"""Encodings files: read, lint, convert, compare, merge, split, rename."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsimc.diagnostics import Diagnostic, InputError, Severity, in_order
from qsimc.encodings import edit
from qsimc.encodings.bound import Binding, lint_bound
from qsimc.encodings.convert import INFERRED
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.entry import EncodingsFile, Layout
from qsimc.encodings.lint import lint as lint_file
from qsimc.encodings.write import text as written
from qsimc.outputs import safe_name, staged
from qsimc.pipeline.encodings_lint import lint as lint
from qsimc.pipeline.encodings_model import bound, open_encodings, stop_on_errors
from qsimc.pipeline.encodings_text import Opened
from qsimc.pipeline.plan import opened

TARGETS: Mapping[str, Layout] = {
    **{f"aimet-{layout}": layout for layout in (Layout.V0_6_1, Layout.V1_0_0, Layout.V2_0_0, Layout.V2_1_0)},
    "qnn-overrides": Layout.QNN,
    "tensorrt-cache": Layout.TENSORRT,
    "qsimc": Layout.QSIMC,
}
"""What `qsimc encodings convert --to` takes."""


@dataclass(frozen=True, slots=True)
class Product:
    """A new encodings file as text, and what was found on the way (no errors)."""

    text: str
    findings: tuple[Diagnostic, ...]

    @property
    def lossy(self) -> bool:
        """Whether something was lost; what had to be inferred is no loss."""
        return any(d.code.startswith("Q07") and d.code not in INFERRED for d in self.findings)


def convert(path: str, to: str, *, model: str | None = None) -> Product:
    """Return an encodings file, or the encodings of a QDQ model, in another form.

    Raises:
        InputError: a file is wrong, or the form needs what nobody says.
        LookupError: no such form; the message names those there are.
    """
    target = _target(to)
    findings: list[Diagnostic] = []
    with bound(model, findings.append) as binding:
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
    with bound(model, findings.append) as binding:
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
            stop_on_errors(findings)
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
    read = open_encodings(path, findings.append)
    if read is not None and read.document is not None:
        findings += lint_file(read.document, read.file)
    stop_on_errors(findings)
    assert read is not None
    return read


def _product(read: Opened, target: Layout, findings: list[Diagnostic], binding: Binding | None) -> Product:
    return _text(convert_file(read.file, target, findings.append, path=read.path, binding=binding), findings)


def _text(file: EncodingsFile, findings: list[Diagnostic]) -> Product:
    stop_on_errors(findings)
    return Product(_dump(file), tuple(in_order(findings)))


def _dump(file: EncodingsFile) -> str:
    return written(file)


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
