"""What simulation and calibration in PyTorch cost, in passes of the float model; AIMET beside it.

    python bench/torch_sim.py [--aimet PYTHON] [--runs 7] [--batch 4] [--json FILE]

ResNet18 with random weights.  One round times the float pass, the simulated pass and a calibration of each kind, in
turn, in one process; AIMET's rounds run between ours, in a process of its own, with its own float pass.  A calibration
is that of the activations: AIMET finds the encodings of the weights when it makes its simulation, which is not timed;
what they take here stands beside it.  Writing the module that is observed is in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BATCHES = 8
"""Batches of a pass and of a calibration."""

AIMET_TASKS = ("float", "simulation", "min-max", "sqnr")
"""What is timed of AIMET as well."""


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ours(batch: int) -> dict[str, Callable[[], object]]:
    """Return what is timed of qsimc, by name; each runs over `BATCHES` batches."""
    import torch
    from nets import resnet18

    import qsimc
    from qsimc.backend import load_backend
    from qsimc.pipeline.calibrate import encode, observe, observe_constants
    from qsimc.pipeline.plan import opened

    torch.set_grad_enabled(False)
    module, _ = resnet18()
    images = [torch.randn(batch, 3, 224, 224) for _ in range(BATCHES)]
    reference = "nets:resnet18"
    plans = {calib: qsimc.plan("aimet:default", reference, calib=calib) for calib in ("minmax", "sqnr")}
    name = plans["minmax"].graph.inputs[0]
    batches = [{name: image.numpy()} for image in images]
    encodings = qsimc.torch.calibrate(plans["minmax"], module, [{name: batches[0][name][:1]}])
    plain, sim = (qsimc.torch.build(plans["minmax"], module, found) for found in (None, encodings))
    backend = load_backend("torch")
    context = opened(reference, print, backend)
    model = context.__enter__()
    assert model is not None

    def calibration(calib: str) -> Callable[[], object]:
        plan, constants = plans[calib], observe_constants(model, plans[calib])
        return lambda: encode(model, plan, constants, observe(backend, model, plan, constants, batches, lambda _: None))

    return {
        "float": lambda: [plain(image) for image in images],
        "simulation": lambda: [sim(image) for image in images],
        "min-max": calibration("minmax"),
        "sqnr": calibration("sqnr"),
        **{f"{calib} of weights": partial(observe_constants, model, plan) for calib, plan in plans.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aimet", help="a Python that has aimet-torch")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE))
    tasks = ours(arguments.batch)
    seconds: dict[tuple[str, str], list[float]] = {}
    theirs = None
    if arguments.aimet:
        command = [arguments.aimet, "-W", "ignore", str(HERE / "aimet_sim.py"), str(arguments.batch), str(BATCHES)]
        theirs = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(arguments.runs + 1):  # the first round warms up
        for task, run in tasks.items():
            seconds.setdefault(("qsimc", task), []).append(timed(run))
            if theirs is not None and task in AIMET_TASKS:
                seconds.setdefault(("aimet_torch", task), []).append(_ask(theirs, task))
    rows = [_row(tool, task, found[1:], seconds[tool, "float"][1:]) for (tool, task), found in seconds.items()]
    for row in rows:
        spread = f"({row['fastest']:.2f} to {row['slowest']:.2f})"
        print(f"{row['tool']:12} {row['task']:19} {row['seconds']:7.3f} s  {row['ratio']:5.2f} x  {spread}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _ask(process: subprocess.Popen[str], task: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{task}\n")
    process.stdin.flush()
    for line in process.stdout:
        try:
            return float(line)
        except ValueError:  # the tool prints lines of its own
            continue
    raise SystemExit(f"AIMET stopped at {task}")


def _row(tool: str, task: str, found: list[float], base: list[float]) -> dict[str, Any]:
    """Return the median of the ratios of each round, and their spread."""
    ratios = [mine / float_ for mine, float_ in zip(found, base, strict=True)]
    return {
        "tool": tool, "task": task, "seconds": statistics.median(found), "ratio": statistics.median(ratios),
        "fastest": min(ratios), "slowest": max(ratios),
    }  # fmt: skip


if __name__ == "__main__":
    main()
