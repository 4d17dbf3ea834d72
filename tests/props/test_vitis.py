"""Laws of Vitis AI's numerics."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.observers import AVAILABLE, encode, observer_for
from qsimc.calibrate.vitis_batches import VitisBatches
from qsimc.calibrate.vitis_kernels import rounded
from qsimc.calibrate.vitis_rules import FLOAT_CALIBRATIONS, POW2_CALIBRATIONS, REDUCTIONS
from qsimc.calibrate.vitis_shift import FLEXML, GREATEST_SHIFT, Form, Layer, legalised
from qsimc.ir.quant import Calib, QuantSpec, Round, ScaleKind

VARIANTS: list[tuple[Numerics, ScaleKind, Calib]] = [
    *(("vitis-dpu", ScaleKind.POW2, calib) for calib in POW2_CALIBRATIONS),
    *(("vitis-cpu", ScaleKind.POW2, calib) for calib in POW2_CALIBRATIONS),
    *(("vitis-cpu", ScaleKind.FLOAT, calib) for calib in FLOAT_CALIBRATIONS),
]

reals = st.floats(-(2.0**100), 2.0**100, width=32)
normal_reals = reals.filter(lambda real: real == 0 or abs(real) > 2.0**-100)  # their scales are normal float32
batches = arrays(np.float32, (2, 9), elements=reals)
moderate = arrays(np.float32, 40, elements=st.floats(-1e4, 1e4, width=32))
widths = st.integers(2, 16)


def encoded(values: NDArray[np.float32], variant: tuple[Numerics, ScaleKind, Calib], **said: Any) -> Encoding:
    """Return the encoding of one tensor; ties go to the even neighbour, which every calibration allows."""
    numerics, scale, calib = variant
    return encode([values], QuantSpec(scale=scale, calib=calib, round=Round.HALF_EVEN, **said), numerics=numerics)


def test_every_available_calibration_is_tried() -> None:
    for numerics in ("vitis-dpu", "vitis-cpu"):
        assert {calib for name, _, calib in VARIANTS if name == numerics} == set(AVAILABLE[numerics])


@pytest.mark.parametrize("variant", VARIANTS, ids=":".join)
@settings(max_examples=50)
@given(values=batches, bits=widths, narrow=st.booleans())
def test_scales_are_positive_and_finite_and_zero_costs_nothing(
    variant: tuple[Numerics, ScaleKind, Calib], values: NDArray[np.float32], bits: int, narrow: bool
) -> None:
    encoding = encoded(values, variant, bits=bits, narrow_range=narrow)
    assert 0 < encoding.scale[0] < np.inf
    assert encoding.fake_quantize(np.zeros(1))[0] == 0


@pytest.mark.parametrize("variant", VARIANTS, ids=":".join)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-40, 1e-9, 1e30, -3.4e38])
def test_constant_data_gives_positive_finite_scales(variant: tuple[Numerics, ScaleKind, Calib], value: float) -> None:
    assert 0 < encoded(np.full(8, value, np.float32), variant).scale[0] < np.inf


@pytest.mark.parametrize("variant", VARIANTS, ids=":".join)
def test_nan_infinity_and_no_data_are_refused(variant: tuple[Numerics, ScaleKind, Calib]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        encoded(np.array([1.0, np.nan], np.float32), variant)
    with pytest.raises(ValueError, match="infinity"):
        encoded(np.array([1.0, np.inf], np.float32), variant)
    with pytest.raises(ValueError, match="no values"):
        encoded(np.zeros((0, 3), np.float32), variant)


@pytest.mark.parametrize("variant", VARIANTS, ids=":".join)
@settings(max_examples=50)
@given(values=moderate, bits=widths)
def test_fake_quantizing_twice_is_fake_quantizing_once(
    variant: tuple[Numerics, ScaleKind, Calib], values: NDArray[np.float32], bits: int
) -> None:
    encoding = encoded(values, variant, bits=bits)
    once = encoding.fake_quantize(values)
    np.testing.assert_array_equal(encoding.fake_quantize(once), once)
    np.testing.assert_array_equal(encoding.dequantize(encoding.quantize(values)), once)


@pytest.mark.parametrize("numerics", ["vitis-dpu", "vitis-cpu"])
@given(values=moderate, bits=widths)
def test_the_min_max_fix_position_is_the_greatest_at_which_nothing_saturates(
    numerics: Numerics, values: NDArray[np.float32], bits: int
) -> None:
    encoding = encoded(values, (numerics, ScaleKind.POW2, Calib.MINMAX), bits=bits)
    half_grid, position = 2.0 ** (bits - 1), float(encoding.fix_position[0])

    def saturates(position: float) -> bool:
        steps = values.astype(np.float64) * 2.0**position * (1 - 2.0**-22)  # the rule is computed in float32
        return bool(np.any((steps < -half_grid - 0.5) | (steps > half_grid - 0.5)))

    assert not saturates(position)
    most = 12 if bits <= 8 else 15
    assert position == most or np.any(
        (values * 2.0 ** (position + 1) * (1 + 2.0**-22) > half_grid - 0.5)
        | (values * 2.0 ** (position + 1) * (1 + 2.0**-22) < -half_grid - 0.5)
    )


@pytest.mark.parametrize("numerics", ["vitis-dpu", "vitis-cpu"])
@given(values=moderate, bits=widths)
def test_diffs_is_never_worse_than_min_max(numerics: Numerics, values: NDArray[np.float32], bits: int) -> None:
    errors = [
        np.square(encoded(values, (numerics, ScaleKind.POW2, calib), bits=bits).fake_quantize(values) - values).sum()
        for calib in (Calib.DIFFS, Calib.MINMAX)
    ]
    assert errors[0] <= errors[1] * (1 + 1e-5)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("variant", VARIANTS, ids=":".join)
@settings(max_examples=20)
@given(shards=st.lists(batches, max_size=4), random=st.randoms(use_true_random=False))
def test_merge_ignores_order_and_grouping(
    variant: tuple[Numerics, ScaleKind, Calib], reduce: str, shards: list[NDArray[np.float32]], random: Any
) -> None:
    numerics, scale, calib = variant
    spec = QuantSpec(bits=8, scale=scale, calib=calib, round=Round.HALF_EVEN, reduce=reduce)
    nothing: Any = observer_for(spec, numerics)
    flat = [shard.reshape(1, -1) for shard in [*shards, np.ones((2, 9), np.float32)]]
    whole = nothing
    for shard in flat:
        whole = whole.observe(shard)
    random.shuffle(flat)
    merged = nothing
    for shard in flat:
        merged = nothing.observe(shard).merge(merged)
    one, other = whole.encoding(spec), merged.encoding(spec)
    np.testing.assert_allclose(one.scale, other.scale, rtol=1e-14)
    np.testing.assert_array_equal(one.zero_point, other.zero_point)


@pytest.mark.parametrize("scale", ScaleKind)
@given(values=arrays(np.float32, (3, 7), elements=normal_reals), bits=widths)
def test_channels_do_not_see_each_other(scale: ScaleKind, values: NDArray[np.float32], bits: int) -> None:
    spec = QuantSpec(bits=bits, scale=scale, calib=Calib.MINMAX)
    together = encode([values], spec, axis=0, numerics="vitis-cpu")
    for channel, row in enumerate(values):
        alone = encode([row], spec, numerics="vitis-cpu")
        np.testing.assert_allclose(together.scale[channel], alone.scale[0], rtol=2.0**-23)


@given(low=st.floats(-1e4, 1e4, width=32), width=st.floats(2.0**-9, 1e4, width=32), bits=widths)
def test_asymmetric_ranges_end_within_a_step_of_the_data(low: float, width: float, bits: int) -> None:
    values = np.array([low, np.float32(low) + np.float32(width)], np.float32)
    encoding = encoded(values, ("vitis-cpu", ScaleKind.FLOAT, Calib.MINMAX), bits=bits, symmetric=False)
    step = encoding.scale[0] * 0.501
    assert abs(encoding.min[0] - values[0]) <= step
    assert abs(encoding.max[0] - values[1]) <= step


@pytest.mark.parametrize("mode", Round)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(value=st.floats(-1e6, 1e6, width=32), quarters=st.integers(-4000, 4000))
def test_rounding_gives_a_nearest_integer(mode: Round, dtype: Any, value: float, quarters: int) -> None:
    steps = np.array([value, quarters / 4], dtype)
    found = rounded(steps, mode)
    np.testing.assert_array_equal(found, np.trunc(found))
    assert np.all(np.abs(found - steps) <= 0.5)
    ties = np.abs(steps - np.trunc(steps)) == 0.5
    np.testing.assert_array_equal(found[~ties], np.rint(steps)[~ties])
    upward = {Round.HALF_UP: np.ceil, Round.HALF_DOWN: np.trunc, Round.HALF_EVEN: np.rint}
    tie_rule = upward.get(mode, lambda tie: np.copysign(np.ceil(np.abs(tie)), tie))
    np.testing.assert_array_equal(found[ties], tie_rule(steps[ties]))


positions_ = st.integers(-70, 15)


@given(first=positions_, chain=st.lists(st.tuples(positions_, positions_), min_size=1, max_size=6))
def test_without_biases_every_shift_becomes_possible_and_stays_so(first: int, chain: list[tuple[int, int]]) -> None:
    positions = {"t0": first}
    for index, (weight, output) in enumerate(chain, start=1):
        positions |= {f"w{index}": weight, f"t{index}": output}
    numbers = range(len(chain) + 1)
    layers = [Layer(Form.PRODUCT, (f"t{one}",), f"t{other}", f"w{other}") for one, other in pairwise(numbers)]
    found, changes = legalised(layers, positions)
    for layer in layers:
        assert layer.weight is not None
        cut = found[layer.weight] + found[layer.inputs[0]] - found[layer.output]
        assert 0 <= cut <= GREATEST_SHIFT
    assert found == positions | {change.tensor: change.after for change in changes}
    assert legalised(layers, found) == (found, ())


def test_observers_satisfy_the_protocol() -> None:
    for numerics, scale, calib in VARIANTS:
        observer: Observer = observer_for(QuantSpec(scale=scale, calib=calib, round=Round.HALF_EVEN), numerics)
        assert observer.wants == "values"


@given(
    st.lists(arrays(np.float32, (1, 9), elements=st.floats(-1e4, 1e4, width=32)), min_size=1, max_size=4),
    st.sampled_from(["max", "mean", "median"]),
)
def test_a_joint_encoding_holds_zero_and_its_zero_point(batches_: list[NDArray[np.float32]], reduce: str) -> None:
    spec = QuantSpec(scale=ScaleKind.FLOAT, calib=Calib.MINMAX, symmetric=False, signed=False, reduce=reduce, bits=8)
    observer = observer_for(spec, "vitis-cpu")
    assert isinstance(observer, VitisBatches)
    for batch in batches_:
        observer = observer.observe(np.append(batch, [[0, 1e-3]], axis=1).astype(np.float32))
    found = observer.joint_encoding(spec)
    assert (found.qmin <= found.zero_point).all()
    assert (found.zero_point <= found.qmax).all()
    assert found.fake_quantize(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    if reduce == "max":
        low, high = (min(0.0, *(b.min() for b in batches_)), max(1e-3, *(b.max() for b in batches_)))
        assert np.isclose(found.scale[0], (high - low) / 255, rtol=0.02)


def test_flexml_shifts_left_by_one_and_no_bias() -> None:
    layer = Layer(Form.PRODUCT, ("x",), "y", "w", "b")
    positions = {"x": 3, "w": 2, "y": 8, "b": 9}
    assert legalised([layer], positions)[0]["y"] == 5
    found, _ = legalised([layer], positions, shifts=FLEXML)
    assert (found["y"], found["b"]) == (6, 5)
