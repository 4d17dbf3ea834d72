"""Which observer serves which spec, and the encoding of a single tensor's stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.aimet_torch_histogram import AimetTorchHistogram
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.encoding import VITIS, Encoding, Numerics
from qsimc.calibrate.levels import Levels
from qsimc.calibrate.minmax import MinMax
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.ranges import fixed_range
from qsimc.calibrate.vitis_batches import VitisBatches
from qsimc.calibrate.vitis_rules import DEFAULTS as VITIS_DEFAULTS
from qsimc.calibrate.vitis_rules import FLOAT_CALIBRATIONS, POW2_CALIBRATIONS
from qsimc.ir.quant import Calib, Numeric, QuantSpec

DEFAULTS = QuantSpec(type=Numeric.INT, bits=8, symmetric=False, calib=Calib.MINMAX, percentile=99.99)
"""What `encode` takes for the fields that nobody said, unless the numerics are Vitis AI's, which have their own."""

AVAILABLE: dict[Numerics, tuple[Calib, ...]] = {
    "onnx": (Calib.MINMAX, Calib.SQNR, Calib.PERCENTILE, Calib.MSE, Calib.ENTROPY),
    "aimet": (Calib.MINMAX, Calib.SQNR, Calib.PERCENTILE),
    "aimet-torch": (Calib.MINMAX, Calib.SQNR, Calib.PERCENTILE),
    "vitis-dpu": POW2_CALIBRATIONS,
    "vitis-cpu": tuple(dict.fromkeys(POW2_CALIBRATIONS + FLOAT_CALIBRATIONS)),
}
"""The calibrations that each tool's numerics know."""


def observer_for(spec: QuantSpec, numerics: Numerics = "onnx", channels: int = 1) -> Observer:
    """Return an observer that has seen nothing, for a tensor with `channels` channels.

    Raises:
        ValueError: these numerics do not know the spec's calibration, or the numerics are unknown;
            the message names the choices.
    """
    if numerics not in AVAILABLE:
        raise ValueError(f"no numerics `{numerics}`; there are: {', '.join(AVAILABLE)}")
    calib = spec.calib or Calib.MINMAX
    if calib not in AVAILABLE[numerics]:
        choices = ", ".join(AVAILABLE[numerics])
        raise ValueError(f"calibration `{calib}` is not available under `{numerics}` numerics; choose from {choices}")
    if numerics in VITIS:
        return VitisBatches.empty(spec, numerics, channels)
    if calib == Calib.MINMAX:
        return MinMax.empty(channels, numerics)
    if numerics == "aimet":
        return AimetHistogram.empty(channels)
    if numerics == "aimet-torch":
        return AimetTorchHistogram(calib)
    return BitHistogram.empty(channels)


def encode(
    batches: Iterable[NDArray[Any]], spec: QuantSpec, *, axis: int | None = None, numerics: Numerics = "onnx"
) -> Encoding:
    """Return the encoding of one tensor, whose values come in batches.

    Args:
        batches: arrays of any shape; with `axis`, all with the same number of channels on it.
        spec: fields that nobody said are 8 bits, asymmetric, min-max (99.99 for a percentile), and
            under Vitis AI's numerics that tool's defaults.
        axis: the channel axis for one scale per channel, None for one scale.

    Raises:
        ValueError: there is no data (a range stated in full needs none, except to count channels),
            it holds NaN, or the spec is no integer spec that `numerics` can calibrate.
    """
    complete = spec.over(VITIS_DEFAULTS if numerics in VITIS else DEFAULTS)
    Levels.of(complete)
    if axis is None and complete.range is not None and None not in complete.range:
        return fixed_range(complete, numerics)
    observer: Observer | None = None
    for batch in batches:
        batch = np.asarray(batch)
        values = channels_first(batch, axis)
        observer = observer or observer_for(complete, numerics, len(values))
        observer = observer.observe(values)
        axis = None if axis is None else axis % batch.ndim
    if observer is None:
        raise ValueError("no batches to calibrate from")
    return observer.encoding(complete, axis)


def channels_first(values: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """Return `values` as shape (C, n): one row per channel on `axis`, one row of everything if that is None.

    Raises:
        ValueError: the array has no such axis.
    """
    if axis is None:
        return values.reshape(1, -1)
    if not -values.ndim <= axis < values.ndim:
        raise ValueError(f"channel axis {axis} of an array of shape {values.shape}")
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(moved.shape[0], -1)
