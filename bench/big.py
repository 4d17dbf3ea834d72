"""How much memory a model needs whose weights lie in files of their own, 2.5 GB of them by default.

    python bench/big.py [--gigabytes 2.5] [--folder FOLDER] [plan build quantize export]

Each command is a process of its own; its peak (ru_maxrss, in which mapped pages of files count) is printed in sizes of
the model.  What is written is deleted at the end: three times the size of the model must be free.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from graphs import TOKENS, Decoder
from numpy.typing import NDArray
from onnx import TensorProto
from processes import timed

HIDDEN, HEADS, SAMPLES = 2048, 16, 2
COMMANDS = ("plan", "build", "quantize", "export")
CONFIG = Path(__file__).resolve().parents[1] / "demo/config.json"


def write_model(path: Path, size: float) -> int:
    """Write a decoder of at least `size` bytes of weights, without ever holding two of them; return its bytes."""
    data = path.with_suffix(".data")
    with data.open("wb") as file:

        def store(values: NDArray[Any], name: str) -> TensorProto:
            tensor = TensorProto(name=name, dims=values.shape, data_type=TensorProto.FLOAT)
            tensor.data_location = TensorProto.EXTERNAL
            where = {"location": data.name, "offset": file.tell(), "length": values.nbytes}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
            file.write(values.data)
            return tensor

        writer = Decoder(HIDDEN, HEADS, store)
        last, layer = "x", 0
        while file.tell() < size:
            last = writer.layer(last, f"l{layer}")
            layer += 1
    onnx.save(writer.model(last), path)
    return path.stat().st_size + data.stat().st_size


def commands(folder: Path, model: Path, chosen: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the command lines; `export` is of what `quantize` wrote."""
    qsimc, out = [sys.executable, "-m", "qsimc"], str(folder / "result")
    given = [str(CONFIG), "--model", str(model)]
    lines = {
        "plan": ["plan", *given, "--format", "json"],
        "build": ["build", *given, "--out", str(folder / "built")],
        "quantize": ["quantize", *given, "--data", str(folder / "data.npz"), "--out", out],
        "export": ["export", out, "--to", "qdq", "--out", str(folder / "exported")],
    }
    for name in chosen:
        yield name, [*qsimc, *lines[name]]


@contextmanager
def working_folder(parent: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="qsimc-big-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}; all by default")
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--folder", type=Path, help="where there is room for three such models")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with working_folder(arguments.folder) as folder:
        model = folder / "decoder.onnx"
        size = write_model(model, arguments.gigabytes * 1e9)
        np.savez(folder / "data.npz", x=np.random.default_rng(1).standard_normal((SAMPLES, TOKENS, HIDDEN), np.float32))
        for name, command in commands(folder, model, arguments.commands or list(COMMANDS)):
            seconds, peak = timed(command)
            rows.append(
                {
                    "command": name,
                    "gb": size / 1e9,
                    "seconds": seconds,
                    "peak_gb": peak / 1e9,
                    "peak_in_models": peak / size,
                }
            )
            print(f"{name:9} {seconds:7.1f} s  peak {peak / 1e9:5.2f} GB, {peak / size:4.2f} x the model", flush=True)
            shutil.rmtree(folder / "built", ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
