"""Entry point: prepare an environment with AIMET and qsimc, then hold the one against the other.

    python tests/conformance/aimet/run.py [--pairs N] [--seed S]

Only the standard library is used here, so that any Python 3.11 or later can start it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(_CHECKOUT))

from tests.conformance.environment import environment  # noqa: E402

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
    constrained = ("--constraint", str(_CONSTRAINTS))
    # Torch first and alone: what comes later must accept this version, not choose another.
    steps = (
        (*constrained, *_TORCH),
        (*constrained, "--requirement", str(_REQUIREMENTS), "--editable", f"{_CHECKOUT}[onnx]"),
    )
    files = (_REQUIREMENTS, _CONSTRAINTS, _CHECKOUT / "pyproject.toml")
    python = str(environment(_CHECKOUT / ".conformance" / "venv-aimet", steps, files))
    package = "tests.conformance.aimet"
    commands = (
        [python, "-m", f"{package}.differential", "--pairs", options.pairs, "--seed", options.seed],
        [python, "-m", f"{package}.loader"],
    )
    return max([subprocess.run(command, cwd=_CHECKOUT).returncode for command in commands])


if __name__ == "__main__":
    sys.exit(main())
