"""The report of a run: what calibration saw of each tensor, put together for the page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.backend import Model
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.sketch import Sketch as Sample
from qsimc.pipeline.calibrate import Calibration
from qsimc.pipeline.plan import Session
from qsimc.planning.plan import Kind
from qsimc.report.data import About, Sizes, Sketch
from qsimc.report.html import report_html
from qsimc.report.rows import report_data
from qsimc.version import VERSION


@dataclass(frozen=True)
class ConstantSketch:
    """A constant's own values, read when they are drawn: exact, and nothing is kept in between."""

    model: Model
    tensor: str

    @property
    def low(self) -> float:
        return float(self._extent[0])

    @property
    def high(self) -> float:
        return float(self._extent[1])

    @cached_property
    def _extent(self) -> tuple[float, float]:
        values = self._values()
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)

    def _values(self) -> NDArray[Any]:
        return np.asarray(self.model.constant(self.tensor), dtype=np.float32)

    def sqnr(self, encoding: Encoding) -> float:
        """Return signal power over quantization error power in dB: infinite if exact, NaN if all zero."""
        values = self._values()
        noise = float(np.square(encoding.fake_quantize(values) - values, dtype=np.float64).sum())
        signal = float(np.square(values, dtype=np.float64).sum())
        if signal == 0:
            return float("nan")
        return float("inf") if noise == 0 else float(10 * np.log10(signal / noise))

    def density(self, low: float, high: float, bins: int) -> NDArray[np.int64]:
        """Return how many values lie in each of `bins` equal parts of [low, high]."""
        return np.histogram(self._values(), bins=bins, range=(low, high))[0]


def run_report(made: Session, calibration: Calibration, *, quantized: Path, samples: int) -> str:
    """Return the report of a run as one HTML page."""
    sketches: dict[str, Sketch] = {}
    for t in made.plan.enabled():
        sample: Sample | None = calibration.sketches.get(t.tensor)
        if t.kind in (Kind.PARAM, Kind.CONSTANT):
            sketches[t.tensor] = ConstantSketch(made.model, t.tensor)
        elif sample is not None:
            sketches[t.tensor] = sample
    sizes = Sizes(original=made.backend.size(Path(made.model.path)), quantized=made.backend.size(quantized))
    about = _about(made, samples, "qsimc quantize")
    return report_html(report_data(made.plan, calibration.encodings, sketches, about, sizes=sizes))


def plan_page(made: Session) -> str:
    """Return a plan, before any calibration, as one HTML page."""
    return report_html(report_data(made.plan, {}, {}, _about(made, 0, "qsimc plan")))


def _about(made: Session, samples: int, created_by: str) -> About:
    return About(
        title=Path(made.model.path).name,
        config=made.config.source.path,
        model=made.reference,
        version=VERSION,
        samples=samples,
        created_by=created_by,
    )
