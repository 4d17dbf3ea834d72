"""The calibrators that onnxruntime's `quantize_static` uses, for worker.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
from worker import Batch, Feed, serve

_METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class _Reader(CalibrationDataReader):
    def __init__(self, feed: Feed) -> None:
        self.batches = feed()

    def get_next(self) -> Batch | None:
        return next(self.batches, None)


def prepare(path: Path, method: str) -> Callable[[Feed], object]:
    """Augment the model and make the calibrator's session."""
    folder = TemporaryDirectory()
    augmented = str(Path(folder.name) / "augmented.onnx")
    calibrator = create_calibrator(path, augmented_model_path=augmented, calibrate_method=_METHODS[method])

    def run(feed: Feed) -> None:
        with folder:
            calibrator.collect_data(_Reader(feed))
            calibrator.compute_data()

    return run


if __name__ == "__main__":
    serve(prepare)
