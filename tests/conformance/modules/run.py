"""Entry point: hold generated PyTorch modules against the models that they were generated of.

    python tests/conformance/modules/run.py [MODEL...]

Only the standard library is used here, so that any Python 3.11 or later can start it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(_CHECKOUT))

from tests.conformance.run import environment  # noqa: E402


def main() -> int:
    """Run `tests.conformance.modules.job` in the environment of `make conformance`; return its exit status."""
    python = environment(_CHECKOUT / ".conformance" / "venv")
    command = [str(python), "-W", "ignore", "-m", "tests.conformance.modules.job", *sys.argv[1:]]
    return subprocess.run(command, cwd=_CHECKOUT).returncode


if __name__ == "__main__":
    sys.exit(main())
