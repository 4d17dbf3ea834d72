"""The main job: plan, instrument, calibrate, export, report, into one folder that is complete or untouched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from qsimc.encodings.vitis import bias_corrections, quant_info
from qsimc.ir.config import Config
from qsimc.lock import file_digest
from qsimc.outputs import LOCK, safe_name, staged
from qsimc.pipeline.calibrate import Calibration, Seen, calibrate
from qsimc.pipeline.correction import CORRECT_BIASES, correct_biases
from qsimc.pipeline.locking import session_lock, write_lock
from qsimc.pipeline.plan import Choices, Session, choices, session
from qsimc.pipeline.report import run_report
from qsimc.pipeline.statistics import write_statistics
from qsimc.pipeline.stepwise import calibrate_stepwise
from qsimc.planning.dump import plan_text
from qsimc.planning.plan import Plan
from qsimc.planning.vitis.device import Device
from qsimc.planning.vitis.network import Network
from qsimc.planning.vitis.resolve import DIALECT
from qsimc.planning.vitis.rewrites import is_on

QUANT_INFO = "quant_info.json"
BIAS_CORRECTIONS = "bias_corr.pth"
"""What vai_q_pytorch calls its results; a result of the dialect `vitis` has them in the place of AIMET's."""

PLAN = "plan.json"
ENCODINGS = "encodings.json"
REPORT = "report.html"
RECORDS = (PLAN, ENCODINGS, LOCK)
"""What every run writes."""


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
    rewrites: tuple[str, ...] = (),
    limit: int | None = None,
    batch_size: int | None = None,
    force: bool = False,
    standalone: bool = False,
    started: Callable[[Data], Seen | None] | None = None,
) -> Result:
    """Quantize a model and write everything about it into a folder.

    Args:
        data: where the calibration data is, or the batches themselves: name -> array, samples first.
        rewrites: what the float model goes through first, besides what the configuration asks for.
        standalone: what is written runs without qsimc, if the backend leaves a choice.
        started: called once the data is open; returns what is to be told the samples of each batch.

    Raises:
        InputError: something is wrong with the inputs; `out` is untouched.
        ValueError, LookupError: an argument is no word that it can be.
        KeyboardInterrupt: its argument says how far calibration had come; `out` is untouched.
    """
    chosen = choices(act, param, calib, mode, rewrites)
    inputs = _Inputs(config, model, data, format=format, backend=backend, limit=limit, batch_size=batch_size)
    with _running(inputs, Path(out), chosen, _all_names, force=force, started=started) as run:
        _write(run, standalone=standalone)
    return run.result()


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
    inputs = _Inputs(config, model, data, format=format, limit=limit, batch_size=batch_size)
    with _running(inputs, Path(out), chosen, _record_names, force=force, started=started) as run:
        _write_records(run)
        write_statistics(run.stage / "stats", run.calibration.observers)
    return run.result()


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a run is made from."""

    config: Config | str | PathLike[str]
    model: str | PathLike[str]
    data: str | PathLike[str] | Iterable[Batch]
    format: str | None = None
    backend: str = "onnx"
    limit: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A calibrated session, and the private folder that its results are written to."""

    out: Path
    stage: Path
    made: Session
    calibration: Calibration
    lock: Mapping[str, Any]
    samples: int
    findings: list[Diagnostic]

    def result(self) -> Result:
        """Return what the caller gets; findings about a captured model name what it was captured from."""
        captured = self.made.model.path
        named = (replace(d, path=self.made.reference) if d.path == captured else d for d in self.findings)
        return Result(
            out=self.out,
            plan=self.made.plan,
            encodings=self.calibration.encodings,
            samples=self.samples,
            findings=tuple(in_order(named)),
        )


@contextmanager
def _running(
    inputs: _Inputs,
    out: Path,
    chosen: Choices,
    names: Callable[[Session], Iterable[str]],
    *,
    force: bool,
    started: Callable[[Data], Seen | None] | None,
) -> Iterator[_Run]:
    """Read, plan and calibrate; what the block writes into the stage appears in `out` when it ends."""
    with session(inputs.config, inputs.model, chosen, format=inputs.format, backend=inputs.backend) as made:
        findings = list(made.findings)
        batches = _data(inputs, made, findings)
        with staged(out, force=force, expected=names(made)) as stage:
            progress = Progress(batches.samples, started and started(batches))
            calibration = _calibrated(made, batches, progress, CORRECT_BIASES in chosen.rewrites)
            findings += calibration.findings
            yield _Run(
                out=out,
                stage=stage,
                made=_corrected(made, calibration),
                calibration=calibration,
                lock=session_lock(
                    made,
                    chosen,
                    out,
                    data={"path": batches.path, "sha256": batches.digest()},
                    samples=progress.samples,
                ),
                samples=progress.samples,
                findings=findings,
            )


def _data(inputs: _Inputs, made: Session, findings: list[Diagnostic]) -> Data:
    data, limit, size = inputs.data, inputs.limit, inputs.batch_size
    if isinstance(data, (str, PathLike)):
        opened = open_data(str(data), made.model.inputs, findings.append, batch_size=size, limit=limit)
    else:
        opened = wrap(data, made.model.inputs, findings.append, batch_size=size, limit=limit)
    if opened is None:
        raise InputError(in_order(findings))
    return opened


def _corrected(made: Session, calibration: Calibration) -> Session:
    """Return the session with what calibration changed: quantizers without a range, and biases."""
    if not calibration.biases:
        return replace(made, plan=calibration.plan)
    model = made.backend.with_constants(made.model, calibration.biases)
    return replace(made, plan=calibration.plan, model=model, rewritten=True)


def _calibrated(made: Session, batches: Data, progress: Progress, corrects: bool) -> Calibration:
    backend, model, plan = made.backend, made.model, made.plan
    try:
        if plan.dialect == DIALECT:
            asked = corrects or is_on(made.config, "include_bias_corr")
            return calibrate_stepwise(backend, model, plan, made.config, batches, progress, corrects=asked)
        found = calibrate(backend, model, plan, batches, progress)
        return correct_biases(backend, model, found, batches) if corrects else found
    except KeyboardInterrupt:
        raise KeyboardInterrupt(str(progress)) from None


def stem(made: Session) -> str:
    """Return the name that the files of a model begin with."""
    return safe_name(Path(made.model.path).stem)


def rewritten_name(made: Session) -> str:
    """Return the name of the file that holds the float model after its rewrites."""
    return f"{stem(made)}.float.onnx"


def _all_names(made: Session) -> tuple[str, ...]:
    vendor = (QUANT_INFO, BIAS_CORRECTIONS) if made.plan.dialect == DIALECT else (f"{stem(made)}.aimet.json",)
    return *RECORDS, *made.backend.exported(stem(made)), rewritten_name(made), *vendor, REPORT


def _record_names(made: Session) -> tuple[str, ...]:
    return *RECORDS, rewritten_name(made)


def _write(run: _Run, *, standalone: bool) -> None:
    """Write every file of `qsimc quantize`."""
    made, encodings = run.made, run.calibration.encodings
    written = made.backend.export(
        made.model, made.plan, encodings, run.stage, run.findings.append, standalone=standalone
    )
    if made.plan.dialect == DIALECT:
        _write_vitis(run)
    else:
        _write_json(run.stage / f"{stem(made)}.aimet.json", aimet_document(made.plan, encodings))
    page = run_report(made, run.calibration, quantized=written[0], samples=run.samples)
    (run.stage / REPORT).write_text(page, encoding="utf-8", newline="\n")
    _write_records(run)


def _write_vitis(run: _Run) -> None:
    """Write the results as vai_q_pytorch files them."""
    plan, found = run.made.plan, run.calibration
    model = plan.graph.source or stem(run.made)
    document = quant_info(
        plan,
        found.encodings,
        found.observers,
        model=model,
        corrected=bool(found.offsets),
        filed=found.filed,
        fix_positions=Device.of(run.made.config, plan.mode).fix_positions,
    )
    _write_json(run.stage / QUANT_INFO, document)
    if found.offsets:
        layers = Network.of(plan.graph).by_output
        offsets = {f"{model}::{layers[output].short_name}": values for output, values in found.offsets.items()}
        (run.stage / BIAS_CORRECTIONS).write_bytes(bias_corrections(offsets))


def _write_records(run: _Run) -> None:
    lock = dict(run.lock)
    if run.made.rewritten:
        written = run.made.backend.save(run.made.model, run.stage / rewritten_name(run.made))[0]
        lock["rewritten"] = {"path": written.name, "sha256": file_digest(written)}
    source = run.made.config.source
    config = {"path": source.path, "format": run.made.config.format}
    with (run.stage / PLAN).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(plan_text(run.made.plan, config=config, model=run.made.reference))
    _write_json(run.stage / ENCODINGS, encodings_document(run.calibration.encodings, run.made.plan))
    write_lock(run.stage, lock)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")
