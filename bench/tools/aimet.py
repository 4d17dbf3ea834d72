"""aimet-onnx's calibration, for worker.py, in an environment that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from aimet_onnx import QuantizationSimModel
from aimet_onnx.common.defs import QuantScheme
from worker import Feed, serve

_SCHEMES = {
    "min-max": QuantScheme.min_max,
    "percentile": QuantScheme.post_training_percentile,
    "sqnr": QuantScheme.post_training_tf_enhanced,
}


def prepare(path: Path, method: str) -> Callable[[Feed], object]:
    """Build the simulation.  A percentile is AIMET's own default unless it is set, and costs the same."""
    sim = QuantizationSimModel(onnx.load(path), quant_scheme=_SCHEMES[method], providers=["CPUExecutionProvider"])
    return lambda feed: sim.compute_encodings(feed())


if __name__ == "__main__":
    serve(prepare)
