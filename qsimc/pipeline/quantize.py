"""The main job: plan, instrument, calibrate, export, report, into one folder that is complete or untouched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from qsimc.backend import Batch
from qsimc.calibrate.encoding import Encoding
from qsimc.data import Data, open_data, wrap
from qsimc.diagnostics import Diagnostic, InputError, in_order
from qsimc.encodings.aimet import aimet_document
from qsimc.encodings.native import encodings_document
from qsimc.ir.config import Config
from qsimc.lock import file_digest, lock_document, text_digest
from qsimc.outputs import LOCK, safe_name, staged
from qsimc.pipeline.calibrate import Calibration, Seen, calibrate
from qsimc.pipeline.plan import Choices, Session, choices, session
from qsimc.pipeline.report import run_report
from qsimc.pipeline.statistics import write_statistics
from qsimc.plan.dump import plan_text
from qsimc.plan.plan import Plan

PLAN = "plan.json"
ENCODINGS = "encodings.json"
REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What `quantize` made: the folder, and what is in it as values."""

    out: Path
    plan: Plan
    encodings: Mapping[str, Encoding]
    samples: int
    findings: tuple[Diagnostic, ...]


class Progress:
    """Counts samples; an interrupt can say how far the work had come."""

    def __init__(self, total: int | None, seen: Seen | None) -> None:
        self.total = total
        self.samples = 0
        self._seen = seen

    def __call__(self, samples: int) -> None:
        self.samples += samples
        if self._seen is not None:
            self._seen(samples)

    def __str__(self) -> str:
        return f"after {self.samples} of {self.total} samples" if self.total else f"after {self.samples} samples"


def quantize(
    config: Config | str | PathLike[str],
    *,
    model: str | PathLike[str],
    data: str | PathLike[str] | Iterable[Batch],
    out: str | PathLike[str],
    backend: str = "onnx",
    format: str | None = None,
    act: str = "int8",
    param: str = "int8",
    calib: str = "minmax",
    mode: str = "fixed",
    limit: int | None = None,
    batch_size: int | None = None,
    force: bool = False,
    started: Callable[[Data], Seen | None] | None = None,
) -> Result:
    """Quantize a model and write everything about it into a folder.

    Args:
        data: where the calibration data is, or the batches themselves: name -> array, samples first.
        started: called once the data is open; returns what is to be told the samples of each batch.

    Raises:
        InputError: something is wrong with the inputs; `out` is untouched.
        ValueError, LookupError: an argument is no word that it can be.
        KeyboardInterrupt: its argument says how far calibration had come; `out` is untouched.
    """
    chosen = choices(act, param, calib, mode)
    with session(config, model, chosen, format=format, backend=backend) as made:
        findings = list(made.findings)
        batches = _data(data, made, findings, limit=limit, batch_size=batch_size)
        with staged(Path(out), force=force, expected=_names(made)) as stage:
            progress = Progress(batches.samples, started and started(batches))
            calibration = _calibrated(made, batches, progress)
            made = replace(made, plan=calibration.plan)
            findings += calibration.findings
            lock = _lock(made, batches, Path(out), chosen, progress.samples)
            _write(stage, made, calibration, lock, progress.samples, findings)
        return Result(
            out=Path(out),
            plan=made.plan,
            encodings=calibration.encodings,
            samples=progress.samples,
            findings=tuple(in_order(findings)),
        )


def calibrate_into(
    config: Config | str | PathLike[str],
    *,
    model: str | PathLike[str],
    data: str | PathLike[str] | Iterable[Batch],
    out: str | PathLike[str],
    chosen: Choices,
    format: str | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    force: bool = False,
    started: Callable[[Data], Seen | None] | None = None,
) -> Result:
    """Calibrate only: encodings.json, plan.json and the mergeable statistics, no model.

    Raises:
        As `quantize`.
    """
    with session(config, model, chosen, format=format) as made:
        findings = list(made.findings)
        batches = _data(data, made, findings, limit=limit, batch_size=batch_size)
        with staged(Path(out), force=force, expected=(PLAN, ENCODINGS, LOCK)) as stage:
            progress = Progress(batches.samples, started and started(batches))
            calibration = _calibrated(made, batches, progress)
            made = replace(made, plan=calibration.plan)
            findings += calibration.findings
            _write_records(stage, made, calibration, _lock(made, batches, Path(out), chosen, progress.samples))
            write_statistics(stage / "stats", calibration.observers)
        return Result(
            out=Path(out),
            plan=made.plan,
            encodings=calibration.encodings,
            samples=progress.samples,
            findings=tuple(in_order(findings)),
        )


def _data(
    data: str | PathLike[str] | Iterable[Batch],
    made: Session,
    findings: list[Diagnostic],
    *,
    limit: int | None,
    batch_size: int | None,
) -> Data:
    if isinstance(data, (str, PathLike)):
        opened = open_data(str(data), made.model.inputs, findings.append, batch_size=batch_size, limit=limit)
    else:
        opened = wrap(data, made.model.inputs, findings.append, batch_size=batch_size, limit=limit)
    if opened is None:
        raise InputError(in_order(findings))
    return opened


def _calibrated(made: Session, batches: Data, progress: Progress) -> Calibration:
    try:
        return calibrate(made.backend, made.model, made.plan, batches, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(str(progress)) from None


def stem(made: Session) -> str:
    """Return the name that the files of a model begin with."""
    return safe_name(Path(made.model.path).stem)


def _names(made: Session) -> tuple[str, ...]:
    return PLAN, ENCODINGS, f"{stem(made)}.qdq.onnx", f"{stem(made)}.aimet.json", REPORT, LOCK


def _write(
    stage: Path,
    made: Session,
    calibration: Calibration,
    lock: Mapping[str, Any],
    samples: int,
    findings: list[Diagnostic],
) -> None:
    """Write every file of `qsimc quantize`."""
    written = made.backend.export(made.model, made.plan, calibration.encodings, stage, findings.append)
    _write_json(stage / f"{stem(made)}.aimet.json", aimet_document(made.plan, calibration.encodings))
    page = run_report(made, calibration, quantized=written[0], samples=samples)
    (stage / REPORT).write_text(page, encoding="utf-8", newline="\n")
    _write_records(stage, made, calibration, lock)


def _write_records(stage: Path, made: Session, calibration: Calibration, lock: Mapping[str, Any]) -> None:
    config = {"path": made.config.source.path, "format": made.config.format}
    with (stage / PLAN).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(plan_text(made.plan, config=config, model=made.reference))
    _write_json(stage / ENCODINGS, encodings_document(calibration.encodings, made.plan))
    _write_json(stage / LOCK, lock)


def _lock(made: Session, batches: Data, out: Path, chosen: Choices, samples: int) -> dict[str, Any]:
    """Return the lock of a run.  The model is also named from `out`, for when both move together."""
    source = made.config.source
    return lock_document(
        config={"path": source.path, "sha256": text_digest(source.text)},
        model={
            "path": made.reference,
            "relative": Path(os.path.relpath(made.model.path, out)).as_posix(),
            "sha256": file_digest(made.model.path),
        },
        data={"path": batches.path, "sha256": batches.digest()},
        options={
            "act": chosen.act,
            "param": chosen.param,
            "calib": str(chosen.calib),
            "mode": str(chosen.mode),
            "samples": samples,
        },
    )


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")
