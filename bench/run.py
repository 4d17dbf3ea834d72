"""Measure qsimc beside other tools, and write what was found into bench/README.md: `make bench`.

    python bench/run.py [--quick] [--only SECTION...]

Needs Python 3.11 or later and pip; every tool gets an environment of its own below .bench/ (environments.py).  A
section is a script that can be run by itself; its rows go to .bench/NAME.json, its tables between markers of its name.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tables
from environments import CHECKOUT, FOLDER, python_of

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A script of this folder, run in qsimc's environment.

    Attributes:
        arguments: of the script.
        quick: what takes their place under `--quick`.
        aimet: the environment whose Python it is given as `--aimet`.
        shown: its rows as Markdown.
    """

    script: str
    arguments: Sequence[str] = ()
    quick: Sequence[str] = ()
    aimet: str | None = None
    shown: Callable[[Any], str] = tables.table


SECTIONS = {
    "start": Section(script="check.py", arguments=("--runs", "9"), quick=("--runs", "3", "--files", "100")),
    "lint": Section(script="lint.py", quick=("--runs", "3", "--megabytes", "5")),
    "plan": Section(script="plan.py", quick=("--runs", "3", "--sizes", "100", "1000"), aimet="aimet-onnx"),
    "big": Section(script="big.py", quick=("--gigabytes", "0.1")),
    "ranges": Section(
        script="ranges.py",
        arguments=("--root", str(FOLDER)),
        quick=("--root", str(FOLDER), "--tensors", "50", "--runs", "2", "--activations", "4"),
        shown=tables.several,
    ),
    "calibration": Section(script="calibration.py", quick=("--quick",), shown=tables.times),
    "memory": Section(
        script="calibration.py", arguments=("--memory",), quick=("--memory", "--quick"), shown=tables.memory
    ),
    "kernels": Section(script="fake_quantize.py", quick=("--values", "100000", "--runs", "3")),
    "torch": Section(script="torch_sim.py", quick=("--runs", "3", "--batch", "1"), aimet="aimet-torch"),
}


def measure(name: str, *, quick: bool) -> str:
    """Run a section and return its tables.

    Raises:
        CalledProcessError: its script failed, which has said why.
    """
    section, found = SECTIONS[name], FOLDER / f"{name}.json"
    arguments = section.quick if quick else section.arguments
    if section.aimet is not None:
        arguments = [*arguments, "--aimet", python_of(section.aimet)]
    command = [python_of("qsimc"), str(HERE / section.script), *arguments, "--json", str(found)]
    subprocess.run(command, check=True, cwd=CHECKOUT)
    return section.shown(json.loads(found.read_text(encoding="utf-8")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small inputs and few rounds; the page stays as it is")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    failed = []
    for name in options.only or SECTIONS:
        print(f"── {name}", flush=True)
        try:
            found = measure(name, quick=options.quick)
        except subprocess.CalledProcessError as error:
            print(f"{name} failed: exit status {error.returncode}", flush=True)
            failed.append(name)
            continue
        print(f"\n{found}\n", flush=True)
        if not options.quick:
            page = tables.put(PAGE.read_text(encoding="utf-8"), name, f"{tables.machine()}\n\n{found}")
            PAGE.write_text(page, encoding="utf-8")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
