"""How long `qsimc plan` takes as a whole process, how it grows, and AIMET's own construction beside it.

    python bench/plan.py [--aimet PYTHON] [--runs 5] [--json FILE]

Runs alternate, so that a machine that changes its pace changes it for all; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
from graphs import KINDS

AIMET = "import sys, onnx; from aimet_onnx import QuantizationSimModel; QuantizationSimModel(onnx.load(sys.argv[1]))"
CONFIG = Path(__file__).resolve().parents[1] / "demo/config.json"


def timed(command: list[str]) -> tuple[float, float]:
    """Return wall seconds and peak MiB of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss / 1024


def commands(model: Path, aimet: str | None) -> dict[str, list[str]]:
    """Return what is compared on one model."""
    plan = [sys.executable, "-m", "qsimc", "plan", str(CONFIG), "--model", str(model), "--format", "json"]
    found = {"qsimc plan": plan}
    if aimet:
        found["aimet_onnx"] = [aimet, "-c", AIMET, str(model)]
    return found


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
                runs: dict[str, list[tuple[float, float]]] = {}
                for _ in range(arguments.runs):
                    for name, command in commands(model, arguments.aimet).items():
                        runs.setdefault(name, []).append(timed(command))
                for name, found in runs.items():
                    seconds = [run[0] for run in found]
                    row = {"graph": kind, "nodes": size, "tool": name, "seconds": statistics.median(seconds)}
                    row |= {"fastest": min(seconds), "slowest": max(seconds), "mib": max(run[1] for run in found)}
                    rows.append(row)
                    print(
                        f"{kind:8} {size:6} {name:12} {row['seconds']:7.2f} s"
                        f" ({row['fastest']:.2f} to {row['slowest']:.2f})  {row['mib']:6.0f} MiB",
                        flush=True,
                    )
    for kind in KINDS:
        for name in sorted({row["tool"] for row in rows}):
            mine = [r for r in rows if r["graph"] == kind and r["tool"] == name]
            first, last = mine[0], mine[-1]
            if first is not last:
                growth = math.log(last["seconds"] / first["seconds"]) / math.log(last["nodes"] / first["nodes"])
                print(f"{kind:8} {name:12} grows with nodes to the power of {growth:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
