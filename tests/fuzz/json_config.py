"""Fuzz the vendors' JSON configurations: whatever the bytes, a check ends with findings."""

from __future__ import annotations

from qsimc.pipeline.check import check
from tests.fuzz.files import shown, written


def fuzz_one(data: bytes) -> None:
    """Check bytes as a configuration of a format that is recognised, of each vendor's, and as a vendor does."""
    path = written(data, "input.json")
    shown(check(path))
    for format in ("aimet", "vitis"):
        shown(check(path, format=format, mode="vendor"))
