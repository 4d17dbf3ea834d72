"""Text rendered with real fonts: its labels are exact because we wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; half open."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """Words and fonts, and the chance to pick from them."""

    words: Sequence[str]
    fonts: Sequence[Path]
    rng: np.random.Generator

    @classmethod
    def of(cls, corpus: Path, fonts: Path, seed: int) -> Renderer:
        """Take the words of a text file and the .ttf files below a folder."""
        text = corpus.read_text(encoding="utf-8", errors="replace")
        words = sorted({word for word in text.split() if word.isascii() and word.isalnum()})
        return cls(words, sorted(fonts.rglob("*.ttf")), np.random.default_rng(seed))

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Return any of the fonts, `size` pixels to the em."""
        return ImageFont.truetype(str(self.rng.choice([str(path) for path in self.fonts])), size)

    def word(self) -> str:
        """Return any of the words."""
        return str(self.rng.choice(self.words))

    def phrase(self, most: int) -> str:
        """Return one to `most` words, now and then followed by a number."""
        chosen = [self.word() for _ in range(self.rng.integers(1, most + 1))]
        if self.rng.random() < 0.5:
            chosen.append(str(self.rng.integers(0, 10_000)))
        return " ".join(chosen)

    def ink(self) -> tuple[int, int, int]:
        """Return a dark colour."""
        red, green, blue = self.rng.integers(0, 90, size=3).tolist()
        return red, green, blue

    def noisy(self, image: Image.Image, deviation: float) -> Image.Image:
        """Return the image with Gaussian noise on it, `deviation` in grey levels."""
        noise = self.rng.normal(0, deviation, (image.height, image.width, 1))
        return Image.fromarray((np.asarray(image, np.float32) + noise).clip(0, 255).astype(np.uint8))
