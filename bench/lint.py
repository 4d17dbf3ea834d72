"""How long `qsimc encodings lint` takes on files of 50 MB, beside decoding them with orjson.

    python bench/lint.py [--runs 5] [--megabytes 50] [--json FILE]

A file of each layout, seeded and sound.  Within one process decoding and linting alternate; so do whole processes, of
a Python that reads the file and decodes it, and of qsimc.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from qsimc.pipeline.encodings import lint

CHANNELS = 256
DECODE = "import sys, orjson; orjson.loads(open(sys.argv[1], 'rb').read())"

Entry = dict[str, Any]


def entries(record: Callable[[random.Random, str, int], Entry], size: int) -> Iterator[tuple[str, Entry]]:
    """Yield names and records of so many bytes: of three, two are activations and one is a weight with channels."""
    chance = random.Random(0)
    written, number = 0, 0
    while written < size:
        name = f"/model/layers.{number}/{'mlp/Mul_output_0' if number % 3 else 'mlp/up_proj.weight'}"
        entry = record(chance, name, 1 if number % 3 else CHANNELS)
        written += len(json.dumps(entry))
        number += 1
        yield name, entry


def _scales(chance: random.Random, many: int) -> list[float]:
    return [chance.uniform(1e-4, 1e-2) for _ in range(many)]


def _record_0(chance: random.Random, _: str, many: int) -> Any:
    offset = -128 if many > 1 else -chance.randrange(256)
    return [
        {
            "bitwidth": 8, "dtype": "int", "is_symmetric": str(many > 1), "max": scale * (offset + 255),
            "min": scale * offset, "offset": offset, "scale": scale,
        }
        for scale in _scales(chance, many)
    ]  # fmt: skip


def _record_1(chance: random.Random, name: str, many: int) -> Entry:
    return {
        "name": name, "bw": 8, "dtype": "INT", "enc_type": "PER_CHANNEL" if many > 1 else "PER_TENSOR",
        "is_sym": many > 1, "offset": [-128 if many > 1 else -chance.randrange(256)] * many,
        "scale": _scales(chance, many),
    }  # fmt: skip


def _record_2(chance: random.Random, name: str, many: int) -> Entry:
    if many == 1:
        zero = chance.randrange(256)
        return {"name": name, "output_dtype": "uint8", "y_scale": _scales(chance, 1)[0], "y_zero_point": zero}
    blocks = [_scales(chance, 32) for _ in range(many)]
    return {"name": name, "output_dtype": "int4", "axis": 1, "block_size": 32, "y_scale": blocks}


def file_0(size: int) -> Entry:
    """Return a file of version 0.6.1: a record per channel."""
    found = dict(entries(_record_0, size))
    weights = {name: entry for name, entry in found.items() if name.endswith("weight")}
    activations = {name: entry for name, entry in found.items() if name not in weights}
    return {"version": "0.6.1", "activation_encodings": activations, "param_encodings": weights}


def file_1(size: int) -> Entry:
    """Return a file of version 1.0.0: lists of scales and offsets."""
    found = [entry for _, entry in entries(_record_1, size)]
    activations = [entry for entry in found if entry["enc_type"] == "PER_TENSOR"]
    weights = [entry for entry in found if entry["enc_type"] == "PER_CHANNEL"]
    return {"version": "1.0.0", "activation_encodings": activations, "param_encodings": weights}


def file_2(size: int) -> Entry:
    """Return a file of version 2.0.0: weights in blocks, nested like the tensor."""
    return {"version": "2.0.0", "encodings": [entry for _, entry in entries(_record_2, size)]}


FILES: dict[str, Callable[[int], Entry]] = {"0.6.1": file_0, "1.0.0": file_1, "2.0.0": file_2}


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes, and what it returned to be let go."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def process(*command: str) -> float:
    """Return the wall time of one process.

    Raises:
        CalledProcessError: it failed, or qsimc found something.
    """
    return timed(lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL))


def row(version: str, where: str, megabytes: float, pairs: list[tuple[float, float]]) -> Entry:
    """Return medians of decoding, of linting and of their ratio."""
    ratios = [lint_ / decode for decode, lint_ in pairs]
    return {
        "version": version, "megabytes": megabytes, "timed": where,
        "orjson": statistics.median(decode for decode, _ in pairs),
        "seconds": statistics.median(lint_ for _, lint_ in pairs),
        "ratio": statistics.median(ratios), "fastest": min(ratios), "slowest": max(ratios),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[Entry] = []
    for version, build in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.encodings"
            path.write_bytes(json.dumps(build(arguments.megabytes * 10**6)).encode())
            size, content = path.stat().st_size / 1e6, path.read_bytes()
            if lint(str(path)):
                raise SystemExit(f"the file of version {version} is not sound")
            inside, whole = [], []
            for _ in range(arguments.runs):
                inside.append((timed(lambda: orjson.loads(content)), timed(lambda: lint(str(path)))))  # noqa: B023
                whole.append((process("-c", DECODE, str(path)), process("-m", "qsimc", "encodings", "lint", str(path))))
        rows += [row(version, "in process", size, inside), row(version, "whole processes", size, whole)]
        for found in rows[-2:]:
            spread = f"({found['fastest']:.2f} to {found['slowest']:.2f})"
            taken = f"{found['seconds']:6.3f} s {found['ratio']:5.2f} x"
            print(f"{version} {size:4.0f} MB {found['timed']:16} {taken} {spread}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
