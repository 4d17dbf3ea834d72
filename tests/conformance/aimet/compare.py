"""qsimc's answer to a pair in vendor mode, and where it differs from AIMET's."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from qsimc_onnx.graph import read_graph

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.pipeline.check import examined
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan
from qsimc.planning.resolve import resolve
from tests.conformance.aimet.client import Answer, Pair
from tests.conformance.aimet.worker import COLUMNS


@dataclass(frozen=True, slots=True)
class Outcome:
    """A plan, or the errors that stopped it."""

    plan: Plan | None
    errors: tuple[Diagnostic, ...]


def outcome(pair: Pair) -> Outcome:
    """Resolve a pair as `qsimc plan --mode vendor` does."""
    with tempfile.TemporaryDirectory(prefix="qsimc-") as folder:
        path = Path(folder) / "config.json"
        path.write_text(pair.config, encoding="utf-8")
        config, findings = examined(str(path), format="aimet", mode=Mode.VENDOR)
    errors = tuple(d for d in findings if d.severity is Severity.ERROR)
    if config is None or errors:
        return Outcome(None, errors)
    found: list[Diagnostic] = []
    graph = read_graph(onnx.load_model_from_string(pair.model))
    plan = resolve(config, graph, found.append, param=pair.param, act=pair.act, mode=Mode.VENDOR)
    return Outcome(plan, tuple(d for d in found if d.severity is Severity.ERROR))


def differences(ours: Outcome, theirs: Answer) -> list[str]:
    """Return one line per difference; none when the two agree."""
    said = [f"{d.vendor.id}: {d.vendor.text}" if d.vendor else f"{d.code}: {d.message}" for d in ours.errors]
    if theirs.error:
        wanted = f"{theirs.error}: {theirs.message}"
        if ours.plan is None and any(_same_error(text, wanted) for text in said):
            return []
        return [f"AIMET raises {wanted[:400]} (in {theirs.where}); qsimc {said or 'plans'}"]
    if ours.plan is None:
        return [f"AIMET plans; qsimc says {said}"]
    rows = {tensor: _row(plan) for tensor, plan in ours.plan.tensors.items()}
    lines = list(_rows(rows, {tensor: row[:-1] for tensor, row in theirs.plan.items()}))
    if not lines:
        mine = _groups((tensor, plan.shares or tensor) for tensor, plan in ours.plan.tensors.items())
        other = _groups((tensor, row[-1]) for tensor, row in theirs.plan.items())
        lines += [f"shared in qsimc only: {sorted(g)}" for g in mine - other]
        lines += [f"shared in AIMET only: {sorted(g)}" for g in other - mine]
    return lines


def _same_error(ours: str, theirs: str) -> bool:
    """Whether two errors are one.

    AIMET's text may go on where qsimc's ends (with the whole schema, with the names that exist), and a fused operator
    may have a name that onnx_ir gave it.
    """
    return _without_names(theirs).startswith(_without_names(ours))


def _without_names(text: str) -> str:
    return re.sub(r"(consumer \d+): .+ (\(\w+\))", r"\1: \2", text)


def _rows(ours: Mapping[str, Sequence[Any]], theirs: Mapping[str, Sequence[Any]]) -> Iterable[str]:
    for tensor in sorted({*ours, *theirs}):
        if tensor not in ours or tensor not in theirs:
            yield f"`{tensor}`: a quantizer in {'qsimc' if tensor in ours else 'AIMET'} only"
            continue
        for column, mine, other in zip(COLUMNS, ours[tensor], theirs[tensor], strict=False):
            if mine != other:
                yield f"`{tensor}`: {column} is {mine!r} in qsimc, {other!r} in AIMET"


def _row(plan: TensorPlan) -> list[Any]:
    spec = plan.spec
    assert spec.type is not None
    return [
        plan.kind is Kind.PARAM,
        spec.enabled,
        spec.bits,
        spec.type.value,
        spec.symmetric,
        spec.narrow_range,
        spec.unsigned_symmetric,
        plan.axis,
        list(spec.range) if spec.range else None,
    ]


def _groups(pairs: Iterable[tuple[str, object]]) -> set[frozenset[str]]:
    members: defaultdict[object, set[str]] = defaultdict(set)
    for tensor, group in pairs:
        members[group].add(tensor)
    return {frozenset(group) for group in members.values()}
