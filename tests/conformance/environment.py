"""Virtual environments that conformance tests run other people's tools in; standard library only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path


def environment(folder: Path, steps: Sequence[Sequence[str]], files: Sequence[Path]) -> Path:
    """Return the Python of a virtual environment in which `pip install` has run with each step's arguments, in order.

    Nothing is installed again until the steps change, or one of the files that they read.
    """
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [repr(steps).encode(), *(path.read_bytes() for path in files)]
    fingerprint = hashlib.sha256(b"\0".join(wanted)).hexdigest()
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == fingerprint:
        return python
    venv.create(folder, clear=True, with_pip=True)
    for step in steps:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *step], check=True)
    stamp.write_text(fingerprint, encoding="ascii")
    return python
