"""Elementwise operators on tensors in onnxruntime's blocked layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.helper import make_node
from qsimc_onnx.blocked import DOMAIN, keep_blocked
from qsimc_onnx.session import expose, quiet_options

from tests.backends.onnx_models import data, model_of, value

CHANNELS = 32


def conv(x: str, y: str, weight: str) -> Any:
    return make_node("Conv", [x, weight], [y], kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def optimised(proto: ModelProto, outputs: list[str], folder: Path) -> ModelProto:
    """Return what onnxruntime makes of a model with more outputs."""
    expose(proto, outputs)
    options = quiet_options()
    options.optimized_model_filepath = str(folder / "o.onnx")
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return onnx.load(folder / "o.onnx")


def outputs_of(proto: ModelProto, x: NDArray[Any]) -> list[NDArray[Any]]:
    options = quiet_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: list[NDArray[Any]] = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})
    return found


def conversions(proto: ModelProto) -> Counter[str]:
    return Counter(n.op_type for n in proto.graph.node if n.domain == DOMAIN and n.op_type.startswith("Reorder"))


def network(between: list[Any], constants: dict[str, NDArray[Any]], channels: int = CHANNELS) -> ModelProto:
    """Return a convolution, what is between, from `c` to `d`, and another convolution."""
    weights = {"w1": data((channels, 3, 3, 3)), "w2": data((channels, channels, 3, 3), 1)}
    nodes = [conv("x", "c", "w1"), *between, conv("d", "y", "w2")]
    return model_of(nodes, [value("x", ["n", 3, 8, 8])], [value("y", ["n", channels, 8, 8])], {**weights, **constants})


ALONE = [make_node("Clip", ["c", "low", "high"], ["d"])]
CHAIN = [
    make_node("Mul", ["c", "two"], ["m"]),
    make_node("Clip", ["m", "low", "high"], ["l"]),
    make_node("Mul", ["l", "c"], ["d"]),
]
SCALARS = {"two": np.full((1, 1, 1), 2, np.float32), "low": np.array(-1, np.float32), "high": np.array(0.5, np.float32)}


@pytest.mark.parametrize(("between", "observed"), [(ALONE, ["c", "d"]), (CHAIN, ["c", "m", "l", "d"])])
def test_what_stands_between_convolutions_needs_no_conversion(
    between: list[Any], observed: list[str], tmp_path: Path
) -> None:
    before = optimised(network(between, SCALARS), observed, tmp_path)
    if not conversions(before):
        pytest.skip("onnxruntime has no blocked layout for this processor")
    after = ModelProto.FromString(before.SerializeToString())
    keep_blocked(after)
    assert conversions(before)["ReorderInput"] > conversions(after)["ReorderInput"]
    x = data((2, 3, 8, 8), 7)
    for one, other in zip(outputs_of(before, x), outputs_of(after, x), strict=True):
        np.testing.assert_array_equal(one, other)


BROADCAST = [make_node("GlobalAveragePool", ["c"], ["g"]), make_node("Mul", ["c", "g"], ["d"])]
PER_CHANNEL = [make_node("Mul", ["c", "s"], ["d"])]
FIVE = [make_node("Mul", ["c", "f"], ["e"]), make_node("Reshape", ["e", "shape"], ["d"])]
SHAPE = {"shape": np.array([-1, CHANNELS, 8, 8]), "f": np.full((1,) * 5, 3, np.float32)}


@pytest.mark.parametrize(
    ("between", "constants", "channels"),
    [
        (BROADCAST, {}, CHANNELS),
        (PER_CHANNEL, {"s": data((1, CHANNELS, 1, 1))}, CHANNELS),
        (FIVE, SHAPE, CHANNELS),
        (ALONE, SCALARS, 24),
        (ALONE, SCALARS, 20),
    ],
    ids=["broadcast", "per channel", "more dimensions", "24 channels", "20 channels"],
)
def test_what_depends_on_the_order_of_values_stays_as_it_is(
    between: list[Any], constants: dict[str, Any], channels: int, tmp_path: Path
) -> None:
    before = optimised(network(between, constants, channels), ["c", "d"], tmp_path)
    after = ModelProto.FromString(before.SerializeToString())
    keep_blocked(after)
    x = data((2, 3, 8, 8), 7)
    for one, other in zip(outputs_of(before, x), outputs_of(after, x), strict=True):
        np.testing.assert_array_equal(one, other)
