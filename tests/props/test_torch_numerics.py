"""Fake quantization in PyTorch is `Encoding.fake_quantize`, bit for bit, and has the gradients of LSQ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from qsimc_torch.runtime import Cast, FakeQuantize

from qsimc.calibrate.casts import cast
from qsimc.calibrate.encoding import VITIS, Encoding, Numerics
from qsimc.ir.quant import Numeric, Round

GRIDS = [(-128, 127), (0, 255), (-127, 127), (0, 15), (-8, 7), (-32768, 32767), (-(2**31), 2**31 - 1)]


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    qmin, qmax = draw(st.sampled_from(GRIDS))
    axis = draw(st.sampled_from([None, 0, 1, -1]))
    channels = 1 if axis is None else 3
    scales = st.floats(2.0**-60, 2.0**40) | st.integers(-30, 20).map(lambda n: 2.0**n)
    return Encoding(
        scale=np.array(draw(st.lists(scales, min_size=channels, max_size=channels))),
        zero_point=np.array(draw(st.lists(st.integers(qmin, qmax), min_size=channels, max_size=channels)), np.int64),
        qmin=qmin,
        qmax=qmax,
        bits=8,
        symmetric=False,
        axis=axis,
        numerics=(numerics := draw(st.sampled_from(get_args(Numerics)))),
        rounding=draw(st.sampled_from(Round)) if numerics in VITIS else Round.HALF_EVEN,
    )


def quantizer_of(encoding: Encoding) -> FakeQuantize:
    made = FakeQuantize(
        "x",
        qmin=encoding.qmin,
        qmax=encoding.qmax,
        axis=encoding.axis,
        channels=len(encoding.scale),
        numerics=encoding.numerics,
        rounding=str(encoding.rounding),
    )
    made.encode(torch.from_numpy(encoding.scale), torch.from_numpy(encoding.zero_point))
    return made


def assert_same_bits(made: NDArray[Any], expected: NDArray[Any]) -> None:
    assert made.dtype == expected.dtype
    assert made.tobytes() == expected.tobytes()


floats = arrays.arrays(np.float32, (3, 3), elements=st.floats(width=32))
steps = arrays.arrays(np.float32, (3, 3), elements=st.integers(-600, 600).map(lambda n: n / 2))


@given(encodings(), floats, st.booleans())
def test_any_value_is_quantized_as_the_encoding_does(encoding: Encoding, values: NDArray[Any], trained: bool) -> None:
    with np.errstate(all="ignore"):
        expected = encoding.fake_quantize(values)
    made = quantizer_of(encoding)(torch.tensor(values, requires_grad=trained))
    assert_same_bits(made.detach().numpy(), expected)


@given(encodings(), steps, st.booleans())
def test_ties_are_rounded_as_the_encoding_does(encoding: Encoding, halves: NDArray[Any], trained: bool) -> None:
    with np.errstate(all="ignore"):
        values = (halves * encoding.scale[0]).astype(np.float32)
        expected = encoding.fake_quantize(values)
    made = quantizer_of(encoding)(torch.tensor(values, requires_grad=trained))
    assert_same_bits(made.detach().numpy(), expected)


@given(encodings(), steps)
def test_a_learned_range_quantizes_as_before(encoding: Encoding, halves: NDArray[Any]) -> None:
    values = torch.from_numpy((halves * encoding.scale[0]).astype(np.float32))
    quantizer = quantizer_of(encoding)
    before = quantizer(values)
    quantizer.learn_range()
    assert_same_bits(quantizer(values).detach().numpy(), before.numpy())


@given(floats)
def test_casts_are_those_of_the_other_backends(values: NDArray[Any]) -> None:
    for dtype, family in ((torch.float16, Numeric.FLOAT), (torch.bfloat16, Numeric.BFLOAT)):
        made = Cast("x", dtype=dtype)(torch.from_numpy(values)).numpy()
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(made, cast(values, family, 16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_quantized_in_float32_and_stay_what_they_are(dtype: torch.dtype) -> None:
    quantizer = quantizer_of(encoding_of(0.1, 0))
    values = torch.linspace(-2, 2, 9, dtype=dtype)
    made = quantizer(values)
    assert made.dtype == dtype
    assert torch.equal(made, quantizer(values.float()).to(dtype))


def encoding_of(scale: float, zero_point: int, numerics: Numerics = "onnx") -> Encoding:
    return Encoding(np.array([scale]), np.array([zero_point]), 0, 15, 4, False, numerics=numerics)


@pytest.mark.parametrize("numerics", get_args(Numerics))
def test_the_gradient_passes_inside_the_range_only(numerics: Numerics) -> None:
    quantizer = quantizer_of(encoding_of(0.5, 4, numerics))  # from -2.0 to 5.5
    values = torch.tensor([-3.0, -1.9, 0.2, 5.4, 6.0], requires_grad=True)
    quantizer(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("numerics", get_args(Numerics))
def test_scale_and_zero_point_have_the_gradients_of_lsq(numerics: Numerics) -> None:
    """Inside: round(x/s) - x/s for the scale, nothing for the zero point.  Outside: the end of the grid, and -s."""
    quantizer = quantizer_of(encoding_of(0.5, 4, numerics))
    quantizer.learn_range()
    for value, scale, zero_point in ((0.2, -0.4, 0.0), (0.4, 0.2, 0.0), (-3.0, -4.0, -0.5), (6.0, 11.0, -0.5)):
        quantizer.zero_grad()
        quantizer(torch.tensor([value])).sum().backward()
        assert quantizer.scale.grad is not None
        assert quantizer.zero_point.grad is not None
        assert quantizer.scale.grad.item() == pytest.approx(scale, abs=1e-5)
        assert quantizer.zero_point.grad.item() == pytest.approx(zero_point, abs=1e-5)


@st.composite
def learned_encodings(draw: st.DrawFn) -> Encoding:
    """Encodings of ordinary scales: a gradient is a sum in float32, whose terms are to be of a size."""
    found = draw(encodings())
    scales = draw(st.lists(st.floats(0.01, 10.0), min_size=len(found.scale), max_size=len(found.scale)))
    narrow = (found.qmin, found.qmax) if found.qmax < 2**8 else (-8, 7)
    return replace(
        found,
        scale=np.array(scales),
        zero_point=np.clip(found.zero_point, *narrow),
        qmin=narrow[0],
        qmax=narrow[1],
        numerics="onnx",
        rounding=Round.HALF_EVEN,
    )


positions = arrays.arrays(np.float32, (3, 3), elements=st.floats(-300, 300, width=32))
upstreams = arrays.arrays(np.float32, (3, 3), elements=st.integers(-3, 3).map(float))


def gradients(
    encoding: Encoding, values: NDArray[Any], upstream: NDArray[Any], *, lsq_scaling: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the gradients of scale and zero point."""
    quantizer = quantizer_of(encoding)
    quantizer.learn_range(lsq_scaling=lsq_scaling)
    quantizer(torch.from_numpy(values)).backward(torch.from_numpy(upstream))
    assert quantizer.scale.grad is not None
    assert quantizer.zero_point.grad is not None
    return quantizer.scale.grad.numpy(), quantizer.zero_point.grad.numpy()


def by_channel(encoding: Encoding, array: NDArray[Any]) -> NDArray[Any]:
    """Return (C, values of a channel)."""
    return array.reshape(1, -1) if encoding.axis is None else np.moveaxis(array, encoding.axis, 0).reshape(3, -1)


@given(learned_encodings(), positions, upstreams)
def test_a_range_has_the_gradients_of_its_formulas(
    encoding: Encoding, steps: NDArray[Any], upstream: NDArray[Any]
) -> None:
    """LSQ: round(v/s) - v/s inside and the end of the grid outside; LSQ+: 0 inside and -s outside.  Per channel."""
    values = (steps * encoding.scale.mean()).astype(np.float32)
    found = gradients(encoding, values, upstream)
    v, g = by_channel(encoding, values).astype(np.float64), by_channel(encoding, upstream)
    s, z = encoding.scale[:, None].astype(np.float32).astype(np.float64), encoding.zero_point[:, None]
    ratio = (v.astype(np.float32) / s.astype(np.float32)).astype(np.float64)
    low, high = encoding.qmin - z, encoding.qmax - z
    inside = (low <= ratio) & (ratio <= high)
    expected = np.where(inside, np.rint(ratio) - ratio, np.clip(ratio, low, high))
    np.testing.assert_allclose(found[0], (g * expected).sum(1), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found[1], (g * np.where(inside, 0.0, -s)).sum(1), rtol=1e-4, atol=1e-3)


@given(learned_encodings(), positions, upstreams)
def test_gradients_are_differences_of_what_quantizes_with_its_rounding_held_fixed(
    encoding: Encoding, steps: NDArray[Any], upstream: NDArray[Any]
) -> None:
    """What straight-through means: the distance to the grid does not change while the range does."""
    values = (steps * encoding.scale.mean()).astype(np.float32)
    v, g = by_channel(encoding, values).astype(np.float64), by_channel(encoding, upstream)
    scale, zero_point = encoding.scale[:, None], encoding.zero_point[:, None].astype(np.float64)
    error = np.rint(v / scale) - v / scale

    def quantized(s: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
        ratio = v / s
        low, high = encoding.qmin - z, encoding.qmax - z
        inside = (low <= ratio) & (ratio <= high)
        return np.asarray((g * np.where(inside, ratio + error, np.clip(ratio, low, high)) * s).sum(1))

    # At the very ends of the grid there is no derivative to compare with.
    ends = [np.abs(v / scale - end + zero_point) for end in (encoding.qmin, encoding.qmax)]
    assume(min(distance.min() for distance in ends) > 1e-2)
    small = 1e-6
    by_scale = (quantized(scale * (1 + small), zero_point) - quantized(scale * (1 - small), zero_point)) / (
        2 * small * scale[:, 0]
    )
    by_zero_point = (quantized(scale, zero_point + small) - quantized(scale, zero_point - small)) / (2 * small)
    found = gradients(encoding, values, upstream)
    # The ratio is rounded to float32 once, where half a step from an integer that may be another integer.
    halves = np.abs(np.abs(v / scale % 1) - 0.5)
    assume(halves.min() > 1e-3)
    np.testing.assert_allclose(found[0], by_scale, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found[1], by_zero_point, rtol=1e-3, atol=1e-3)


@given(learned_encodings(), positions, upstreams)
def test_lsq_scaling_divides_the_gradients_of_a_range_and_nothing_else(
    encoding: Encoding, steps: NDArray[Any], upstream: NDArray[Any]
) -> None:
    values = (steps * encoding.scale.mean()).astype(np.float32)
    plain = gradients(encoding, values, upstream)
    scaled = gradients(encoding, values, upstream, lsq_scaling=True)
    above = np.maximum(encoding.qmax - encoding.zero_point, 1)
    share = 1 / np.sqrt(values.size / len(encoding.scale) * above)
    for before, after in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(after, before * share, rtol=1e-6, atol=1e-12)
    quantizer = quantizer_of(encoding)
    expected = quantizer(torch.from_numpy(values))
    quantizer.learn_range(lsq_scaling=True)
    assert_same_bits(quantizer(torch.from_numpy(values)).detach().numpy(), expected.numpy())


@given(learned_encodings(), st.floats(-1e30, 1e30), st.floats(-1e6, 1e6), st.booleans())
def test_wherever_training_takes_a_range_it_is_an_encoding(
    encoding: Encoding, scale: float, zero_point: float, pow2: bool
) -> None:
    quantizer = quantizer_of(encoding)
    quantizer.pow2 = pow2
    quantizer.learn_range()
    with torch.no_grad():
        quantizer.scale.fill_(scale)
        quantizer.zero_point.fill_(zero_point)
    made = quantizer(torch.linspace(-10, 10, 9).reshape(3, 3))
    made.sum().backward()
    for parameter in (quantizer.scale, quantizer.zero_point):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    found = quantizer.encoding()
    assert all(s >= smallest / 2 for s, smallest in zip(found["scale"], encoding.scale / 64, strict=True))
    assert all(encoding.qmin <= z <= encoding.qmax for z in found["zero_point"])
    if pow2:
        assert all(np.log2(s) == np.rint(np.log2(s)) for s in found["scale"])
    quantizer.freeze()
    frozen = quantizer(torch.linspace(-10, 10, 9).reshape(3, 3))
    assert torch.equal(frozen, made.detach())
    assert quantizer.encoding() == found


def test_the_zero_point_of_a_symmetric_grid_is_not_trained() -> None:
    quantizer = FakeQuantize("x", qmin=-8, qmax=7, symmetric=True)
    quantizer.learn_range()
    assert not list(quantizer.parameters())  # nothing to learn before there is an encoding
    quantizer.encode(torch.tensor([0.5]), torch.tensor([0.0]))
    quantizer.learn_range()
    assert [name for name, _ in quantizer.named_parameters()] == ["scale"]


def test_a_learned_range_is_saved_and_loaded() -> None:
    first, second = quantizer_of(encoding_of(0.5, 4)), quantizer_of(encoding_of(8.0, 1))
    first.learn_range()
    second.learn_range()
    with torch.no_grad():
        first.scale.mul_(0.1)
    second.load_state_dict(first.state_dict())
    assert second.encoding() == first.encoding()  # 0.05 is less than the least that 8.0 could have become


def test_a_frozen_quantizer_has_nothing_to_train() -> None:
    quantizer = quantizer_of(encoding_of(0.5, 4))
    quantizer.learn_range()
    assert [name for name, _ in quantizer.named_parameters()] == ["scale", "zero_point"]
    quantizer.freeze()
    assert not list(quantizer.parameters())
    assert quantizer.encoding()["zero_point"] == [4]


def test_an_encoding_stays_exact_when_the_model_is_cast() -> None:
    quantizer = quantizer_of(encoding_of(0.1, 4)).half()
    assert quantizer.encoding()["scale"] == [0.1]


def test_a_quantizer_passes_values_on_until_it_is_calibrated() -> None:
    quantizer = FakeQuantize("x", qmin=0, qmax=15)
    values = torch.tensor([0.123, torch.nan])
    assert quantizer(values) is values
    quantizer.load_state_dict(quantizer_of(encoding_of(0.5, 4)).state_dict())
    assert quantizer(values).tolist() == [0.0, -2.0]
