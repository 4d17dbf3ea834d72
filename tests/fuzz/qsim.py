"""Fuzz the .qsim reader: whatever the bytes, a check ends with findings, and with a target too."""

from __future__ import annotations

from qsimc.pipeline.check import check
from tests.fuzz.files import shown, written


def fuzz_one(data: bytes) -> None:
    """Check bytes as a .qsim file, alone and against a target's restrictions."""
    path = written(data, "input.qsim")
    shown(check(path, format="qsim"))
    shown(check(path, format="qsim", target="vitis-dpu"))
