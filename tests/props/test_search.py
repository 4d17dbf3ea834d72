"""Laws of the searches for a range, and of the arithmetic that makes them fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from qsimc.calibrate.aimet_buckets import BUCKETS, LARGEST, Buckets
from qsimc.calibrate.aimet_search import _added, _asymmetric, _Grids, _symmetric, least_error
from qsimc.calibrate.arithmetic import round_half_away
from qsimc.calibrate.counting import BLOCK, counted
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.entropy import ENTROPY_BINS, MOST_CLIPPED, least_divergence
from qsimc.calibrate.levels import Levels
from qsimc.calibrate.observers import encode
from qsimc.calibrate.ranges import encode_range
from qsimc.ir.quant import Calib, QuantSpec, ScaleKind
from tests.props.draws import ANY, SMOOTH, Draw


def entropy(values: NDArray[Any], spec: QuantSpec) -> Encoding:
    return encode([values], QuantSpec(calib=Calib.ENTROPY).over(spec))


def sqnr(encoding: Encoding, values: NDArray[np.float64]) -> float:
    errors = encoding.fake_quantize(values).astype(np.float64) - values
    return float(10 * np.log10(np.square(values).sum() / np.square(errors).sum()))


@given(
    name=st.sampled_from(sorted(ANY)),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 20_000),
    bits=st.integers(2, 16),
    symmetric=st.booleans(),
    scale=st.sampled_from(list(ScaleKind)),
    unit=st.sampled_from([1e-30, 1.0, 1e30]),
)
def test_the_entropy_range_covers_99_values_in_100(
    name: str, seed: int, size: int, bits: int, symmetric: bool, scale: ScaleKind, unit: float
) -> None:
    values = (ANY[name](np.random.default_rng(seed), size) * unit).astype(np.float32)
    spec = QuantSpec(bits=bits, symmetric=symmetric, scale=scale)
    encoding = entropy(values, spec)
    # Where zero moves to an integer, an end moves by half a step at most, which is what rounding costs anyway.
    half = 0.501 * encoding.scale[0]
    covered = (values >= encoding.min[0] - half) & (values <= encoding.max[0] + half)
    others = values[values != 0]
    assert np.count_nonzero(covered & (values != 0)) >= (1 - MOST_CLIPPED) * others.size


@given(
    name=st.sampled_from(sorted(ANY)),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, ENTROPY_BINS - 1),
    bits=st.sampled_from([4, 8]),
    symmetric=st.booleans(),
)
def test_fewer_values_than_bins_keep_their_whole_range(
    name: str, seed: int, size: int, bits: int, symmetric: bool
) -> None:
    values = ANY[name](np.random.default_rng(seed), size)
    spec = QuantSpec(bits=bits, symmetric=symmetric)
    found, whole = entropy(values, spec), encode([values], spec)
    assert (found.scale[0], found.zero_point[0]) == (whole.scale[0], whole.zero_point[0])


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_on_many_smooth_values_entropy_costs_at_most_a_decibel(name: str, bits: int, symmetric: bool) -> None:
    """Of few values, the end of a long tail looks like outliers, and losing it may cost 10 dB (see below)."""
    spec = QuantSpec(bits=bits, symmetric=symmetric)
    for seed in range(3):
        values = SMOOTH[name](np.random.default_rng(seed), 300_000)
        assert sqnr(entropy(values, spec), values) >= sqnr(encode([values], spec), values) - 1


def test_entropy_takes_the_end_of_a_long_tail_for_outliers() -> None:
    """It does not see how far away they are: this is what the method is, here and in its source."""
    values = SMOOTH["lopsided"](np.random.default_rng(110), 4_200)
    spec = QuantSpec(bits=8)
    assert np.count_nonzero(values > entropy(values, spec).max[0]) == 1
    assert sqnr(entropy(values, spec), values) < sqnr(encode([values], spec), values) - 5


@pytest.mark.parametrize(("bits", "least", "most"), [(4, 3.0, 4.3), (8, 4.0, 5.2)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_entropy_clips_normal_data_where_its_levels_stop_telling_values_apart(
    bits: int, least: float, most: float, symmetric: bool
) -> None:
    """The largest of these 10^6 values is 4.9."""
    encoding = entropy(np.random.default_rng(1).normal(size=1_000_000), QuantSpec(bits=bits, symmetric=symmetric))
    assert least <= -encoding.min[0] <= most
    assert least <= encoding.max[0] <= most


def test_entropy_leaves_outliers_outside() -> None:
    values = np.append(np.random.default_rng(5).normal(size=20_000), 60.0)
    for bits in (4, 8):
        assert 3.0 <= entropy(values, QuantSpec(bits=bits)).max[0] <= 5.0


def test_zeros_do_not_move_the_entropy_range() -> None:
    values = np.random.default_rng(6).normal(size=20_000)
    spec = QuantSpec(bits=4, symmetric=True)
    assert entropy(np.append(values, np.zeros(10**6)), spec).scale[0] == entropy(values, spec).scale[0]


def test_levels_finer_than_bins_keep_the_whole_range() -> None:
    values = np.append(np.random.default_rng(7).normal(size=20_000), 60.0)
    spec = QuantSpec(bits=13)
    assert entropy(values, spec).scale[0] == encode([values], spec).scale[0]


def divergence_by_definition(counts: NDArray[np.float64], low: float, high: float, encoding: Encoding) -> float:
    """Return the divergence of one candidate, bin by bin."""
    width = (high - low) / len(counts)
    centres = low + (np.arange(len(counts)) + 0.5) * width
    inside = (centres >= encoding.min[0] - width / 2) & (centres <= encoding.max[0] + width / 2)
    first, last = np.flatnonzero(inside)[[0, -1]]
    data = np.where(inside, counts, 0.0)
    data[first] += counts[:first].sum()
    data[last] += counts[last + 1 :].sum()
    levels = encoding.quantize(centres)
    quantized = np.zeros(len(counts))
    for level in np.unique(levels[inside]):
        members = inside & (levels == level) & (data > 0)
        quantized[members] = counts[inside & (levels == level)].sum() / max(members.sum(), 1)
    used = data > 0
    smoothed = np.maximum(quantized[used], 1e-4)
    data_share, quantized_share = data[used] / data.sum(), smoothed / counts[inside].sum()
    return float((data_share * np.log(data_share / quantized_share)).sum())


@given(
    counts=arrays(np.float64, 64, elements=st.integers(0, 50).map(float)).filter(lambda c: c.sum() >= 64),
    bits=st.sampled_from([2, 3]),
    symmetric=st.booleans(),
)
def test_no_threshold_has_a_smaller_divergence_than_the_one_found(
    counts: NDArray[np.float64], bits: int, symmetric: bool
) -> None:
    # Not binary fractions: else bins lie on the borders of levels, where rounding decides.
    low, high = -1.1234567, 2.3456789
    spec = QuantSpec(bits=bits, symmetric=symmetric)

    def divergence(threshold: float) -> float:
        ends = np.array([max(-threshold, low)]), np.array([min(threshold, high)])
        encoding = encode_range(*ends, spec)
        resolved = encoding.scale[0] >= (high - low) / len(counts)
        return divergence_by_definition(counts, low, high, encoding) if resolved else np.inf

    found_low, found_high = least_divergence(counts, low, high, 0.3, spec)
    tried = [divergence(high * share) for share in np.geomspace(1, 0.3 / high, 128)]
    assert divergence(max(-found_low, found_high)) <= min(tried) + 1e-9


def buckets_in_use(draw: Draw, seed: int, unit: float, shift: float) -> Buckets:
    rng = np.random.default_rng(seed)
    values = (draw(rng, 300) * unit + shift).astype(np.float32)
    return Buckets.empty().extended(values).extended((values * 0.7).astype(np.float32))


@given(
    name=st.sampled_from(sorted(ANY)),
    seed=st.integers(0, 2**32 - 1),
    unit=st.sampled_from([1e-20, 1e-3, 1.0, 1e20]),
    shift=st.sampled_from([0.0, 1.0, -50.0, 1e4, 1e7]),
    bits=st.sampled_from([2, 4, 8, 16]),
    kind=st.sampled_from(["asymmetric", "symmetric", "narrow", "unsigned"]),
)
def test_aimets_candidates_cost_no_less_than_their_bound_and_the_first_of_the_best_is_found(
    name: str, seed: int, unit: float, shift: float, bits: int, kind: str
) -> None:
    buckets = buckets_in_use(ANY[name], seed, unit, shift * unit)
    if buckets.width == 0:
        return
    levels = Levels(bits, symmetric=kind != "asymmetric", narrow=kind == "narrow", unsigned=kind == "unsigned")
    scales, offsets = (_symmetric if levels.symmetric else _asymmetric)(buckets, levels)
    grids = _Grids.of(buckets, scales, offsets, levels)
    costs = grids.costs(np.arange(len(scales)))
    assert np.all(grids.least_costs() <= costs)
    best = int(np.argmin(costs))
    assert least_error(buckets, levels) == (float(scales[best]), int(offsets[best]))


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=70), elements=st.floats(0, 1)))
def test_costs_are_added_one_after_the_other(errors: NDArray[np.float64]) -> None:
    shares = np.linspace(0.1, 0.7, len(errors))
    total = np.zeros(errors.shape[1])
    for error, share in zip(errors, shares, strict=True):
        total = total + np.square(error) * share
    np.testing.assert_array_equal(_added(errors, shares, np.ones(errors.shape, np.bool_)), total)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(bits=st.lists(st.integers(0, 2**64 - 1), min_size=1), halves=st.lists(st.integers(-(2**25), 2**25)))
def test_halves_round_away_from_zero(
    dtype: type[np.float32] | type[np.float64], bits: list[int], halves: list[int]
) -> None:
    patterns = np.array(bits, np.uint64).view(dtype)
    values = np.concatenate(
        [
            patterns,
            np.array([0.5 * half for half in halves], dtype),
            np.array([0.49999997, -0.49999997, 0.5, -0.5], dtype),
        ]
    )
    values = values[np.isfinite(values)]
    whole = np.trunc(values)
    expected = whole + np.copysign((np.abs(values - whole) >= 0.5).astype(dtype), values)
    np.testing.assert_array_equal(round_half_away(values), expected)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_every_value_is_counted_once(size: int) -> None:
    values = np.random.default_rng(8).integers(0, 9, size).astype(np.float32)

    def locate(block: NDArray[np.float32], bins: NDArray[np.float32]) -> None:
        bins[:] = block + 0.5

    np.testing.assert_array_equal(counted(values, 9, locate), np.bincount(values.astype(int), minlength=9))


@given(
    first=st.sampled_from([-(2**40), -(2**24), -(2**23) - 3, -700, 0, 5, 2**23 - 1000, 2**23 + 5, 2**24, 2**31]),
    width=st.sampled_from([2.0**-100, 0.01, 1.0, 3e36]),
    steps=st.lists(st.floats(-2000, 4000), min_size=1),
    others=st.lists(st.floats(width=32, allow_nan=False)),
)
def test_buckets_are_counted_as_in_exact_arithmetic(
    first: int, width: float, steps: list[float], others: list[float]
) -> None:
    with np.errstate(over="ignore"):
        near = ((first + np.array(steps)) * width).astype(np.float32)
    values = np.concatenate([near, np.array(others, np.float32)])
    found = Buckets(width, first, np.zeros(BUCKETS), 0).extended(values)
    with np.errstate(over="ignore"):
        quotients = np.clip(values, -LARGEST, LARGEST) * np.float32(1 / width)
    positions = np.floor(quotients.astype(np.float64)) - first
    expected = np.bincount(positions[(positions >= 0) & (positions < BUCKETS)].astype(int), minlength=BUCKETS)
    np.testing.assert_array_equal(found.shares, expected / values.size)
