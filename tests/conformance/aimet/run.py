"""Entry point: prepare an environment with AIMET and qsimc, then hold the one against the other.

    python tests/conformance/aimet/run.py [--pairs N] [--seed S]

Only the standard library is used here, so that any Python 3.11 or later can start it.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[3]
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_CONSTRAINTS = _CHECKOUT / "constraints.txt"

# onnx2torch, which AIMET needs, wants torchvision: its newest would bring another torch, and its CUDA packages.
_TORCH = ("torch==2.13.0", "torchvision==0.28.0")


def main() -> int:
    """Run both parts; return 1 if either found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default="500")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    python = str(_environment(_CHECKOUT / ".conformance" / "venv-aimet"))
    package = "tests.conformance.aimet"
    commands = (
        [python, "-m", f"{package}.differential", "--pairs", options.pairs, "--seed", options.seed],
        [python, "-m", f"{package}.loader"],
    )
    return max([subprocess.run(command, cwd=_CHECKOUT).returncode for command in commands])


def _environment(folder: Path) -> Path:
    """Return the Python of a virtual environment; nothing is installed again until something required changes."""
    python = folder / "bin" / "python"
    wanted = [path.read_bytes() for path in (_REQUIREMENTS, _CONSTRAINTS, _CHECKOUT / "pyproject.toml")]
    fingerprint = hashlib.sha256(b"\0".join([" ".join(_TORCH).encode(), *wanted])).hexdigest()
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == fingerprint:
        return python
    venv.create(folder, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(_CONSTRAINTS)]
    # Torch first and alone: what comes later must accept this version, not choose another.
    subprocess.run([*install, *_TORCH], check=True)
    subprocess.run([*install, "--requirement", str(_REQUIREMENTS), "--editable", f"{_CHECKOUT}[onnx]"], check=True)
    stamp.write_text(fingerprint, encoding="ascii")
    return python


if __name__ == "__main__":
    sys.exit(main())
