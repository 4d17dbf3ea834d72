"""Laws of encodings: what holds for every range, grid and arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.observers import encode
from qsimc.calibrate.ranges import encode_range, fixed_range
from qsimc.ir.quant import Numeric, QuantSpec, ScaleKind

NUMERICS: tuple[Numerics, ...] = ("onnx", "aimet", "aimet-torch")

numerics_ = st.sampled_from(NUMERICS)
specs = st.builds(
    QuantSpec,
    bits=st.integers(2, 16),
    symmetric=st.booleans(),
    narrow_range=st.booleans(),
    unsigned_symmetric=st.booleans(),
).filter(lambda spec: not (spec.narrow_range and spec.unsigned_symmetric))  # AIMET refuses both
reals = st.floats(-(2.0**100), 2.0**100, width=32)
ranges = st.tuples(reals, reals).map(lambda pair: (min(pair), max(pair)))


def encoded(bounds: tuple[float, float], spec: QuantSpec, numerics: Numerics) -> Encoding:
    return encode_range(np.array([bounds[0]]), np.array([bounds[1]]), spec, numerics)


@given(ranges, specs, numerics_)
def test_zero_costs_nothing(bounds: tuple[float, float], spec: QuantSpec, numerics: Numerics) -> None:
    assert encoded(bounds, spec, numerics).fake_quantize(np.zeros(1))[0] == 0


@given(st.tuples(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False)), specs, numerics_)
def test_scales_are_positive_and_finite(bounds: tuple[float, float], spec: QuantSpec, numerics: Numerics) -> None:
    encoding = encoded((min(bounds), max(bounds)), spec, numerics)
    assert 0 < encoding.scale[0] < np.inf
    assert encoding.qmin <= encoding.zero_point[0] <= encoding.qmax


@given(ranges, specs, numerics_, st.floats(0, 1))
def test_inside_the_range_the_error_is_at_most_half_a_step(
    bounds: tuple[float, float], spec: QuantSpec, numerics: Numerics, share: float
) -> None:
    """For every arithmetic, up to float32 rounding: each of the grid's steps may be off by 2^-22 of itself."""
    encoding = encoded(bounds, spec, numerics)
    low, high = encoding.min[0], encoding.max[0]
    value = np.array([low + share * (high - low)], np.float32)
    slack = 0.5 + 2.0**-22 * (encoding.qmax - encoding.qmin)
    error = np.abs(encoding.fake_quantize(value).astype(np.float64) - value)[0]
    assert error <= slack * encoding.scale[0]


@given(ranges, specs)
def test_observed_values_stay_within_a_step_of_the_range(bounds: tuple[float, float], spec: QuantSpec) -> None:
    """A range moves by half a step at most so that zero is on the grid.

    With 2 bits and zero in the middle, AIMET makes the scale as if the grid reached a step further, hence `onnx`.
    """
    encoding = encoded(bounds, spec, "onnx")
    step = encoding.scale[0] * 0.501
    assert encoding.min[0] - step <= bounds[0]
    assert bounds[1] <= encoding.max[0] + step


@given(ranges, specs, numerics_, st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_fake_quantizing_twice_is_fake_quantizing_once(
    bounds: tuple[float, float], spec: QuantSpec, numerics: Numerics, values: list[float]
) -> None:
    encoding = encoded(bounds, spec, numerics)
    once = encoding.fake_quantize(np.array(values, np.float32))
    np.testing.assert_array_equal(encoding.fake_quantize(once), once)


@given(ranges, specs, numerics_, st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_fake_quantizing_is_quantizing_and_dequantizing(
    bounds: tuple[float, float], spec: QuantSpec, numerics: Numerics, values: list[float]
) -> None:
    encoding = encoded(bounds, spec, numerics)
    integers = encoding.quantize(np.array(values, np.float32))
    assert encoding.qmin <= integers.min() <= integers.max() <= encoding.qmax
    np.testing.assert_array_equal(encoding.dequantize(integers), encoding.fake_quantize(np.array(values, np.float32)))


@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_do_not_see_each_other(numerics: Numerics, axis: int) -> None:
    values = np.random.default_rng(3).normal(size=(3, 4, 5)).astype(np.float32)
    spec = QuantSpec(bits=8, symmetric=True)
    together = encode([values], spec, axis=axis, numerics=numerics)
    assert together.axis == axis % 3
    for channel in range(values.shape[axis]):
        own = np.take(values, channel, axis)
        alone = encode([own], spec, numerics=numerics)
        assert together.scale[channel] == alone.scale[0]
        np.testing.assert_array_equal(np.take(together.fake_quantize(values), channel, axis), alone.fake_quantize(own))


@pytest.mark.parametrize(
    ("spec", "low", "high", "scale", "zero_point", "grid"),
    [
        (QuantSpec(bits=8), 0.0, 255.0, 1.0, 0, (0, 255)),
        (QuantSpec(bits=8), -1.0, 254.0, 1.0, 1, (0, 255)),
        (QuantSpec(bits=8), 2.0, 4.0, 4 / 255, 0, (0, 255)),  # widened down to zero
        (QuantSpec(bits=2), -3.0, -1.0, 1.0, 3, (0, 3)),  # widened up to zero
        (QuantSpec(bits=8), 0.0, 0.0, 1 / 255, 0, (0, 255)),  # nothing but zeros
        (QuantSpec(bits=8), 0.0, 1e-42, 1 / 255, 0, (0, 255)),  # the scale would be denormal
        (QuantSpec(bits=8, signed=True), 0.0, 255.0, 1.0, -128, (-128, 127)),
        (QuantSpec(bits=8, symmetric=True), -1.0, 127.0, 1.0, 0, (-128, 127)),
        (QuantSpec(bits=8, symmetric=True), -128.0, 1.0, 1.0, 0, (-128, 127)),
        (QuantSpec(bits=8, symmetric=True, signed=False), -128.0, 1.0, 1.0, 128, (0, 255)),
        (QuantSpec(bits=8, symmetric=True, narrow_range=True), -127.0, 1.0, 1.0, 0, (-127, 127)),
        (QuantSpec(bits=8, symmetric=True, unsigned_symmetric=True), 0.0, 255.0, 1.0, 0, (0, 255)),
        (QuantSpec(bits=8, symmetric=True, unsigned_symmetric=True), -1.0, 127.0, 1.0, 0, (-128, 127)),
        (QuantSpec(bits=8, symmetric=True, scale=ScaleKind.POW2), -1.0, 65.0, 1.0, 0, (-128, 127)),
    ],
)
def test_onnx_grids(
    spec: QuantSpec, low: float, high: float, scale: float, zero_point: int, grid: tuple[int, int]
) -> None:
    encoding = encoded((low, high), spec, "onnx")
    assert (encoding.qmin, encoding.qmax) == grid
    assert encoding.zero_point[0] == zero_point
    assert encoding.scale[0] == np.float32(scale)


def test_infinite_ranges_end_at_finite_grid_points() -> None:
    for bits in (2, 8, 16):
        encoding = encoded((-np.inf, np.inf), QuantSpec(bits=bits), "onnx")
        assert np.isfinite(encoding.fake_quantize(np.array([-np.inf, 0.0, np.inf]))).all()


def test_one_stated_bound_holds_and_data_gives_the_other() -> None:
    batch = np.array([-3.0, 8.0], np.float32)
    encoding = encode([batch], QuantSpec(bits=8, range=(0.0, None)))
    assert (encoding.min[0], encoding.max[0]) == (0.0, pytest.approx(8.0, abs=encoding.scale[0]))
    encoding = encode([batch], QuantSpec(bits=8, range=(None, 6.0)))
    assert encoding.min[0] == pytest.approx(-3.0, abs=encoding.scale[0])
    assert encoding.max[0] == pytest.approx(6.0, abs=encoding.scale[0])


def test_a_stated_range_needs_no_data() -> None:
    assert encode([], QuantSpec(range=(0.0, 6.0))).max[0] == pytest.approx(6.0)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (None, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_fixed_range_is_a_finite_interval(bounds: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="range"):
        fixed_range(QuantSpec(bits=8, range=bounds))


@pytest.mark.parametrize("spec", [QuantSpec(type=Numeric.FLOAT, bits=16), QuantSpec(type=Numeric.BFLOAT, bits=16)])
def test_a_cast_has_no_encoding(spec: QuantSpec) -> None:
    with pytest.raises(ValueError, match="cast"):
        encode([np.ones(3)], spec)


@settings(max_examples=20)
@given(
    st.integers(0, 255),
    st.floats(2.0**-60, 2.0**60, width=32),
    st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=64),
)
def test_onnx_numerics_are_those_of_onnxruntime(zero_point: int, scale: float, steps: list[float]) -> None:
    values = np.array([*steps, 0.5, -0.5, 1.5, np.inf, -np.inf, np.nan], np.float32) * np.float32(scale)
    encoding = Encoding(np.array([scale]), np.array([zero_point]), 0, 255, 8, symmetric=False)
    integers, reals = _session().run(
        None, {"x": values, "s": np.array(scale, np.float32), "z": np.array(zero_point, np.uint8)}
    )
    np.testing.assert_array_equal(encoding.quantize(values), integers)
    np.testing.assert_array_equal(encoding.fake_quantize(values).view(np.int32), reals.view(np.int32))


def _session() -> ort.InferenceSession:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("z", TensorProto.UINT8, []),
    ]
    outputs = [
        helper.make_tensor_value_info("q", TensorProto.UINT8, ["n"]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"]),
    ]
    graph = helper.make_graph(nodes, "round-trip", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
