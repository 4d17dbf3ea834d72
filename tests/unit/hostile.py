"""Hostile files for tests, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

from qsimc.diagnostics import Diagnostic

ROOT = Path(__file__).resolve().parents[2]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def codes(findings: list[Diagnostic]) -> list[str]:
    return [finding.code for finding in findings]


def encoding(**fields: object) -> dict[str, object]:
    """Return an entry of AIMET's version 1.0.0."""
    usual = {"name": "x", "enc_type": "PER_TENSOR", "dtype": "INT", "bw": 8, "is_sym": False}
    return {**usual, "scale": [0.1], "offset": [-5], **fields}


def encodings_file(*entries: dict[str, object]) -> str:
    return json.dumps({"version": "1.0.0", "activation_encodings": entries, "param_encodings": []})


SOUND = encodings_file(encoding())
