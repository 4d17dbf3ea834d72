"""The fuzz targets: their names, their functions, and the inputs that they start from."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeAlias, cast

HERE = Path(__file__).parent
FOUND = HERE / "found"
"""Where inputs that brought a target down are written."""

NAMES = ("json_config", "qsim", "encodings", "onnx_model")

Target: TypeAlias = Callable[[bytes], None]


def load(name: str) -> Target:
    """Return a target's `fuzz_one`."""
    return cast(Target, import_module(f"tests.fuzz.{name}").fuzz_one)


def corpus(name: str) -> tuple[Path, ...]:
    """Return the files of a target's seed corpus, by name."""
    return tuple(sorted((HERE / "corpus" / name).iterdir()))
