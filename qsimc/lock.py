"""qsimc.lock: what a result was made from, so that it can be made again and recognised as ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qsimc.version import VERSION

FORMAT_VERSION = "1.0"


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text as UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def lock_document(
    *, config: Mapping[str, str], model: Mapping[str, str], data: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a lock as plain data; config, model and data each name a `path` and the `sha256` of its content."""
    return {
        "format_version": FORMAT_VERSION,
        "qsimc": VERSION,
        "config": dict(config),
        "model": dict(model),
        "data": dict(data),
        "options": dict(options),
    }
