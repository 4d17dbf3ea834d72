"""A folder that `qsimc quantize` wrote, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsimc.backend import Backend, Model
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic, InputError, Severity, in_order
from qsimc.encodings.native import read_encodings
from qsimc.lock import file_digest
from qsimc.outputs import LOCK, safe_name
from qsimc.pipeline.plan import installed_backend, opened
from qsimc.pipeline.quantize import ENCODINGS, PLAN
from qsimc.planning.dump import read_plan
from qsimc.planning.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A result with the model it was made from.

    `model` is the float model that the encodings are for, after all rewrites; `original` is where the user's own is.
    """

    folder: Path
    model: Model
    original: Path
    backend: Backend
    plan: Plan
    encodings: Mapping[str, Encoding]
    findings: tuple[Diagnostic, ...]


@contextmanager
def saved(folder: Path, model: str | None = None) -> Iterator[Saved]:
    """Read a result and open its model: the one it names, unless another place is given.

    Raises:
        InputError: the folder holds no result, or the model is gone or has changed.
    """
    plan_text, encodings_text, lock = (_document(folder / name) for name in (PLAN, ENCODINGS, LOCK))
    backend = installed_backend("onnx")
    findings: list[Diagnostic] = []
    with opened(model or _model_path(folder, lock), findings.append, backend) as opened_model:
        if opened_model is None:
            raise InputError(in_order(findings))
        if file_digest(opened_model.path) != _named(lock, "model", "sha256", folder):
            findings.append(_changed(opened_model.path, folder))
            raise InputError(in_order(findings))
        float_model = _rewritten(folder, lock, backend) if "rewritten" in lock else opened_model
        try:
            plan = read_plan(plan_text, float_model.graph)
            encodings = read_encodings(encodings_text)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError([no_result(folder, f"{PLAN} or {ENCODINGS} is damaged: {error}")]) from error
        yield Saved(
            folder=folder,
            model=float_model,
            original=Path(opened_model.path),
            backend=backend,
            plan=plan,
            encodings=encodings,
            findings=tuple(in_order(findings)),
        )


def _rewritten(folder: Path, lock: Mapping[str, Any], backend: Backend) -> Model:
    """Open the float model that rewrites made, which lies in the folder."""
    path = folder / safe_name(_named(lock, "rewritten", "path", folder))
    findings: list[Diagnostic] = []
    found = backend.open(str(path), findings.append)
    if found is None:
        raise InputError(in_order(findings))
    if file_digest(path) != _named(lock, "rewritten", "sha256", folder):
        raise InputError([_changed(str(path), folder)])
    return found


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([no_result(path.parent, f"`{path.name}`: {(error.strerror or '').lower()}")]) from error
    except (ValueError, RecursionError) as error:
        raise InputError([no_result(path.parent, f"`{path.name}` is not JSON")]) from error
    if not isinstance(document, dict):
        raise InputError([no_result(path.parent, f"`{path.name}` is not an object")])
    return document


def _named(lock: Mapping[str, Any], section: str, key: str, folder: Path) -> str:
    try:
        return str(lock[section][key])
    except (KeyError, TypeError) as error:
        raise InputError([no_result(folder, f"{LOCK} does not name the {section}")]) from error


def _model_path(folder: Path, lock: Mapping[str, Any]) -> str:
    """Return where the model is: as it was given, or else beside the result, if the two moved together."""
    path, relative = (_named(lock, "model", key, folder) for key in ("path", "relative"))
    beside = folder / relative
    return str(beside) if relative and beside.exists() and not Path(path).exists() else path


def no_result(folder: Path, why: str) -> Diagnostic:
    """Return Q0801: a folder does not hold what is wanted of it."""
    return Diagnostic(
        code="Q0801",
        name="no-result",
        severity=Severity.ERROR,
        message=f"`{folder}` holds no result of `qsimc quantize`: {why}",
        helps=("name the folder given to `--out`",),
        path=str(folder),
    )


def _changed(model: str, folder: Path) -> Diagnostic:
    return Diagnostic(
        code="Q0802",
        name="model-changed",
        severity=Severity.ERROR,
        message=f"the model is not the one that `{folder}` was made from",
        helps=("name that one with `--model`, or quantize again",),
        path=model,
    )
