"""Seconds of each stage on one model, in this process: the plan, the simulation and the QDQ model, as JSON.

    python bench/stages.py MODEL [--runs 3]

The plan begins with the model's file and the configuration's.  Quantizers have some encoding, as nothing is calibrated.
The garbage collector is as Python sets it, as in a program that calls qsimc.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic
from qsimc.pipeline.plan import Choices, Session, session
from qsimc.planning.plan import Plan, TensorPlan

CONFIG = Path(__file__).resolve().parents[1] / "demo/config.json"


def encodings(plan: Plan) -> dict[str, Encoding]:
    """Return an encoding of eight bits for every quantizer."""
    return {t.tensor: _encoding(plan, t) for t in plan.enabled()}


def _encoding(plan: Plan, t: TensorPlan) -> Encoding:
    shape = plan.graph.tensors[t.tensor].shape
    channels = 1 if t.axis is None or shape is None else shape[t.axis] or 1
    scale, zero_point = np.full(channels, 1 / 64), np.zeros(channels, np.int64)
    return Encoding(scale, zero_point, -128, 127, 8, symmetric=True, axis=t.axis)


def once(model: Path) -> dict[str, float]:
    """Return the seconds of one round of all stages."""
    gc.collect()
    start = time.perf_counter()
    with session(CONFIG, model, Choices()) as made:
        planned = time.perf_counter()
        found = encodings(made.plan)
        with tempfile.TemporaryDirectory() as out:
            return {"plan": planned - start, **_written(made, found, Path(out))}


def _written(made: Session, found: dict[str, Encoding], out: Path) -> dict[str, float]:
    findings: list[Diagnostic] = []
    start = time.perf_counter()
    made.backend.build(made.model, made.plan, out, found)
    built = time.perf_counter()
    made.backend.export(made.model, made.plan, found, out, findings.append)
    return {"simulation": built - start, "QDQ": time.perf_counter() - built}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    # The first round imports what it needs, and is not one of those counted.
    rounds = [once(arguments.model) for _ in range(arguments.runs + 1)][1:]
    print(json.dumps({stage: statistics.median(taken[stage] for taken in rounds) for stage in rounds[0]}))


if __name__ == "__main__":
    main()
