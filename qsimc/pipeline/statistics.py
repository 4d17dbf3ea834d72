"""Statistics on disk: what calibration observed, in a form that other shards can be merged into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsimc.calibrate.observer import Observer

FORMAT_VERSION = "1.0"


def write_statistics(folder: Path, observers: Mapping[str, Observer]) -> None:
    """Write each quantizer's statistic: arrays in one .npz, names and kinds in index.json.

    Tensor names never become file or member names; the index maps them to numbers.
    """
    folder.mkdir()
    arrays: dict[str, Any] = {}
    index: dict[str, Any] = {}
    for number, (tensor, observer) in enumerate(observers.items()):
        flat = dict(_flat(observer, str(number)))
        arrays |= flat
        index[tensor] = {"kind": type(observer).__name__, "members": sorted(flat)}
    np.savez_compressed(folder / "statistics.npz", **arrays)
    document = {"format_version": FORMAT_VERSION, "statistics": index}
    (folder / "index.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")


def _flat(value: object, name: str) -> list[tuple[str, Any]]:
    """Return the arrays and numbers inside nested dataclasses and tuples, named by their path."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = [(f.name, getattr(value, f.name)) for f in fields(value)]
    elif isinstance(value, tuple):
        parts = [(str(position), part) for position, part in enumerate(value)]
    else:
        return [] if value is None else [(name, np.asarray(value))]
    return [entry for part, inner in parts for entry in _flat(inner, f"{name}.{part}")]
