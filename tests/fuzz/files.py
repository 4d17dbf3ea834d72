"""Inputs as files in a folder that ends with the process: the readers under test open files themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from qsimc.diagnostics import Diagnostic
from qsimc.render import machine, text


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="qsimc-fuzz-")


def written(data: bytes, name: str) -> str:
    """Write an input to a file, over the one before it of that name, and return its path."""
    path = Path(_folder().name) / name
    path.write_bytes(data)
    return str(path)


def shown(findings: Sequence[Diagnostic]) -> None:
    """Render findings for people and for programs, which must succeed whatever they quote."""
    text.full(findings).encode()
    machine.json_document(findings).encode()
