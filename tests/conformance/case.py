"""What a case is: a trained model, data to calibrate with, and a number that says how good the model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Measure = Callable[[Path], float]
"""The metric of a model file, run in onnxruntime: 0 to 1, higher is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A case with its files written."""

    model: Path
    calibration: Path
    """An .npz, or a folder of .npz batches: never a sample that `measure` uses."""
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table.

    `expected` is the float model's metric, measured once by hand: a case whose float model strays from
    it by more than 0.01 has a broken input pipeline, and its loss under quantization would say nothing.
    """

    name: str
    title: str
    metric: str
    packages: tuple[str, ...]
    """Rows of packages.toml."""
    expected: float
    activations: str = "int8"
    """The precision of activations, as `--act` has it; weights are int8."""
    allowed_drop: float
    """How far the QDQ model's metric may fall below the float model's."""
    prepare: Callable[[Mapping[str, Path], Path], Prepared]
    """Write model and data into the folder given second, from the packages' folders given first."""
