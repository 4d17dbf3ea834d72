"""Reports for tests, and the documents that they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding
from qsimc.graph import Graph
from qsimc.ir.quant import Calib, Numeric, QuantSpec, Round
from qsimc.planning.plan import Decision, Kind, Mode, Plan, Reason, TensorPlan
from qsimc.report.data import About, Metric, ReportData, Sizes
from qsimc.report.rows import report_data
from qsimc.source import Source, Span

SOURCE = Source("cfg.json", '{\n  "bits": 8\n}\n')

WRITTEN = Reason("*[act]: bits=8", Span(SOURCE, 4, 10), "`relu` is an activation")

EARLIER = Reason("*: bits=4", Span(SOURCE, 0, 1))

BUILT_IN = Reason("aimet-grid-preserving", None, "MaxPool moves values")

ABOUT = About(title="m.onnx", config="cfg.json", model="m.onnx", version="1.2.3", samples=8)


@dataclass(frozen=True)
class Values:
    """The values themselves as a sketch: exact."""

    values: NDArray[np.float64]

    @property
    def low(self) -> float:
        return float(self.values.min(initial=np.inf))

    @property
    def high(self) -> float:
        return float(self.values.max(initial=-np.inf))

    def sqnr(self, encoding: Encoding) -> float:
        scale, zero_point = encoding.scale[0], encoding.zero_point[0]
        q = np.clip(np.rint(self.values / scale) + zero_point, encoding.qmin, encoding.qmax)
        noise = np.square((q - zero_point) * scale - self.values).sum()
        signal = np.square(self.values).sum()
        return float(10 * np.log10(signal / noise)) if noise else (math.inf if signal else math.nan)

    def density(self, low: float, high: float, bins: int) -> NDArray[np.float64]:
        return np.histogram(self.values, bins, (low, high))[0].astype(np.float64)


def tensor(name: str, kind: Kind = Kind.ACTIVATION, *, enabled: bool = True, shares: str | None = None) -> TensorPlan:
    spec = QuantSpec(
        enabled=enabled, type=Numeric.INT, bits=8, symmetric=False, calib=Calib.MINMAX, round=Round.HALF_EVEN
    )
    because = {"enabled": BUILT_IN, "bits": WRITTEN, "symmetric": WRITTEN, "percentile": WRITTEN}
    history = (
        Decision("symmetric", False, EARLIER),
        Decision("bits", 4, EARLIER),
        Decision("bits", 8, WRITTEN),
        Decision("symmetric", False, WRITTEN),
    )
    return TensorPlan(
        tensor=name,
        kind=kind,
        role="output",
        node="/n",
        op="Relu",
        spec=spec,
        shares=shares,
        because=because,
        history=history,
    )


def encoding(scale: float = 1 / 64, zero_point: int = 128) -> Encoding:
    return Encoding(np.array([scale]), np.array([zero_point]), 0, 255, 8, symmetric=False)


def channelwise(*scales: float) -> Encoding:
    zeros = np.zeros(len(scales), np.int64)
    return Encoding(np.array(scales), zeros, -128, 127, 8, symmetric=True, axis=0)


def report(
    *tensors: TensorPlan,
    encodings: Mapping[str, Encoding] | None = None,
    values: Mapping[str, NDArray[np.float64]] | None = None,
    about: About = ABOUT,
) -> ReportData:
    plan = Plan(
        graph=Graph("g", (), {}, (), ()), tensors={t.tensor: t for t in tensors}, dialect="aimet", mode=Mode.FIXED
    )
    sketches = {name: Values(array) for name, array in (values or {}).items()}
    return report_data(
        plan, encodings or {}, sketches, about, sizes=Sizes(1000, 250), metrics=[Metric("Top-1", 99, 98)]
    )
