"""MobileNetV2 on photographs: depth-wise convolutions, whose channels differ in range by orders of magnitude."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.conformance.case import Case, Prepared
from tests.conformance.nets.mobilenet_v2 import MobileNetV2
from tests.conformance.runtime import export, outputs, save

_SIDE = 224
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_CALIBRATION_SAMPLES = 64
_TINY_IMAGENET = Path(__file__).parent.parent / "data" / "tiny_imagenet.json"


def prepare(sources: Mapping[str, Path], work: Path) -> Prepared:
    """Export the network; calibrate on 64 of the small photographs, measure on the other 436 and 20 large ones."""
    model, calibration = work / "mobilenet_v2.onnx", work / "calibration.npz"
    _export(sources["mobilenet"], model)
    classes = np.array(json.loads(_TINY_IMAGENET.read_text(encoding="utf-8"))["imagenet_class"])
    small, small_labels = _small_photographs(sources["challenge"], classes)
    large, large_labels = _large_photographs(sources["foolbox"])
    save(calibration, {"x": small[:_CALIBRATION_SAMPLES]})
    images = np.concatenate([small[_CALIBRATION_SAMPLES:], large])
    labels = np.concatenate([small_labels[_CALIBRATION_SAMPLES:], large_labels])

    def top5(path: Path) -> float:
        best = np.argpartition(-outputs(path, {"x": images}, 16), 5, axis=1)[:, :5]
        return float((best == labels[:, None]).any(axis=1).mean())

    return Prepared(model=model, calibration=calibration, measure=top5)


def _export(source: Path, model: Path) -> None:
    (weights,) = source.rglob("*.pth")
    network = MobileNetV2()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    example = torch.zeros(2, 3, _SIDE, _SIDE)
    export(network, {"x": example}, {"x": {0: "batch"}}, "logits", model)


def _small_photographs(source: Path, classes: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the 500 photographs of 64 x 64 pixels, (500, 3, 224, 224), and their ImageNet classes, (500,)."""
    (listing,) = source.rglob("labels.yml")
    rows = sorted(re.findall(r"^'?(\S+?\.npy)'?: (\d+)$", listing.read_text(encoding="utf-8"), re.MULTILINE))
    images = [Image.fromarray(np.load(listing.parent / name)) for name, _ in rows]
    return np.stack([_input(image) for image in images]), classes[[int(label) for _, label in rows]]


def _large_photographs(source: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the 20 photographs of 512 x 512 pixels, as above; `imagenet_NN_CLASS.jpg` is how they are named."""
    paths = sorted(source.rglob("imagenet_*.jpg"))
    labels = np.array([int(path.stem.rpartition("_")[2]) for path in paths])
    return np.stack([_input(Image.open(path).convert("RGB")) for path in paths]), labels


def _input(image: Image.Image) -> NDArray[np.float32]:
    """Resize to 224 x 224, normalise, and put channels first: (3, 224, 224)."""
    pixels = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.float32) / 255
    return ((pixels - _MEAN) / _DEVIATION).transpose(2, 0, 1).astype(np.float32, copy=False)


CASE = Case(
    name="classifier",
    title="MobileNetV2",
    metric="top-5 accuracy, 456 photographs",
    packages=("mobilenet", "challenge", "foolbox"),
    expected=0.476,
    allowed_drop=0.03,
    prepare=prepare,
)
