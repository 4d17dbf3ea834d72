"""A model that was trained with its quantizers: the folder that `qsimc quantize` would write of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qsimc.backend import Model, load_backend
from qsimc.calibrate.encoding import Encoding
from qsimc.data import Data, wrap
from qsimc.diagnostics import Diagnostic, InputError, in_order
from qsimc.encodings.aimet import aimet_document
from qsimc.encodings.native import encodings_document
from qsimc.lock import file_digest, lock_document, text_digest
from qsimc.outputs import safe_name, staged
from qsimc.pipeline.locking import write_lock
from qsimc.pipeline.quantize import ENCODINGS, PLAN
from qsimc.planning.dump import plan_text
from qsimc.planning.plan import Plan
from qsimc.planning.vitis.resolve import DIALECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What was written of a trained model.

    Attributes:
        out: the folder.
        model: the deployable model in it.
        original: the float model in it, with the trained weights.
        findings: what could not be written as the plan has it.
    """

    out: Path
    model: Path
    original: Path
    encodings: Mapping[str, Encoding]
    findings: tuple[Diagnostic, ...]


def calibration_data(model: Model, batches: Iterable[Any]) -> Data:
    """Return batches that somebody made in Python as data for a model.

    Raises:
        InputError: they cannot serve.
        TypeError: `batches` is a single batch, or nothing that can be iterated.
    """
    findings: list[Diagnostic] = []
    data = wrap(batches, model.inputs, findings.append)
    if data is None:
        raise InputError(in_order(findings))
    return data


def write_trained(
    model: Model, plan: Plan, encodings: Mapping[str, Encoding], out: Path, *, force: bool = False
) -> Trained:
    """Write a float model and its encodings into a folder: QDQ model, encodings files, plan, lock.

    The float model in the folder is what the lock names: there is no other with these weights.

    Raises:
        InputError: the folder cannot be written to; it is untouched.
    """
    backend, stem = load_backend("onnx"), safe_name(Path(model.path).stem)
    findings: list[Diagnostic] = []
    with staged(out, force=force) as stage:
        deployed = backend.export(model, plan, encodings, stage, findings.append)[0]
        original = backend.save(model, stage / f"{stem}.float.onnx")[0]
        _write_json(stage / ENCODINGS, encodings_document(encodings, plan))
        if plan.dialect != DIALECT:  # vai_q_pytorch files what only its own calibration knows
            _write_json(stage / f"{stem}.aimet.json", aimet_document(plan, encodings))
        with (stage / PLAN).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(plan_text(plan, config={"path": "", "format": plan.dialect}, model=original.name))
        write_lock(stage, _lock(original, out))
        names = deployed.name, original.name
    return Trained(
        out=out,
        model=out / names[0],
        original=out / names[1],
        encodings=encodings,
        findings=tuple(in_order(replace(d, path=str(out / names[1])) for d in findings)),
    )


def _lock(original: Path, out: Path) -> dict[str, Any]:
    return lock_document(
        config={"path": "", "sha256": text_digest("")},
        model={"path": str(out / original.name), "relative": original.name, "sha256": file_digest(original)},
        data={},
        options={},
    )


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")
