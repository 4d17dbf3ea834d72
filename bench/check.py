"""How long `qsimc check` takes as a whole process: on one file beside a bare Python, and on a thousand.

    python bench/check.py [--runs 9] [--files 1000] [--configs FOLDER] [--json FILE]

Runs alternate, so that a machine that changes its pace changes it for all; medians are printed, and of the ratios to
the bare Python that ran beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / "demo/config.json"


def seconds(command: list[str]) -> float:
    """Return the wall time of one process; findings are no failure here."""
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    taken = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise SystemExit(f"failed: {' '.join(command)}")
    return taken


def copies(folder: Path, count: int, configs: list[Path]) -> None:
    """Write so many files, no two with the same text."""
    for index in range(count):
        text = configs[index % len(configs)].read_text(encoding="utf-8")
        (folder / f"{index:05}.json").write_text(" " * (index % 97) + text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--configs", type=Path, help="folder of configurations to copy; the demo's unless given")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    configs = sorted(arguments.configs.rglob("*.json")) if arguments.configs else [DEMO]
    qsimc = [sys.executable, "-m", "qsimc", "check"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies(folder, arguments.files, configs)
        many = f"{arguments.files} files"
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "1 file": [*qsimc, "--isolated", str(DEMO)],
            f"{many}, 1 process": [*qsimc, name, "--jobs", "1", "--format", "short"],
            f"{many}, 2 processes": [*qsimc, name, "--jobs", "2", "--format", "short"],
            many: [*qsimc, name, "--format", "short"],
        }
        runs: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(arguments.runs):
            for what, command in commands.items():
                runs[what].append(seconds(command))
    bare = runs["python -c pass"]
    rows = [
        {
            "what": what,
            "seconds": statistics.median(taken),
            "ratio": statistics.median(t / b for t, b in zip(taken, bare, strict=True)),
            "files_per_second": arguments.files / statistics.median(taken) if many in what else None,
        }
        for what, taken in runs.items()
    ]
    for row in rows:
        rate = f"{row['files_per_second']:8.0f} files/s" if row["files_per_second"] else ""
        print(f"{row['what']:24} {row['seconds'] * 1e3:8.1f} ms {row['ratio']:7.1f} x {rate}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
