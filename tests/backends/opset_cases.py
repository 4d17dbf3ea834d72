"""Models of old operator sets for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.helper import make_node
from qsimc_onnx.build import build
from qsimc_onnx.export import export
from qsimc_onnx.session import run

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic
from qsimc.ir.quant import QuantSpec
from tests.backends.onnx_models import INT8, data, encoding, model_of, opened, plan_of, value

LOADS = 13


@dataclass(frozen=True)
class Case:
    """Nodes from `x` to `y` in the form that operators had in versions `first` to `last`."""

    nodes: Sequence[NodeProto]
    first: int
    last: int
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    shape: tuple[int, ...] = (2, 3, 4, 4)
    declared: tuple[int | None, ...] | None = None

    def model(self, version: int, dtype: int = TensorProto.FLOAT) -> ModelProto:
        inputs = [value("x", self.declared or self.shape, dtype)]
        output = helper.make_tensor_value_info("y", dtype, None)
        proto = model_of(self.nodes, inputs, [output], self.constants, version)
        return onnx.shape_inference.infer_shapes(proto)


def node(op: str, *inputs: str, **attributes: Any) -> NodeProto:
    """Return a node from `x` and others to `y`; it has no name, as in many old models."""
    return make_node(op, ["x", *inputs], ["y"], **attributes)


def _channels() -> dict[str, NDArray[Any]]:
    return {
        name: np.abs(data((3,), seed)) + np.float32(0.5) for seed, name in enumerate(("gain", "bias", "mean", "var"))
    }


def scales(height: float, width: float) -> dict[str, NDArray[Any]]:
    return {"s": np.array([1, 1, height, width], np.float32), "none": np.zeros(0, np.float32)}


WHERE: Mapping[str, NDArray[Any]] = {"where": np.zeros((2, 1, 4, 4), np.int64), "what": data((2, 1, 4, 4))}

SIZES: Mapping[str, NDArray[Any]] = {"none": np.zeros(0, np.float32), "sizes": np.array([2, 3, 5, 9])}

CASES: Mapping[str, Case] = {
    "batch norm": Case([node("BatchNormalization", "gain", "bias", "mean", "var", spatial=1)], 7, 8, _channels()),
    "clip": Case([node("Clip", min=-0.5, max=0.75)], 7, 10),
    "clip below": Case([node("Clip", min=0.0)], 7, 10),
    "clip nothing": Case([node("Clip")], 7, 10),
    "dropout": Case([make_node("Dropout", ["x"], ["y", "mask"], ratio=0.4)], 7, 11),
    "dropout by default": Case([node("Dropout")], 7, 11),
    "log softmax": Case([node("LogSoftmax", axis=1)], 7, 12),
    "max pool": Case([node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])], 7, 12),
    "pad": Case([node("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=1.5)], 7, 10),
    "pad by reflection": Case([node("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")], 7, 10),
    "reduce sum": Case([node("ReduceSum", axes=[1, 2], keepdims=0)], 7, 12),
    "reduce sum of all": Case([node("ReduceSum")], 7, 12),
    "scatter": Case([node("Scatter", "where", "what", axis=1)], 9, 10, WHERE),
    "slice": Case([node("Slice", starts=[1, -3], ends=[3, -1], axes=[1, 3])], 7, 9),
    "slice of the first axes": Case([node("Slice", starts=[0, 1], ends=[1, 3])], 7, 9),
    "softmax by default": Case([node("Softmax")], 7, 12),
    "softmax of one axis": Case([node("Softmax", axis=3)], 7, 12),
    "softmax from the end": Case([node("Softmax", axis=-1)], 11, 12),
    "softmax of two axes": Case([node("Softmax", axis=2)], 7, 12),
    "hardmax": Case([node("Hardmax", axis=1)], 7, 12),
    "softmax of unknown shape": Case([node("Softmax", axis=1)], 7, 12, declared=(None, None, None, None)),
    "split": Case([make_node("Split", ["x"], ["a", "y"], split=[1, 2], axis=1)], 7, 12),
    "split in halves": Case([make_node("Split", ["x"], ["a", "y"], axis=2)], 7, 12),
    "squeeze": Case([node("Squeeze", axes=[1])], 7, 12, shape=(2, 1, 4)),
    "squeeze all": Case([node("Squeeze")], 7, 12, shape=(2, 1, 4)),
    "top k": Case([make_node("TopK", ["x"], ["y", "where"], k=2, axis=1)], 7, 9),
    "unsqueeze": Case([node("Unsqueeze", axes=[0, 2])], 7, 12),
    "upsample": Case([node("Upsample", mode="nearest", scales=[1.0, 1.0, 2.0, 2.5])], 7, 8),
    "linear upsample": Case([node("Upsample", mode="linear", scales=[1.0, 1.0, 2.0, 2.5])], 7, 8),
    "upsample by input": Case([node("Upsample", "s", mode="nearest")], 9, 9, scales(3, 2)),
    "linear upsample by input": Case([node("Upsample", "s", mode="linear")], 9, 9, scales(1.7, 2)),
    "resize up": Case([node("Resize", "s")], 10, 10, scales(1.5, 3), (1, 2, 7, 9)),
    "resize down": Case([node("Resize", "s")], 10, 10, scales(0.4, 0.7), (1, 2, 7, 9)),
    "linear resize": Case([node("Resize", "s", mode="linear")], 10, 10, scales(0.6, 1.5)),
    "resize to half pixels": Case([node("Resize", "none", "s", mode="linear")], 11, 12, scales(2, 1.5)),
    "resize to sizes": Case([node("Resize", "none", "none", "sizes", mode="nearest")], 11, 12, SIZES),
}


def shared(names: Sequence[str], *, scale: float = 0.02) -> dict[str, Encoding]:
    return {name: encoding(scale * (1 + 0.1 * i), 3) for i, name in enumerate(names)}


def check(
    proto: ModelProto,
    folder: Path,
    encodings: Mapping[str, Encoding],
    batch: Mapping[str, NDArray[Any]],
    casts: Mapping[str, QuantSpec] | None = None,
) -> tuple[ModelProto, list[Diagnostic]]:
    """Demand equality as written, and that both load optimised and run; return the QDQ model and the findings."""
    model = opened(proto, folder)
    plan = plan_of(model, dict.fromkeys(encodings, INT8) | dict(casts or {}))
    findings: list[Diagnostic] = []
    simulation = build(model, plan, folder, encodings)[0]
    deployed = export(model, plan, encodings, folder, findings.append)[0]
    onnx.checker.check_model(str(deployed))
    ((simulated,), (quantized,)) = (tuple(run(path, [dict(batch)], optimise=False)) for path in (simulation, deployed))
    assert list(simulated) == list(quantized)
    for name, values in simulated.items():
        assert values.tobytes() == quantized[name].tobytes(), name
        assert values.shape == quantized[name].shape
    for path in (simulation, deployed):
        (optimised,) = run(path, [dict(batch)])
        assert {n: v.shape for n, v in optimised.items()} == {n: v.shape for n, v in simulated.items()}
    return onnx.load(deployed), findings
