"""Config and model to an instrumented model that is not calibrated yet."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from qsimc.diagnostics import Diagnostic
from qsimc.ir.config import Config
from qsimc.outputs import staged
from qsimc.pipeline.locking import session_lock, write_lock
from qsimc.pipeline.plan import Choices, session
from qsimc.planning.plan import Plan


def build(
    config: Config | str | PathLike[str],
    *,
    model: str | PathLike[str],
    out: str | PathLike[str],
    chosen: Choices,
    format: str | None = None,
    backend: str = "onnx",
    standalone: bool = False,
    force: bool = False,
) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """Write a model with one named quantizer per planned tensor into a folder; return the plan and the findings.

    Raises:
        InputError: something is wrong with the inputs; `out` is untouched.
    """
    with (
        session(config, model, chosen, format=format, backend=backend) as made,
        staged(Path(out), force=force) as stage,
    ):
        made.backend.build(made.model, made.plan, stage, standalone=standalone)
        write_lock(stage, session_lock(made, chosen, Path(out)))
        return made.plan, made.findings
