"""The virtual environments that tools are measured in, each made the first time it is needed; standard library only."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from tests.conformance.environment import environment  # noqa: E402

FOLDER = CHECKOUT / ".bench"
_CONSTRAINTS = CHECKOUT / "constraints.txt"

_TORCH = {
    "qsimc": ("torch==2.13.0",),
    "aimet-onnx": ("torch==2.13.0", "torchvision==0.28.0"),
    "aimet-torch": ("torch==2.13.0", "torchvision==0.28.0"),
    "onnxruntime": (),
    "torch": ("torch==2.13.0",),
}
"""What is installed first and alone: what comes later must accept these versions, not choose others."""


@cache
def python_of(name: str) -> str:
    """Return the Python of an environment, made again if what is asked of it has changed.

    Raises:
        KeyError: there is no such environment.
        CalledProcessError: pip could not install what it needs.
    """
    first = _TORCH[name]
    requirements = CHECKOUT / "bench" / "requirements" / f"{name}.txt"
    constrained = ("--constraint", str(_CONSTRAINTS))
    steps: list[tuple[str, ...]] = [(*constrained, *first)] if first else []
    files = [requirements, _CONSTRAINTS]
    if name == "qsimc":
        steps.append((*constrained, "--requirement", str(requirements), "--editable", f"{CHECKOUT}[all]"))
        files.append(CHECKOUT / "pyproject.toml")
    else:
        steps.append((*constrained, "--requirement", str(requirements)))
    return str(environment(FOLDER / f"venv-{name}", steps, files))
