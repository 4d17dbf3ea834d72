"""How long qsimc takes to plan and to write large graphs, how that grows, and AIMET's own construction beside it.

    python bench/plan.py [--aimet PYTHON] [--runs 5] [--sizes 1000 10000] [--json FILE]

`qsimc plan` and AIMET are whole processes; the stages are those of `stages.py`, without start-up.  Runs alternate, so
that a machine that changes its pace changes it for all; medians are printed.  Growth is the power of the number of
nodes that seconds grow with, from the smallest graph to the largest, by the fastest run of each.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from graphs import KINDS
from processes import timed
from stages import CONFIG

AIMET = "import sys, onnx; from aimet_onnx import QuantizationSimModel; QuantizationSimModel(onnx.load(sys.argv[1]))"
STAGES = Path(__file__).resolve().with_name("stages.py")


def commands(model: Path, aimet: str | None) -> dict[str, list[str]]:
    """Return the processes that are compared on one model."""
    plan = [sys.executable, "-m", "qsimc", "plan", str(CONFIG), "--model", str(model), "--format", "json"]
    found = {"qsimc plan": plan}
    if aimet:
        found["aimet_onnx"] = [aimet, "-c", AIMET, str(model)]
    return found


def stages(model: Path) -> dict[str, float]:
    """Return the seconds of qsimc's stages in a fresh process."""
    done = subprocess.run([sys.executable, str(STAGES), str(model), "--runs", "1"], check=True, stdout=subprocess.PIPE)
    seconds: dict[str, float] = json.loads(done.stdout)
    return {f"{stage}, in process": taken for stage, taken in seconds.items()}


def measured(model: Path, runs: int, aimet: str | None) -> list[dict[str, Any]]:
    """Return a row for each thing that is measured on one model."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}
    for _ in range(runs):
        for name, command in commands(model, aimet).items():
            taken, peak = timed(command)
            seconds.setdefault(name, []).append(taken)
            peaks[name] = max(peaks.get(name, 0), peak)
        for name, taken in stages(model).items():
            seconds.setdefault(name, []).append(taken)
    return [
        {
            "what": name,
            "seconds": statistics.median(taken),
            "fastest": min(taken),
            "slowest": max(taken),
            "mib": peaks[name] / 2**20 if name in peaks else None,
        }
        for name, taken in seconds.items()
    ]


def add_growth(rows: Sequence[dict[str, Any]]) -> None:
    """Enter into the rows of the largest graphs how seconds grow from the smallest."""
    for kind, name in dict.fromkeys((row["graph"], row["what"]) for row in rows):
        alike = sorted((r for r in rows if (r["graph"], r["what"]) == (kind, name)), key=lambda r: r["nodes"])
        first, last = alike[0], alike[-1]
        if first["nodes"] < last["nodes"]:
            more = last["nodes"] / first["nodes"]
            last["growth"] = math.log(last["fastest"] / first["fastest"]) / math.log(more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aimet", help="a Python that has aimet-onnx")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, build in KINDS.items():
            for size in arguments.sizes:
                model = Path(folder) / f"{kind}-{size}.onnx"
                onnx.save(build(size), model)
                found = measured(model, arguments.runs, arguments.aimet)
                rows += [{"graph": kind, "nodes": size, **row} for row in found]
                print(f"{kind} of {size} nodes is done", flush=True)
    add_growth(rows)
    for row in rows:
        spread = f"({row['fastest']:.2f} to {row['slowest']:.2f})"
        memory = f"{row['mib']:6.0f} MiB" if row["mib"] is not None else " " * 10
        growth = f"  grows with nodes to the power of {row['growth']:.2f}" if "growth" in row else ""
        print(
            f"{row['graph']:8} {row['nodes']:6} {row['what']:22} {row['seconds']:7.2f} s {spread:16} {memory}{growth}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
