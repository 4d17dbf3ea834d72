"""Encodings files of AIMET for tests: documents, and what reading one finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsimc.diagnostics import Diagnostic
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.document import read_document
from qsimc.encodings.entry import EncodingsFile, Layout
from qsimc.encodings.lint import lint as lint_file
from qsimc.encodings.read import read_file
from qsimc.source import Source

VENDOR = ("0.6.1", "1.0.0", "2.0.0")


def load(value: Any) -> tuple[EncodingsFile | None, list[Diagnostic]]:
    """Read a document and lint it."""
    findings: list[Diagnostic] = []
    text = value if isinstance(value, str) else json.dumps(value)
    found = read_document(Source("f.encodings", text), findings.append)
    file = None if found is None else read_file(found, findings.append)
    if found is not None and file is not None:
        findings += lint_file(found, file)
    return file, findings


def sound(value: Any) -> EncodingsFile:
    file, findings = load(value)
    assert findings == []
    assert file is not None
    return file


def convert(file: EncodingsFile, target: Layout) -> tuple[EncodingsFile, set[str]]:
    findings: list[Diagnostic] = []
    return convert_file(file, target, findings.append), {f.code for f in findings}


def put(folder: Path, value: Any, name: str = "f.encodings") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def record_1(**fields: Any) -> dict[str, Any]:
    """Return a 1.0.0 file with one activation."""
    entry = {
        "name": "x",
        "bw": 8,
        "dtype": "INT",
        "enc_type": "PER_TENSOR",
        "is_sym": False,
        "scale": [0.1],
        "offset": [-3],
    }
    return {"version": "1.0.0", "activation_encodings": [entry | fields], "param_encodings": []}


def record_0(**fields: Any) -> dict[str, Any]:
    """Return a 0.6.1 file with one activation."""
    entry = {
        "bitwidth": 8,
        "dtype": "int",
        "is_symmetric": "False",
        "scale": 0.1,
        "offset": -3,
        "min": -0.3,
        "max": 25.2,
    }
    return {"version": "0.6.1", "activation_encodings": {"x": [entry | fields]}, "param_encodings": {}}


def record_2(**fields: Any) -> dict[str, Any]:
    """Return a 2.0.0 file with one entry."""
    entry = {"name": "x", "output_dtype": "uint8", "y_scale": 0.1, "y_zero_point": 3}
    return {"version": "2.0.0", "encodings": [entry | fields]}
