"""Calibration of a share of the batches, whose result is exact when it is merged with the others'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from qsimc.backend import Backend, Batch, Model
from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.aimet_record import AimetRecord
from qsimc.calibrate.distributed import Team
from qsimc.calibrate.observed import Observed
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.shard import Shard
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.pipeline.calibrate import Constants, Seen, is_constant, observe, unobserved
from qsimc.planning.plan import Plan
from qsimc.planning.vitis.resolve import DIALECT


def require_shardable(plan: Plan) -> None:
    """Refuse a calibration whose every batch depends on all before it.

    Raises:
        InputError: Q0618.
    """
    if plan.dialect == DIALECT:
        why = "vai_q_pytorch sends each batch through quantizers that the batches before it have calibrated"
        raise InputError([not_shardable(f"the dialect `{DIALECT}` cannot be calibrated in shards: {why}")])


def observe_shard(
    backend: Backend,
    model: Model,
    plan: Plan,
    constants: Constants,
    batches: Iterable[Batch],
    shard: Shard,
    seen: Seen,
) -> Observed:
    """Return what a pass over a shard leaves; merged with that of all other shards it is that of one pass.

    Each batch runs as it does in an unsharded pass, and constants count in the first shard only.  AIMET's
    histograms are laid out by the first batch, so that all shards that have some run that one too.

    Args:
        batches: all of the data; `seen` gets the samples of every batch, whichever shard has it.

    Raises:
        InputError: as `observe`; Q0618, AIMET's histogram of a tensor is not laid out by the first batch.
    """
    live: dict[str, Observer] = {o: x if shard.number == 1 else unobserved(plan, o) for o, x in constants.live.items()}
    ordered = {o: x for o, x in constants.live.items() if isinstance(x, AimetHistogram)}
    stream = iter(batches)
    if ordered:
        first = next(stream)
        stream = chain([first], stream)
        laid_out = observe(backend, model, plan, constants, [first], lambda _: None, ordered).observers
        live = {o: x for o, x in live.items() if o not in ordered or o in laid_out}
        live |= _records(constants, laid_out, shard)
    found = observe(backend, model, plan, constants, _own(stream, shard, seen), seen, live)
    late = [owner for owner, x in found.observers.items() if isinstance(x, AimetRecord) and x.late]
    if late:
        raise InputError([_laid_out_late(owner, model) for owner in late])
    return found


def _records(constants: Constants, laid_out: Mapping[str, Observer], shard: Shard) -> dict[str, Observer]:
    made: dict[str, Observer] = {}
    for owner, histogram in laid_out.items():
        assert isinstance(histogram, AimetHistogram), "it was one before the first batch"
        tensors = sum(not is_constant(t) for t in constants.groups[owner])
        made[owner] = AimetRecord.after(histogram, shard, tensors)
    return made


def _own(batches: Iterable[Batch], shard: Shard, seen: Seen) -> Iterator[Batch]:
    """Give the batches of a shard, in their order."""
    for position, batch in enumerate(batches):
        if shard.takes(position):
            yield batch
        else:
            first = next(iter(batch.values()))
            seen(len(first) if np.ndim(first) else 1)


def require_same(team: Team, lock: Mapping[str, Any]) -> None:
    """Refuse processes that do not calibrate the same, judged by what their locks say.

    Raises:
        InputError: Q0620.
    """
    first, *others = team.share(lock)
    for rank, other in enumerate(others, 1):
        differing = differences(first, other)
        if differing:
            raise InputError([shards_differ(f"rank {rank} calibrates something else than rank 0", differing)])


def differences(lock: Mapping[str, Any], other: Mapping[str, Any]) -> Sequence[str]:
    """Return what two runs must have in common for their statistics to merge, and have not, in words."""
    return [what for what, said in _COMPARED.items() if any(_at(lock, path) != _at(other, path) for path in said)]


_COMPARED: Mapping[str, Sequence[tuple[str, ...]]] = {
    "the version of qsimc": [("qsimc",)],
    "the configuration": [("config", "sha256")],
    "the model": [("model", "sha256")],
    "the data": [("data", "sha256")],
    "the options": [("options",)],
    "the plan": [("shard", "plan")],
    "the size of batches": [("shard", "batch_size")],
}


def _at(document: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path in nested mappings, None if there is nothing."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def shards_differ(message: str, differing: Sequence[str], path: str = "") -> Diagnostic:
    """Return Q0620: statistics that would be merged are not of the same run."""
    return Diagnostic(
        code="Q0620",
        name="shards-differ",
        severity=Severity.ERROR,
        message=message,
        notes=(f"not the same: {', '.join(differing)}",),
        helps=("give each shard the same inputs; data made by Python must come in the same order every time",),
        path=path,
    )


def not_shardable(message: str, path: str = "") -> Diagnostic:
    """Return Q0618: the result would not be that of one process."""
    return Diagnostic(
        code="Q0618",
        name="not-shardable",
        severity=Severity.ERROR,
        message=message,
        helps=("calibrate in one process, without `--shard`",),
        path=path,
    )


def _laid_out_late(owner: str, model: Model) -> Diagnostic:
    why = "it is zero throughout the first batch, which lays out AIMET's histogram for all shards"
    return not_shardable(f"`{owner}` cannot be calibrated in shards: {why}", model.path)
