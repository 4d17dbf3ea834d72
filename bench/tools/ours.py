"""qsimc's calibration, for worker.py.  `QSIMC_NATIVE=0` in the environment switches to its pure Python."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from worker import Feed, serve

import qsimc
from qsimc.backend import load_backend
from qsimc.pipeline.calibrate import calibrate
from qsimc.pipeline.plan import opened

CONFIG = "aimet:default"
_CALIBS = {"min-max": "minmax", "vendor sqnr": "sqnr"}


def prepare(path: Path, method: str) -> Callable[[Feed], object]:
    """Plan the model and open it."""
    mode = "vendor" if method.startswith("vendor") else "fixed"
    plan = qsimc.plan(CONFIG, str(path), calib=_CALIBS.get(method, method), mode=mode)
    backend, stack = load_backend("onnx"), ExitStack()
    model = stack.enter_context(opened(str(path), print, backend))
    assert model is not None, "the model cannot be opened"

    def run(feed: Feed) -> None:
        with stack:
            calibrate(backend, model, plan, feed(), lambda _: None)

    return run


if __name__ == "__main__":
    serve(prepare)
