"""The demonstration of this repository, as tests use it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DEMO = ROOT / "demo"

MODEL = str(DEMO / "digits.onnx")

DATA = str(DEMO / "digits_calibration.npz")

CONFIG = str(DEMO / "config.json")
