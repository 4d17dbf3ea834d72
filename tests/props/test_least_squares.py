"""Laws of the search for the grid of least squared error, and of what a histogram knows of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from qsimc.calibrate.bits import MAGNITUDES, RELATIVE_WIDTH, BitHistogram
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.jointly import encode_all
from qsimc.calibrate.observers import encode
from qsimc.calibrate.ranges import encode_range
from qsimc.calibrate.search import _Block
from qsimc.ir.quant import Calib, QuantSpec, ScaleKind
from tests.props.draws import ANY


def histograms(values: Sequence[NDArray[np.float32]]) -> list[BitHistogram]:
    return [BitHistogram.empty(len(batch)).observe(batch) for batch in values]


def nearest(encoding: Encoding) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the quantizer of one channel in exact arithmetic."""
    qmin, qmax = encoding.qmin - encoding.zero_point[0], encoding.qmax - encoding.zero_point[0]
    return lambda values: np.clip(np.rint(values / encoding.scale[0]), qmin, qmax) * encoding.scale[0]


def root_mean_square(values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    return float(np.sqrt(np.average(np.square(values), weights=weights)))


SPECS = st.builds(
    QuantSpec,
    bits=st.sampled_from([2, 4, 8, 16]),
    symmetric=st.booleans(),
    unsigned_symmetric=st.booleans(),
    scale=st.sampled_from(list(ScaleKind)),
    calib=st.sampled_from([Calib.SQNR, Calib.MSE, Calib.PERCENTILE, Calib.ENTROPY, Calib.MINMAX]),
    percentile=st.sampled_from([99.0, 99.99]),
    range=st.sampled_from([None, (0.0, None), (-1.0, 1.0)]),
)


@given(
    drawn=st.lists(st.tuples(st.sampled_from(sorted(ANY)), st.integers(1, 3), SPECS), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1, 7, 5_000]),
)
def test_a_tensor_has_the_same_encoding_alone_and_among_others(
    drawn: list[tuple[str, int, QuantSpec]], seed: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    drawn_values = [np.stack([ANY[name](rng, size) for _ in range(channels)]) for name, channels, _ in drawn]
    observed = histograms([values.astype(np.float32) for values in drawn_values])
    asked = [(histogram, spec, 0) for histogram, (_, _, spec) in zip(observed, drawn, strict=True)]
    for (histogram, spec, axis), found in zip(asked, encode_all(asked), strict=True):
        alone = histogram.encoding(spec, axis)
        np.testing.assert_array_equal(found.scale, alone.scale)
        np.testing.assert_array_equal(found.zero_point, alone.zero_point)
        assert (found.qmin, found.qmax, found.axis) == (alone.qmin, alone.qmax, alone.axis)


def test_blocks_of_rows_do_not_show() -> None:
    values = np.random.default_rng(9).standard_t(3, size=(600, 50)).astype(np.float32)
    spec = QuantSpec(bits=4, symmetric=False, calib=Calib.SQNR)
    whole = BitHistogram.empty(600).observe(values).encoding(spec, 0)
    for row in (0, 255, 256, 599):
        alone = BitHistogram.empty().observe(values[row : row + 1]).encoding(spec)
        assert (alone.scale[0], alone.zero_point[0]) == (whole.scale[row], whole.zero_point[row])


def test_one_negative_channel_denies_the_unsigned_grid_to_all() -> None:
    values = np.abs(np.random.default_rng(10).standard_t(2, size=(2, 5_000))).astype(np.float32)
    spec = QuantSpec(bits=4, symmetric=True, unsigned_symmetric=True, calib=Calib.SQNR)
    unsigned = encode([values], spec, axis=0)
    signed = encode([np.stack([values[0], -values[1]])], spec, axis=0)
    assert (unsigned.qmin, signed.qmin) == (0, -8)
    alone = encode([values[:1]], QuantSpec(unsigned_symmetric=False).over(spec))
    assert signed.scale[0] == alone.scale[0]


@pytest.fixture(scope="module", params=["normal", "lopsided", "heavy-tailed", "two values", "softmax"])
def counted_values(request: pytest.FixtureRequest) -> BitHistogram:
    (histogram,) = histograms([ANY[request.param](np.random.default_rng(11), 3_000)[None].astype(np.float32)])
    return histogram


def block(histogram: BitHistogram, spec: QuantSpec) -> _Block:
    counts = [row.reshape(2, -1) for row in histogram.counts]
    return _Block(counts, MAGNITUDES, histogram.low.astype(np.float64), histogram.high.astype(np.float64), spec)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_squared_error_is_that_of_values_spread_over_their_bins(counted_values: BitHistogram, bits: int) -> None:
    # The low bins, of which the search sees nothing but that they are zero on every grid, are left out here too.
    lower, upper, counts = counted_values.occupied(0)
    kept = np.maximum(np.abs(lower), np.abs(upper)) > max(abs(lower[0]), upper[-1]) / 2**bits / 300
    fine = 2_000
    spread = (lower[:, None] + (upper - lower)[:, None] * (np.arange(fine) + 0.5) / fine)[kept].ravel()
    weights = np.repeat(counts[kept] / fine, fine)
    searched = block(counted_values, QuantSpec(bits=bits, symmetric=False))
    scales = searched.widest * np.array([1.0, 0.7, 0.1, 0.01])
    for above in (0, 1, 2**bits // 2, 2**bits - 1):
        found = searched._squared_errors(scales, np.full(scales.shape, float(above)))
        for scale, error in zip(scales[0], found[0], strict=True):
            levels = np.clip(np.rint(spread / scale), above - (2**bits - 1), above)
            assert error == pytest.approx(np.square(spread - levels * scale) @ weights, rel=1e-3)


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_no_other_split_of_the_levels_has_a_smaller_error(counted_values: BitHistogram, bits: int) -> None:
    searched = block(counted_values, QuantSpec(bits=bits, symmetric=False))
    scales = searched.widest * np.geomspace(1, 0.01, 23)
    errors = searched._squared_errors(scales, searched._best_above(scales))
    for above in range(2**bits):
        others = searched._squared_errors(scales, np.full(scales.shape, float(above)))
        assert np.all(errors <= others * (1 + 1e-9))


@given(
    name=st.sampled_from(sorted(ANY)),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 3_000),
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    share=st.floats(0.02, 1),
)
def test_bins_misjudge_the_error_of_a_grid_by_their_width_at_most(
    name: str, seed: int, size: int, bits: int, symmetric: bool, share: float
) -> None:
    """Where a value lies in its bin is all that is not known, and how far the nearest level is changes by no more.

    So the root of the mean squared error on any grid is off by at most that of the widths, and what the search finds
    is worse than the best grid there is by at most twice as much.
    """
    values = ANY[name](np.random.default_rng(seed), size).astype(np.float32)
    spec = QuantSpec(bits=bits, symmetric=symmetric, calib=Calib.SQNR)
    (histogram,) = histograms([values[None]])
    lower, upper, counts = histogram.occupied(0)
    widths = root_mean_square(upper - lower, counts)
    exact = values.astype(np.float64)
    points, weights = histogram.points(0)

    def errors(encoding: Encoding) -> tuple[float, float]:
        quantized = nearest(encoding)
        guess = points.astype(np.float64)
        return root_mean_square(exact - quantized(exact)), root_mean_square(guess - quantized(guess), weights)

    rounding = 1e-6 * root_mean_square(exact)
    low, high = min(exact.min(), 0), max(exact.max(), 0)
    tried = encode_range(np.array([low * share]), np.array([high * share]), spec)
    found = histogram.encoding(spec)
    assert abs(np.subtract(*errors(tried))) <= widths + rounding
    # 0.4 %: half of the distance of the last scales that were tried.
    assert errors(found)[0] <= errors(tried)[0] * 1.004 + 2 * widths + rounding


@given(
    values=arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    percentile=st.sampled_from([90.0, 99.0, 99.99, 100.0]),
)
def test_percentiles_are_those_of_sorted_data_within_a_sixteenth(
    values: NDArray[np.float32], cuts: list[int], percentile: float
) -> None:
    """In whatever batches they come.  Between two ranks, any value between the two that have them will do."""
    histogram = BitHistogram.empty()
    for batch in np.split(values, sorted(cuts)):
        histogram = histogram.observe(batch[None])
    ordered = np.sort(values).astype(np.float64)
    for share in (1 - percentile / 100, percentile / 100):
        rank = share * values.size
        before, after = (ordered[int(np.clip(r, 0, values.size - 1))] for r in (np.ceil(rank) - 1, np.floor(rank)))
        found = histogram.quantiles(0, np.array([share]))[0]
        off = RELATIVE_WIDTH * (1 + 2**-10) * max(abs(before), abs(after)) + 2.0**-130
        assert before - off <= found <= after + off
