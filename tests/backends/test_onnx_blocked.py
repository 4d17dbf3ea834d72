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
from onnx.helper import make_node, make_opsetid
from qsimc_onnx.blocked import DOMAIN, keep_blocked
from qsimc_onnx.session import FAILURES, expose, quiet_options

from qsimc import native
from tests.backends.onnx_models import data, model_of, needs_kernels, outputs_of, value

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
    keep_blocked(after, inside=False)
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
    for inside in (False, native.kernels() is not None):
        after = ModelProto.FromString(before.SerializeToString())
        keep_blocked(after, inside=inside)
        x = data((2, 3, 8, 8), 7)
        for one, other in zip(outputs_of(before, x), outputs_of(after, x), strict=True):
            np.testing.assert_array_equal(one, other)


NUMBERS = {"b": data((1, CHANNELS, 1, 1), 3), "s": data((CHANNELS, 1, 1), 4)}
BIAS_AND_SCALE = [make_node("Add", ["b", "c"], ["m"]), make_node("Mul", ["m", "s"], ["d"])]


@needs_kernels
def test_numbers_per_channel_need_no_conversion_where_the_kernels_are(tmp_path: Path) -> None:
    before = optimised(network(BIAS_AND_SCALE, NUMBERS), ["c", "m", "d"], tmp_path)
    if not conversions(before):
        pytest.skip("onnxruntime has no blocked layout for this processor")
    after = ModelProto.FromString(before.SerializeToString())
    keep_blocked(after, inside=True)
    assert conversions(before)["ReorderInput"] > conversions(after)["ReorderInput"]
    x = data((2, 3, 8, 8), 7)
    for one, other in zip(outputs_of(before, x), outputs_of(after, x), strict=True):
        np.testing.assert_array_equal(one, other)


def by_channel(op: str, block: int, x: NDArray[Any], channels: NDArray[Any]) -> NDArray[Any]:
    """Return what the kernels' operator makes, in a session of its own."""
    node = make_node(op, ["x", "n"], ["y"], domain=native.DOMAIN, block=block)
    proto = model_of([node], [value("x", [None] * x.ndim)], [value("y", [None] * x.ndim)], {"n": channels})
    proto.opset_import.append(make_opsetid(native.DOMAIN, 1))
    return outputs_of(proto, x)[0]


@needs_kernels
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("block", [1, 4, 8, 16])
@pytest.mark.parametrize("shape", [(2, 48, 7, 5), (1, 16, 1, 1), (3, 16), (2, 32, 0, 4), (1, 32, 40, 50)])
def test_numbers_meet_the_channels_that_lie_together(op: str, block: int, shape: tuple[int, ...]) -> None:
    x, numbers = data(shape), data((shape[1],), 5)
    beside = numbers.reshape(1, -1, *([1] * (len(shape) - 2)))
    expected = x + beside if op == "Add" else x * beside
    # In the blocked layout the channels of a block are the last dimension.
    inner = tuple(range(3, len(shape) + 1))
    split = (shape[0], shape[1] // block, block, *shape[2:])
    laid = np.ascontiguousarray(x.reshape(split).transpose(0, 1, *inner, 2)).reshape(shape)
    found = by_channel(op, block, laid, numbers)
    back = found.reshape(shape[0], shape[1] // block, *shape[2:], block).transpose(
        0, 1, len(shape), *range(2, len(shape))
    )
    np.testing.assert_array_equal(back.reshape(shape), expected)


@needs_kernels
@pytest.mark.parametrize(
    ("block", "shape", "numbers"), [(5, (1, 8, 2), 8), (8, (1, 8, 2), 4), (0, (1, 8), 8), (1, (8,), 8)]
)
def test_what_does_not_fit_the_channels_is_refused(block: int, shape: tuple[int, ...], numbers: int) -> None:
    with pytest.raises(FAILURES, match="not a number for each channel"):
        by_channel("Add", block, data(shape), data((numbers,)))
