"""Calibration in shards, one command and one machine for each, and what puts them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from os import PathLike
from pathlib import Path
from typing import Any

from qsimc.calibrate.observed import Observed
from qsimc.calibrate.shard import Shard
from qsimc.data import Data
from qsimc.diagnostics import Diagnostic, InputError, Severity, in_order
from qsimc.entry import split_reference
from qsimc.lock import text_digest
from qsimc.outputs import LOCK, staged
from qsimc.pipeline.calibrate import Seen, encode, observe_constants
from qsimc.pipeline.correction import CORRECT_BIASES
from qsimc.pipeline.locking import session_lock, write_lock
from qsimc.pipeline.plan import Choices, Session, choices, session
from qsimc.pipeline.quantize import (
    PLAN,
    Inputs,
    Progress,
    Result,
    Run,
    corrected,
    data_for,
    record,
    record_names,
    write_calibration,
    write_plan,
)
from qsimc.pipeline.shards import differences, not_shardable, observe_shard, require_shardable, shards_differ
from qsimc.pipeline.statistics import FOLDER, DamagedError, read_statistics, write_statistics


def calibrate_shard(
    inputs: Inputs,
    shard: Shard,
    *,
    out: str | PathLike[str],
    chosen: Choices,
    force: bool = False,
    started: Callable[[Data], Seen | None] | None = None,
) -> Result:
    """Observe a shard of the data and write its statistics; there are no encodings before shards are merged.

    Raises:
        InputError: something is wrong with the inputs; `out` is untouched.
        KeyboardInterrupt: its argument says how far calibration had come; `out` is untouched.
    """
    out = Path(out)
    with session(inputs.config, inputs.model, chosen, format=inputs.format, backend=inputs.backend) as made:
        require_shardable(made.plan)
        if CORRECT_BIASES in chosen.rewrites:
            raise InputError([_biases_need_everything()])
        findings = list(made.findings)
        batches = data_for(inputs, made, findings)
        with staged(out, force=force, expected=(PLAN, LOCK)) as stage:
            progress = Progress(batches.samples, started and started(batches))
            constants = observe_constants(made.model, made.plan)
            try:
                found = observe_shard(made.backend, made.model, made.plan, constants, batches, shard, progress)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(str(progress)) from None
            write_plan(stage, made)
            write_statistics(stage / FOLDER, found.observers)
            lock = session_lock(made, chosen, out, data=record(batches), samples=progress.samples)
            plan = text_digest((stage / PLAN).read_text(encoding="utf-8"))
            section = {"number": shard.number, "of": shard.of, "format": made.config.format, "plan": plan}
            write_lock(stage, {**lock, "shard": {**section, "batch_size": inputs.batch_size}})
            return Result(
                out=out, plan=made.plan, encodings={}, samples=progress.samples, findings=tuple(in_order(findings))
            )


def merge(
    folders: Sequence[str | PathLike[str]],
    *,
    out: str | PathLike[str],
    config: str | None = None,
    model: str | None = None,
    force: bool = False,
) -> Result:
    """Merge the statistics of all shards of a calibration and write what one process would have written.

    Args:
        config, model: where these are now, if they have moved.

    Raises:
        InputError: a folder is no shard (Q0619), they are not shards of the same (Q0620), some are missing or
            given twice (Q0621), the model is code that nobody asked to run (Q0622), or the configuration or the
            model cannot be read.
    """
    shards = sorted((_read(Path(folder)) for folder in folders), key=lambda found: found.shard.number)
    _require_same_run(shards)
    _require_each_once(shards)
    lock = shards[0].lock
    options = lock["options"]
    words = {name: options[name] for name in ("act", "param", "calib", "mode")}
    chosen = choices(**words, rewrites=tuple(options["rewrites"]))
    path = config or lock["config"]["path"]
    with session(path, model or _file(lock["model"]["path"]), chosen, format=lock["shard"]["format"]) as made:
        now = session_lock(made, chosen, Path(out), data=lock["data"], samples=options["samples"])
        _require_inputs_of(shards[0], now, made)
        observed = reduce(Observed.merge, (_observed(found, made) for found in shards))
        calibration = encode(made.model, made.plan, observe_constants(made.model, made.plan), observed)
        with staged(Path(out), force=force, expected=record_names(made)) as stage:
            run = Run(
                out=Path(out),
                stage=stage,
                made=corrected(made, calibration),
                calibration=calibration,
                lock=now,
                samples=options["samples"],
                findings=[*made.findings, *calibration.findings],
            )
            write_calibration(run)
        return run.result()


@dataclass(frozen=True, slots=True)
class _Found:
    """A folder that `calibrate_shard` wrote."""

    folder: Path
    shard: Shard
    lock: Mapping[str, Any]


def _read(folder: Path) -> _Found:
    """Return what a folder says that it is.

    Raises:
        InputError: Q0619.
    """
    try:
        lock = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([_no_shard(folder, f"`{LOCK}`: {(error.strerror or str(error)).lower()}")]) from error
    except (ValueError, RecursionError) as error:
        raise InputError([_no_shard(folder, f"`{LOCK}` is not JSON")]) from error
    try:
        return _Found(folder, Shard(int(lock["shard"]["number"]), int(lock["shard"]["of"])), _complete(lock))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError([_no_shard(folder, f"`{LOCK}` does not say which shard it is")]) from error


def _complete(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a lock that says all that a shard's does.

    Raises:
        KeyError, TypeError: it does not.
    """
    for section, keys in _SAID.items():
        for key in keys:
            lock[section][key]
    return lock


_SAID = {
    "config": ("path", "sha256"),
    "model": ("path", "sha256"),
    "data": ("path", "sha256"),
    "options": ("act", "param", "calib", "mode", "rewrites", "samples"),
    "shard": ("format", "plan"),
}


def _observed(found: _Found, made: Session) -> Observed:
    """Return the statistics of a shard.

    Raises:
        InputError: Q0619, they are damaged or those of other quantizers.
    """
    try:
        observers = read_statistics(found.folder / FOLDER)
    except DamagedError as error:
        raise InputError([_no_shard(found.folder, str(error))]) from error
    strange = [owner for owner in observers if owner not in made.plan.tensors]
    if strange:
        raise InputError([_no_shard(found.folder, f"its statistics are of `{strange[0]}`, which the plan has not")])
    return Observed(observers=observers)


def _file(reference: str) -> str:
    """Return where a lock says that the model is, if that is a file: what a file names is not code to run.

    Raises:
        InputError: Q0622.
    """
    if split_reference(reference) is None or Path(reference).exists():
        return reference
    raise InputError(
        [
            Diagnostic(
                code="Q0622",
                name="code-not-run",
                severity=Severity.ERROR,
                message=f"the shards were made from `{reference}`, which is Python code",
                notes=("code that a file names is not run unasked",),
                helps=(f"say `--model {reference}`",),
            )
        ]
    )


def _require_same_run(shards: Sequence[_Found]) -> None:
    first, *others = shards
    findings = []
    for other in others:
        differing = list(differences(first.lock, other.lock))
        if first.shard.of != other.shard.of:
            differing.append("the number of shards")
        if differing:
            message = f"`{other.folder}` is a shard of another calibration than `{first.folder}`"
            findings.append(shards_differ(message, differing, str(other.folder)))
    if findings:
        raise InputError(findings)


def _require_each_once(shards: Sequence[_Found]) -> None:
    folders: dict[int, list[str]] = {}
    for found in shards:
        folders.setdefault(found.shard.number, []).append(f"`{found.folder}`")
    of = shards[0].shard.of
    findings = [
        _not_once(f"shard {number} of {of} is there {len(names)} times: {', '.join(names)}", "give each shard once")
        for number, names in folders.items()
        if len(names) > 1
    ]
    missing = [str(number) for number in range(1, of + 1) if number not in folders]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        message = f"shard{plural} {', '.join(missing)} of {of} {'are' if plural else 'is'} missing"
        findings.append(_not_once(message, f"make them with `qsimc calibrate --shard {missing[0]}/{of}`"))
    if findings:
        raise InputError(findings)


def _require_inputs_of(found: _Found, now: Mapping[str, Any], made: Session) -> None:
    """Refuse a configuration or a model that is no longer what the shards were made from."""
    differing = [what for what in differences(found.lock, now) if what not in ("the plan", "the size of batches")]
    if differing:
        message = f"`{found.folder}` was made from other inputs than those that are there now"
        raise InputError([shards_differ(message, differing, made.reference)])


def _biases_need_everything() -> Diagnostic:
    why = "each batch is run with the biases that all batches before it have corrected"
    return not_shardable(f"`--rewrite {CORRECT_BIASES}` cannot be done in shards: {why}")


def _no_shard(folder: Path, why: str) -> Diagnostic:
    return Diagnostic(
        code="Q0619",
        name="no-shard",
        severity=Severity.ERROR,
        message=f"`{folder}` holds no shard of a calibration: {why}",
        helps=("name a folder that `qsimc calibrate --shard i/n --out` wrote",),
        path=str(folder),
    )


def _not_once(message: str, help_: str) -> Diagnostic:
    return Diagnostic(
        code="Q0621",
        name="shards-incomplete",
        severity=Severity.ERROR,
        message=message,
        notes=("a result needs every shard once, or some data would count not at all or twice",),
        helps=(help_,),
    )
