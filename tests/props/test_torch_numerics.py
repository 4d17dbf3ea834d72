"""Fake quantization in PyTorch is `Encoding.fake_quantize`, bit for bit, and has the gradients of LSQ."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
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
