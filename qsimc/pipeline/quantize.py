"""The main job: plan, instrument, calibrate, export, report, into one folder that is complete or untouched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from qsimc.backend import Batch
from qsimc.calibrate.distributed import ALONE, Ranks, Team, together
from qsimc.calibrate.encoding import Encoding
from qsimc.data import Data, open_data, wrap
from qsimc.diagnostics import Diagnostic, InputError, in_order
from qsimc.encodings.aimet import aimet_document
from qsimc.encodings.native import encodings_document
from qsimc.encodings.vitis import bias_corrections, quant_info
from qsimc.ir.config import Config
from qsimc.lock import file_digest
from qsimc.outputs import LOCK, safe_name, staged
from qsimc.pipeline.calibrate import Calibration, Seen, encode, observe, observe_constants
from qsimc.pipeline.correction import CORRECT_BIASES, correct_biases
from qsimc.pipeline.locking import session_lock, write_lock
from qsimc.pipeline.plan import Choices, Session, choices, session
from qsimc.pipeline.report import run_report
from qsimc.pipeline.shards import observe_shard, require_same, require_shardable
from qsimc.pipeline.statistics import FOLDER, write_statistics
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
    ranks: Ranks = ALONE,
) -> Result:
    """Quantize a model and write everything about it into a folder.

    Args:
        data: where the calibration data is, or the batches themselves: name -> array, samples first.
        rewrites: what the float model goes through first, besides what the configuration asks for.
        standalone: what is written runs without qsimc, if the backend leaves a choice.
        started: called once the data is open; returns what is to be told the samples of each batch.
        ranks: the processes that call this with the same arguments and share the data; the first of them writes.

    Raises:
        InputError: something is wrong with the inputs; `out` is untouched.
        ValueError, LookupError: an argument is no word that it can be.
        KeyboardInterrupt: its argument says how far calibration had come; `out` is untouched.
    """
    chosen = choices(act, param, calib, mode, rewrites)
    inputs = Inputs(config, model, data, format=format, backend=backend, limit=limit, batch_size=batch_size)

    def write(run: Run) -> None:
        _write(run, standalone=standalone)

    return _run(inputs, Path(out), chosen, _all_names, write, force=force, started=started, ranks=ranks)


def calibrate_into(
    inputs: Inputs,
    *,
    out: str | PathLike[str],
    chosen: Choices,
    force: bool = False,
    started: Callable[[Data], Seen | None] | None = None,
    ranks: Ranks = ALONE,
) -> Result:
    """Calibrate only: encodings.json, plan.json and the mergeable statistics, no model.

    Raises:
        As `quantize`.
    """
    return _run(inputs, Path(out), chosen, record_names, write_calibration, force=force, started=started, ranks=ranks)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run is made from."""

    config: Config | str | PathLike[str]
    model: str | PathLike[str]
    data: str | PathLike[str] | Iterable[Batch]
    format: str | None = None
    backend: str = "onnx"
    limit: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A calibrated session, and the private folder that its results are written to, by the process that writes."""

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


def _run(
    inputs: Inputs,
    out: Path,
    chosen: Choices,
    names: Callable[[Session], Iterable[str]],
    write: Callable[[Run], None],
    *,
    force: bool,
    started: Callable[[Data], Seen | None] | None,
    ranks: Ranks,
) -> Result:
    """Read, plan and calibrate; what the first process writes into the stage appears in `out` if all succeed."""
    with (
        together(ranks) as team,
        session(inputs.config, inputs.model, chosen, format=inputs.format, backend=inputs.backend) as made,
    ):
        findings = list(made.findings)
        batches = data_for(inputs, made, findings)
        with staged(out, force=force, expected=names(made)) if team.leads else nullcontext() as stage:
            progress = Progress(batches.samples, started and started(batches))
            calibration = _calibrated(made, chosen, batches, progress, team)
            run = Run(
                out=out,
                stage=stage or out,
                made=corrected(made, calibration),
                calibration=calibration,
                lock=session_lock(made, chosen, out, data=record(batches), samples=progress.samples),
                samples=progress.samples,
                findings=[*findings, *calibration.findings],
            )
            if team.leads:
                write(run)
    return run.result()


def data_for(inputs: Inputs, made: Session, findings: list[Diagnostic]) -> Data:
    """Open the data of a run.

    Raises:
        InputError: all findings, if they cannot serve the model.
    """
    data, limit, size = inputs.data, inputs.limit, inputs.batch_size
    if isinstance(data, (str, PathLike)):
        opened = open_data(str(data), made.model.inputs, findings.append, batch_size=size, limit=limit)
    else:
        opened = wrap(data, made.model.inputs, findings.append, batch_size=size, limit=limit)
    if opened is None:
        raise InputError(in_order(findings))
    return opened


def record(batches: Data) -> dict[str, str]:
    """Return what a lock says of the data."""
    return {"path": batches.path, "sha256": batches.digest()}


def corrected(made: Session, calibration: Calibration) -> Session:
    """Return the session with what calibration changed: quantizers without a range, and biases."""
    if not calibration.biases:
        return replace(made, plan=calibration.plan)
    model = made.backend.with_constants(made.model, calibration.biases)
    return replace(made, plan=calibration.plan, model=model, rewritten=True)


def _calibrated(made: Session, chosen: Choices, batches: Data, progress: Progress, team: Team) -> Calibration:
    backend, model, plan = made.backend, made.model, made.plan
    corrects = CORRECT_BIASES in chosen.rewrites
    if team.shard is not None:
        require_shardable(plan)
        require_same(team, session_lock(made, chosen, Path()))
    try:
        if plan.dialect == DIALECT:
            asked = corrects or is_on(made.config, "include_bias_corr")
            return calibrate_stepwise(backend, model, plan, made.config, batches, progress, corrects=asked)
        constants = observe_constants(model, plan)
        if team.shard is None:
            observed = observe(backend, model, plan, constants, batches, progress)
        else:
            shard = observe_shard(backend, model, plan, constants, batches, team.shard, progress)
            require_same(team, {"data": record(batches)})
            observed = team.merged(shard)
        found = encode(model, plan, constants, observed)
        # Each batch is run with the biases that the batches before it have corrected: every process runs all of them.
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


def record_names(made: Session) -> tuple[str, ...]:
    return *RECORDS, rewritten_name(made)


def _write(run: Run, *, standalone: bool) -> None:
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
    write_records(run)


def _write_vitis(run: Run) -> None:
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


def write_calibration(run: Run) -> None:
    """Write every file of `qsimc calibrate`."""
    write_records(run)
    write_statistics(run.stage / FOLDER, run.calibration.observers)


def write_records(run: Run) -> None:
    """Write what every run writes, and the float model if it was rewritten."""
    lock = dict(run.lock)
    if run.made.rewritten:
        written = run.made.backend.save(run.made.model, run.stage / rewritten_name(run.made))[0]
        lock["rewritten"] = {"path": written.name, "sha256": file_digest(written)}
    write_plan(run.stage, run.made)
    _write_json(run.stage / ENCODINGS, encodings_document(run.calibration.encodings, run.made.plan))
    write_lock(run.stage, lock)


def write_plan(stage: Path, made: Session) -> None:
    """Write a session's plan into a folder."""
    config = {"path": made.config.source.path, "format": made.config.format}
    with (stage / PLAN).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(plan_text(made.plan, config=config, model=made.reference))


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")
