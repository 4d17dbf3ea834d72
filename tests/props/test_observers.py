"""Laws of observers, and how good the ranges are that they find."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.bits import RELATIVE_WIDTH, BitHistogram
from qsimc.calibrate.encoding import VITIS, Encoding, Numerics
from qsimc.calibrate.grid import CELLS, GridTally
from qsimc.calibrate.jointly import GridObservers
from qsimc.calibrate.minmax import MinMax
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.observers import AVAILABLE, channels_first, encode, observer_for
from qsimc.calibrate.ranges import encode_range
from qsimc.calibrate.sketch import Sketch
from qsimc.ir.quant import Calib, QuantSpec

EMPTY: dict[str, Callable[[], Any]] = {
    "MinMax": lambda: MinMax.empty(2),
    "BitHistogram": lambda: BitHistogram.empty(2),
    "Sketch": lambda: Sketch.empty(2),
}
NUMERICS = [numerics for numerics in AVAILABLE if numerics not in VITIS]  # Vitis AI's laws: test_vitis.py
EVERY = [(numerics, calib) for numerics in NUMERICS for calib in AVAILABLE[numerics]]

floats = st.floats(width=32, allow_nan=False)
batches = st.integers(0, 8).flatmap(lambda n: arrays(np.float32, (2, n), elements=floats))


def state(observer: Any) -> list[NDArray[Any]]:
    """Return what an observer remembers."""
    if isinstance(observer, Sketch):
        return state(observer.histogram)
    counts = [observer.counts] if isinstance(observer, BitHistogram) else []
    return [observer.low, observer.high, *counts]


def assert_same(one: Any, other: Any) -> None:
    for ours, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY.keys())
@given(shards=st.lists(batches, max_size=5), random=st.randoms(use_true_random=False))
def test_merge_ignores_order_and_grouping(
    empty: Callable[[], Any], shards: list[NDArray[np.float32]], random: random_module.Random
) -> None:
    whole = reduce(lambda observer, shard: observer.observe(shard), shards, empty())
    parts = [empty().observe(shard) for shard in shards]
    random.shuffle(parts)
    cut = random.randint(0, len(parts))
    left, right = (reduce(lambda a, b: a.merge(b), half, empty()) for half in (parts[:cut], parts[cut:]))
    assert_same(left.merge(right), whole)


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY.keys())
@given(shards=st.lists(batches, min_size=1, max_size=5))
def test_batches_count_as_their_concatenation(empty: Callable[[], Any], shards: list[NDArray[np.float32]]) -> None:
    one_by_one = reduce(lambda observer, shard: observer.observe(shard), shards, empty())
    assert_same(one_by_one, empty().observe(np.concatenate(shards, axis=1)))


@given(arrays(np.float32, st.integers(1, 50), elements=floats), st.floats(0, 1))
def test_a_quantile_of_the_bit_histogram_is_off_by_a_sixteenth_at_most(
    values: NDArray[np.float32], share: float
) -> None:
    values = np.clip(values, -np.finfo(np.float32).max, np.finfo(np.float32).max)
    found = BitHistogram.empty().observe(values[None]).quantiles(0, np.array([share]))[0]
    rank = min(int(share * values.size), values.size - 1)
    # At the border of two ranks, either neighbour will do.
    exact = np.sort(values).astype(np.float64)[[max(rank - 1, 0), rank, min(rank + 1, values.size - 1)]]
    assert np.any(np.abs(found - exact) <= np.abs(exact) * RELATIVE_WIDTH * (1 + 2**-10) + 2.0**-130)


@given(arrays(np.float32, st.integers(1, 200), elements=st.floats(-100, 100, width=32)))
def test_every_bin_of_the_bit_histogram_holds_its_values(values: NDArray[np.float32]) -> None:
    lower, upper, counts = BitHistogram.empty().observe(values[None]).occupied(0)
    assert np.all(upper[:-1] <= lower[1:])
    assert np.all(upper - lower <= RELATIVE_WIDTH * np.minimum(np.abs(lower), np.abs(upper)) + 2.0**-130)
    bins = np.searchsorted(upper, values.astype(np.float64), side="left")
    at_edges = np.isin(values, np.concatenate([lower, upper]))
    np.testing.assert_array_equal(np.bincount(bins[~at_edges], minlength=len(counts)) <= counts, True)
    assert counts.sum() == values.size


@pytest.mark.parametrize(("numerics", "calib"), EVERY)
@given(
    values=arrays(np.float32, (2, 9), elements=floats),
    bits=st.integers(2, 16),
    symmetric=st.booleans(),
    unsigned=st.booleans(),
    narrow=st.booleans(),
)
def test_every_calibration_gives_positive_finite_scales(
    numerics: Numerics,
    calib: Calib,
    values: NDArray[np.float32],
    bits: int,
    symmetric: bool,
    unsigned: bool,
    narrow: bool,
) -> None:
    spec = QuantSpec(
        bits=bits, symmetric=symmetric, unsigned_symmetric=unsigned, narrow_range=narrow and not unsigned, calib=calib
    )
    encoding = encode([values, values[::-1] / 2], spec, axis=0, numerics=numerics)
    assert np.all((encoding.scale > 0) & np.isfinite(encoding.scale))
    assert np.all((encoding.min <= 0) & (encoding.max >= 0))


@pytest.mark.parametrize(("numerics", "calib"), EVERY)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-40, 1e-9, 1e30, -3.4e38, float("inf")])
@pytest.mark.parametrize("symmetric", [False, True])
def test_constant_data_gives_positive_finite_scales(
    numerics: Numerics, calib: Calib, value: float, symmetric: bool
) -> None:
    batch = np.full((4, 8), value, np.float32)
    encoding = encode([batch, batch], QuantSpec(symmetric=symmetric, calib=calib), numerics=numerics)
    assert 0 < encoding.scale[0] < np.inf


@pytest.mark.parametrize(("numerics", "calib"), EVERY)
@pytest.mark.parametrize("first", [1e-45, -1e-45, 3.4e38])
@pytest.mark.parametrize("then", [0.0, float("inf"), -float("inf")])
def test_infinities_beside_a_range_without_width_give_positive_finite_scales(
    numerics: Numerics, calib: Calib, first: float, then: float
) -> None:
    mixed = np.array([[0.0, first, first, then]], np.float32)
    infinite = np.full((1, 4), then, np.float32)
    encoding = encode([mixed, infinite, mixed], QuantSpec(calib=calib), axis=0, numerics=numerics)
    assert 0 < encoding.scale[0] < np.inf


@pytest.mark.parametrize(("numerics", "calib"), EVERY)
def test_nan_and_no_data_are_refused(numerics: Numerics, calib: Calib) -> None:
    spec = QuantSpec(calib=calib)
    with pytest.raises(ValueError, match="NaN"):
        encode([np.array([1.0, np.nan])], spec, numerics=numerics)
    with pytest.raises(ValueError, match="no batches"):
        encode([], spec, numerics=numerics)
    with pytest.raises(ValueError, match="no values"):
        encode([np.zeros((0, 3))], spec, numerics=numerics)


@pytest.mark.parametrize("numerics", NUMERICS)
def test_a_calibration_that_the_numerics_lack_is_refused_by_name(numerics: Numerics) -> None:
    with pytest.raises(ValueError, match=f"`diffs` is not available under `{numerics}` numerics; choose from minmax"):
        observer_for(QuantSpec(calib=Calib.DIFFS), numerics)


@pytest.mark.parametrize("numerics", ["aimet", "aimet-torch"])
@pytest.mark.parametrize("calib", [Calib.SQNR, Calib.PERCENTILE])
def test_observers_that_depend_on_order_merge_only_with_nothing(numerics: Numerics, calib: Calib) -> None:
    nothing: Any = observer_for(QuantSpec(calib=calib), numerics)
    seen: Any = nothing.observe(np.ones((1, 4)))
    assert seen.merge(nothing) is seen
    assert nothing.merge(seen) is seen
    with pytest.raises(ValueError, match="order of batches"):
        seen.merge(seen)


def squared_error(encoding: Encoding, values: NDArray[np.float32]) -> float:
    return float(np.square(encoding.fake_quantize(values).astype(np.float64) - values).sum())


DATA = {
    "normal": np.random.default_rng(1).normal(size=20_000),
    "relu": np.maximum(np.random.default_rng(2).normal(size=20_000), 0),
    "heavy-tailed": np.random.default_rng(3).standard_t(3, size=20_000),
    "lopsided": np.random.default_rng(4).exponential(size=20_000) - 0.3,
    "outlier": np.append(np.random.default_rng(5).normal(size=20_000), 60.0),
}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_sqnr_search_is_within_a_tenth_of_a_decibel_of_trying_everything(
    name: str, bits: int, symmetric: bool
) -> None:
    values = DATA[name].astype(np.float32)
    spec = QuantSpec(bits=bits, symmetric=symmetric, calib=Calib.SQNR)
    found = squared_error(encode([values], spec), values)
    shares = np.geomspace(0.02, 1, 24)
    tried = [
        squared_error(encode_range(values.min(keepdims=True) * a, values.max(keepdims=True) * b, spec), values)
        for a, b in product(shares, shares)
    ]
    assert 10 * np.log10(found / min(tried)) <= 0.1


@pytest.mark.parametrize("calib", [Calib.SQNR, Calib.MSE, Calib.PERCENTILE, Calib.ENTROPY])
def test_a_lone_outlier_does_not_set_the_range(calib: Calib) -> None:
    encoding = encode([DATA["outlier"]], QuantSpec(bits=4, calib=calib, percentile=99.9))
    assert encoding.max[0] < 20


def test_percentiles_are_those_of_sorted_data() -> None:
    encoding = encode([DATA["normal"]], QuantSpec(bits=16, calib=Calib.PERCENTILE, percentile=99.0))
    exact = np.quantile(DATA["normal"], [0.01, 0.99])
    np.testing.assert_allclose([encoding.min[0], encoding.max[0]], exact, rtol=RELATIVE_WIDTH)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("bits", [4, 8])
def test_a_sketch_estimates_the_sqnr_within_a_decibel(name: str, bits: int) -> None:
    values = DATA[name].astype(np.float32)
    encoding = encode([values], QuantSpec(bits=bits))
    exact = 10 * np.log10(np.square(values, dtype=np.float64).sum() / squared_error(encoding, values))
    assert Sketch.empty().observe(values[None]).sqnr(encoding) == pytest.approx(exact, abs=1.0)


def test_a_sketch_of_nothing_has_no_sqnr_and_an_exact_one_an_infinite() -> None:
    encoding = encode([np.array([0.0, 255.0])], QuantSpec())
    assert np.isnan(Sketch.empty().sqnr(encoding))
    assert Sketch.empty().observe(np.full((1, 5), 7.0)).sqnr(encoding) == np.inf


def test_a_sketch_measures_each_channel_with_its_own_scale() -> None:
    values = np.random.default_rng(7).normal(size=(2, 4000)).astype(np.float32) * np.array([[1], [100]], np.float32)
    per_channel = encode([values], QuantSpec(), axis=0)
    sketch = Sketch.empty(2).observe(values)
    exact = 10 * np.log10(np.square(values, dtype=np.float64).sum() / squared_error(per_channel, values))
    assert sketch.sqnr(per_channel) == pytest.approx(exact, abs=1.0)
    with pytest.raises(ValueError, match="2 channels, the sketch 1"):
        Sketch.empty().observe(values.reshape(1, -1)).sqnr(per_channel)


@given(arrays(np.float32, (1, 30), elements=st.floats(-10, 10, width=32)), st.integers(1, 40))
def test_the_density_of_the_whole_range_counts_every_value(values: NDArray[np.float32], bins: int) -> None:
    density = Sketch.empty().observe(values).density(-11.0, 11.0, bins)
    assert density.shape == (bins,)
    assert np.all(density >= 0)
    assert density.sum() == pytest.approx(30)


@pytest.mark.parametrize(("axis", "rows"), [(None, 1), (0, 2), (1, 3), (-1, 4)])
def test_channels_first_gives_a_row_to_each_channel(axis: int | None, rows: int) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    found = channels_first(values, axis)
    assert found.shape == (rows, 24 // rows)
    if axis is not None:
        np.testing.assert_array_equal(found[1], np.take(values, 1, axis).ravel())


def test_a_missing_channel_axis_is_named() -> None:
    with pytest.raises(ValueError, match="channel axis 2"):
        channels_first(np.zeros((2, 3)), 2)


@pytest.mark.parametrize(("numerics", "calib"), EVERY)
def test_what_observers_want_serves_as_well_as_the_values(numerics: Numerics, calib: Calib) -> None:
    spec = QuantSpec(calib=calib, bits=8, symmetric=False, percentile=99.9)
    by_values: Any = observer_for(spec, numerics)
    by_wish: Any = observer_for(spec, numerics)
    for number, values in enumerate(DATA.values()):
        batch = np.roll(values, number).astype(np.float32).reshape(1, -1)
        by_values = by_values.observe(batch)
        if by_wish.wants is Wants.HISTOGRAM:
            by_wish = by_wish.observe_histogram(BitHistogram.empty().observe(batch))
        elif by_wish.wants is Wants.GRID:
            low, high = float(batch.min()), float(batch.max())
            grid = by_wish.grid(low, high)
            counts = grid.counts(batch[0]) if grid is not None else np.zeros(CELLS, np.int64)
            by_wish = by_wish.observe_counts(counts, low, high)
        else:
            by_wish = by_wish.observe(batch)
    one, other = (observer.encoding(spec) for observer in (by_values, by_wish))
    assert (one.scale, one.zero_point) == (other.scale, other.zero_point)


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(["normal", "zeros", "nothing", "wide"]), max_size=5))
def test_grid_observers_together_are_each_alone(seed: int, batches: list[str]) -> None:
    rng = np.random.default_rng(seed)
    alone = [AimetHistogram.empty() for _ in range(3)]
    together = GridObservers(alone)
    streams = [0, 1, 2, 1]  # the second observer has two streams, one after the other
    grids = GridTally(len(streams))
    for kind in batches:
        grids.clear()
        ends = []
        for stream, place in enumerate(streams):
            size, spread = {"nothing": (0, 1), "zeros": (7, 0), "wide": (50, 100)}.get(kind, (50, 1))
            values = (rng.normal(size=size) * spread).astype(np.float32)
            low, high = (float(values.min()), float(values.max())) if size else (np.inf, -np.inf)
            grid = alone[place].grid(low, high) if size else None
            if grid is not None and not grids.laid_out(stream):
                grids.lay_out(stream, grid)
            grids.count(stream, values)
            alone[place] = alone[place].observe_counts(grids.counts(stream), low, high)
            ends.append((low, high))
        together.observe_counts([(place, stream) for stream, place in enumerate(streams)], grids, ends)
    for found, expected in zip(together.finish(), alone, strict=True):
        assert isinstance(found, AimetHistogram)
        assert found.observed == expected.observed
        (one,), (other,) = found.channels, expected.channels
        assert (one.width, one.first, one.batches) == (other.width, other.first, other.batches)
        np.testing.assert_array_equal(one.shares, other.shares)


@pytest.mark.parametrize(("numerics", "calib"), EVERY)
def test_words_serve_as_well_as_enums(numerics: Numerics, calib: Calib) -> None:
    """The Python interface shows `QuantSpec(calib="percentile")`."""
    word: Any = calib.value
    one, other = (encode([DATA["normal"]], QuantSpec(calib=c), numerics=numerics) for c in (calib, word))
    assert one.scale[0] == other.scale[0]
