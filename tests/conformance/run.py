"""Entry point of `make conformance`: prepare an environment of our own, then run the job in it.

Only the standard library is used here, so that any Python 3.11 or later can start it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_CONSTRAINTS = CHECKOUT / "constraints.txt"
_TORCH = "torch==2.13.0"


def main() -> int:
    """Run `tests.conformance.job` in `.conformance/venv` with our arguments; return its exit status."""
    python = environment(CHECKOUT / ".conformance" / "venv")
    command = [str(python), "-m", "tests.conformance.job", *sys.argv[1:]]
    return subprocess.run(command, cwd=CHECKOUT).returncode


def environment(folder: Path) -> Path:
    """Return the Python of a virtual environment with torch, the requirements and this checkout in it.

    Nothing is installed again until the requirements, of the job or of qsimc, change.
    """
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [path.read_bytes() for path in (REQUIREMENTS, _CONSTRAINTS, CHECKOUT / "pyproject.toml")]
    stamp, fingerprint = folder / "installed", hashlib.sha256(b"\0".join([_TORCH.encode(), *wanted])).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == fingerprint:
        return python
    venv.create(folder, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(_CONSTRAINTS)]
    # Torch first and alone: what comes later must accept this version, not choose another.
    subprocess.run([*install, _TORCH], check=True)
    subprocess.run([*install, "--requirement", str(REQUIREMENTS), "--editable", f"{CHECKOUT}[all]"], check=True)
    stamp.write_text(fingerprint, encoding="ascii")
    return python


if __name__ == "__main__":
    sys.exit(main())
