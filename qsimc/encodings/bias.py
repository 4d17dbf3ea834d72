"""Int32 biases: not calibrated, but given by what they are added to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.accumulator import Constant, carrier, linears
from qsimc.calibrate.aimet_ranges import minimum_scale
from qsimc.encodings.entry import Entry, Granularity, Section
from qsimc.ir.quant import Numeric
from qsimc.planning.plan import Plan
from qsimc.spec.ops import operators

BITS = 32
_SMALLEST = minimum_scale(2**BITS - 1)
_NORMS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization")
_RECURRENT = ("RNN", "GRU", "LSTM")


def biases(plan: Plan, known: Mapping[str, Entry], constant: Constant) -> dict[str, Entry]:
    """Return the int32 entries of biases that have none of their own, beside weights that have one.

    A linear operator's bias is in steps of its accumulator, input scale x weight scale, so that adding it is
    free.  Where there is no such scale, and in norms and recurrent operators, the bias fills int32: its scale is
    |b| / 2^31, at least AIMET's smallest.

    Source: files exported by aimet_onnx 2.42.0; which operators fall back, from its source.
    """
    found: dict[str, Entry] = {}
    for linear in linears(plan.graph):
        bias, weight = linear.bias, known.get(linear.weight)
        if bias is None or weight is None or not _open(plan, bias, known):
            continue
        source = carrier(plan.graph, linear.input, known)
        scale = None if source is None else np.multiply(weight.scale, known[source].scale[0])
        values = np.abs(np.asarray(constant(bias), dtype=np.float64)).reshape(-1)
        per_channel = weight.granularity is not Granularity.TENSOR
        if scale is None or len(scale) != (values.size if per_channel else 1):
            scale = _filling(values, per_channel=per_channel)
        found.setdefault(bias, _entry(bias, scale, per_channel=per_channel))
    return found | _filling_biases(plan, known, constant)


def _filling_biases(plan: Plan, known: Mapping[str, Entry], constant: Constant) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for node in plan.graph.nodes:
        if node.op not in (*_NORMS, *_RECURRENT) or node.domain:
            continue
        places = operators()[node.op].params
        weight, bias = (_input(node.inputs, places.get(role)) for role in ("weight", "bias"))
        tensor = plan.graph.tensors.get(bias)
        if weight not in known or tensor is None or not tensor.constant or not _open(plan, bias, known):
            continue
        values = np.abs(np.asarray(constant(bias), dtype=np.float64)).reshape(-1)
        # A recurrent operator's bias has two axes, and no scale per channel.
        per_channel = known[weight].granularity is not Granularity.TENSOR and node.op in _NORMS
        found[bias] = _entry(bias, _filling(values, per_channel=per_channel), per_channel=per_channel)
    return found


def _input(inputs: tuple[str, ...], position: int | None) -> str:
    return inputs[position] if position is not None and position < len(inputs) else ""


def _open(plan: Plan, bias: str, known: Mapping[str, Entry]) -> bool:
    """Say whether a bias may get an int32 entry: it has none, and is not meant to be a float."""
    planned = plan.tensors.get(bias)
    return bias not in known and (planned is None or planned.spec.type in (None, Numeric.INT))


def _filling(values: NDArray[np.float64], *, per_channel: bool) -> NDArray[np.float64]:
    scale: NDArray[np.float64] = np.maximum(values / 2 ** (BITS - 1), _SMALLEST)
    return scale if per_channel else np.array([scale.max(initial=_SMALLEST)])


def _entry(bias: str, scale: NDArray[np.float64], *, per_channel: bool) -> Entry:
    return Entry(
        name=bias,
        section=Section.PARAM,
        bits=BITS,
        scale=tuple(np.asarray(scale, dtype=np.float64).tolist()),
        offset=(-(2.0 ** (BITS - 1)),) * len(scale),
        signed=True,
        symmetric=True,
        granularity=Granularity.CHANNEL if per_channel else Granularity.TENSOR,
        axis=0 if per_channel else None,
    )
