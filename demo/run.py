"""The demo: quantize a digits classifier, then compare it with the original on images neither has seen.

`python demo/run.py` writes demo/out/ and exits with 1 when int8 costs more than one point of accuracy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import qsimc

HERE = Path(os.path.relpath(__file__)).parent
MODEL = HERE / "digits.onnx"
OUT = HERE / "out"
INPUT = "image"
BATCH_SIZE = 64
ALLOWED_DROP = 1.0
"""Percentage points."""


@dataclass(frozen=True)
class Measured:
    """One model file: accuracy in percent, size in bytes."""

    name: str
    accuracy: float
    size: int


def images(name: str) -> NDArray[np.float32]:
    """Return the images of one data file, shape (N, 1, 8, 8)."""
    with np.load(HERE / name) as arrays:
        return np.asarray(arrays[INPUT], np.float32)


def batches(values: NDArray[np.float32]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield the images as the batches that calibration runs on."""
    for start in range(0, len(values), BATCH_SIZE):
        yield {INPUT: values[start : start + BATCH_SIZE]}


def measure(name: str, model: Path) -> Measured:
    """Run a model over the test images and compare its largest logit with the label."""
    labels = np.load(HERE / "digits_test_labels.npy")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {INPUT: images("digits_test.npz")})
    return Measured(name, 100.0 * float((logits.argmax(1) == labels).mean()), model.stat().st_size)


def show(console: Console, original: Measured, quantized: Measured) -> None:
    """Print both models side by side."""
    table = Table("", "accuracy", "drop", "file", title="Handwritten digits, 450 test images", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for model in (original, quantized):
        drop = original.accuracy - model.accuracy
        table.add_row(
            model.name,
            f"{model.accuracy:.2f} %",
            "" if model is original else f"{drop:.2f} points",
            f"{model.size / 1000:.1f} kB",
        )
    console.print(table)


def main() -> int:
    console = Console()
    qsimc.quantize(
        str(HERE / "config.json"), model=str(MODEL), data=batches(images("digits_calibration.npz")), out=str(OUT)
    )
    original = measure("float", MODEL)
    quantized = measure("int8", OUT / "digits.qdq.onnx")
    show(console, original, quantized)
    console.print(f"What was quantized, how well, and which rule said so: {OUT / 'report.html'}")
    if original.accuracy - quantized.accuracy > ALLOWED_DROP:
        console.print(f"[red]int8 costs more than {ALLOWED_DROP:g} point of accuracy[/]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
