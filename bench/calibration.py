"""What calibration costs, in plain onnxruntime passes over the same samples, and in memory: qsimc and the others.

    python bench/calibration.py [--memory] [--quick] [--models NAME...] [--tools NAME...] [--methods NAME...]
                                [--rounds 5] [--samples 128] [--json FILE]

Each tool runs in a process and an environment of its own (tools/, environments.py), all of them at once, one working
at a time.  A round asks each in turn, method by method, for a plain pass and a calibration, so that a machine that
changes its pace changes it for all; a ratio is of the two beside each other.  Memory is measured in fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from environments import FOLDER, python_of
from tables import summary

HERE = Path(__file__).resolve().parent
MODELS = ("ResNet18", "MobileNetV2", "MiniLM-L6", "PP-OCRv5 rec")
THREADS = 2
MEMORY_SAMPLES = (32, 128, 512)

PLAIN = "plain pass"

_ERRORS = (BrokenPipeError, json.JSONDecodeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool to measure.

    Attributes:
        script: of tools/.
        environment: a name of environments.py.
        methods: method -> the most samples it is given; memory of some grows with every sample.
        variables: of its process.
        models: those it can calibrate.
    """

    script: str
    environment: str
    methods: dict[str, int]
    variables: dict[str, str] = field(default_factory=dict)
    models: Sequence[str] = MODELS


_ALL = 512
TOOLS = {
    "qsimc": Tool(
        script="ours.py",
        environment="qsimc",
        methods=dict.fromkeys(("min-max", "vendor sqnr", "sqnr", "percentile", "entropy"), _ALL),
    ),
    "qsimc, pure Python": Tool(
        script="ours.py",
        environment="qsimc",
        methods=dict.fromkeys(("min-max", "sqnr"), _ALL),
        variables={"QSIMC_NATIVE": "0"},
    ),
    "aimet-onnx": Tool(
        script="aimet.py",
        environment="aimet-onnx",
        methods=dict.fromkeys(("min-max", "percentile", "sqnr"), _ALL),
    ),
    "onnxruntime": Tool(
        script="ort.py",
        environment="onnxruntime",
        methods={"min-max": _ALL, "percentile": 32, "entropy": 32},
    ),
    "torch.ao": Tool(
        script="torch_observers.py",
        environment="torch",
        methods=dict.fromkeys(("float", "min-max", "histogram"), _ALL),
        models=("ResNet18",),
    ),
}


class Worker:
    """A tool's process (tools/worker.py)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, **question: Any) -> dict[str, Any]:
        """Return the answer; that of a process which is gone is an error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        except _ERRORS:
            return {"error": "the process is gone"}
        return answer


@contextmanager
def worker(tool: Tool, model: str) -> Iterator[Worker]:
    """Start a tool on a model, and end it."""
    command = [python_of(tool.environment), "-W", "ignore", str(HERE / "tools" / tool.script)]
    process = subprocess.Popen(
        [*command, str(FOLDER / "calibration" / model), str(THREADS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | tool.variables,
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.wait()


def chosen(tool: Tool, methods: Sequence[str] | None) -> Tool:
    """Return a tool with some of its methods; all if none are named."""
    return replace(tool, methods={name: most for name, most in tool.methods.items() if not methods or name in methods})


def times(model: str, asked: Mapping[str, Tool], rounds: int, samples: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each tool and method."""
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        tools = {name: tool for name, tool in asked.items() if model in tool.models}
        workers = {name: stack.enter_context(worker(tool, model)) for name, tool in tools.items()}
        for turn in range(rounds + 1):  # the first round warms up, on few samples
            print(f"{model}: round {turn} of {rounds}", file=sys.stderr, flush=True)
            for name, tool in tools.items():
                for method, most in tool.methods.items():
                    count = min(samples, most, 4 if turn == 0 else samples)
                    plain = workers[name].ask(do="plain", samples=count)
                    found = workers[name].ask(do="run", method=method, samples=count)
                    if turn > 0:
                        pairs.setdefault((name, method), []).append({"plain": plain, **found, "samples": count})
    for (name, method), runs in pairs.items():
        yield {"model": model, "tool": name, "method": method, **summary(runs)}


def memory(model: str, asked: Mapping[str, Tool], counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of samples: of the plain pass, and of each tool and method."""
    for count in counts:
        with worker(next(iter(asked.values())), model) as process:
            yield _memory_row(model, PLAIN, "", count, process.ask(do="plain", samples=count))
    for name, tool in asked.items():
        for method, most in tool.methods.items():
            for count in counts if model in tool.models and method != "float" else ():
                if count > most:
                    continue
                with worker(tool, model) as process:
                    found = process.ask(do="run", method=method, samples=count)
                yield _memory_row(model, name, method, count, found)


def _memory_row(model: str, tool: str, method: str, samples: int, found: Mapping[str, Any]) -> dict[str, Any]:
    growth = found["growth"] / 2**20 if "error" not in found else None
    return {"model": model, "tool": tool, "method": method, "samples": samples, "mib": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--models", nargs="+", choices=MODELS, metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, metavar="NAME", default=[*TOOLS], help=", ".join(TOOLS))
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these methods of each tool")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="MobileNetV2 only, 8 samples, three rounds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    models = arguments.models or (("MobileNetV2",) if arguments.quick else MODELS)
    subprocess.run([python_of("qsimc"), str(HERE / "models.py"), *models], check=True)
    tools = {name: chosen(TOOLS[name], arguments.methods) for name in arguments.tools}
    rounds, samples = (3, 8) if arguments.quick else (arguments.rounds, arguments.samples)
    rows: list[dict[str, Any]] = []
    for model in models:
        counts = (8, 32) if arguments.quick else MEMORY_SAMPLES
        for row in memory(model, tools, counts) if arguments.memory else times(model, tools, rounds, samples):
            print(*(f"{value:.3g}" if isinstance(value, float) else value for value in row.values()), flush=True)
            rows.append(row)
            if arguments.json:  # at once: what was measured is not lost when a long run is stopped
                arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
