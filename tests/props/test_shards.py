"""Laws of shards: every batch is in one, and what all of them observed is what one process would have."""

from __future__ import annotations

import random as random_module
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from qsimc.calibrate.aimet_histogram import AimetHistogram
from qsimc.calibrate.aimet_record import AimetRecord
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.minmax import MinMax
from qsimc.calibrate.observed import Observed
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.shard import Shard
from qsimc.ir.quant import Calib, QuantSpec
from qsimc.pipeline.statistics import DamagedError, read_statistics, write_statistics

Batches = list[tuple[NDArray[np.float32], ...]]

TENSORS = 2
"""How many tensors of each batch share a quantizer here."""

elements = st.floats(-100, 100, width=32)
arrays_of = st.integers(0, 12).flatmap(lambda n: arrays(np.float32, (2, n), elements=elements))
batches = st.lists(st.tuples(arrays_of, arrays_of), min_size=1, max_size=9)


@given(st.integers(1, 12), st.integers(0, 100))
def test_every_batch_is_in_exactly_one_shard(of: int, batch: int) -> None:
    assert [Shard(number, of).takes(batch) for number in range(1, of + 1)].count(True) == 1


@given(st.integers(1, 12), st.integers(0, 100))
def test_a_shard_knows_which_batch_its_turn_is(of: int, turn: int) -> None:
    for shard in (Shard(number, of) for number in range(1, of + 1)):
        taken = [batch for batch in range((turn + 1) * of) if shard.takes(batch)]
        assert taken[turn] == shard.batch(turn)


def test_shards_are_spelled_from_one() -> None:
    assert Shard.parse("2/4") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"
    for text in ("0/4", "5/4", "2", "2/", "-1/4", "2/4/6", "1/0", "1.0/2", ""):
        with pytest.raises(ValueError, match="shard"):
            Shard.parse(text)


def in_one_process(stream: Batches) -> AimetHistogram:
    return reduce(AimetHistogram.observe, [tensor for batch in stream for tensor in batch], AimetHistogram.empty(2))


def recorded(stream: Batches, of: int) -> list[AimetRecord]:
    base = in_one_process(stream[:1])
    shards = [Shard(number, of) for number in range(1, of + 1)]
    return [
        reduce(
            AimetRecord.observe,
            [tensor for position, batch in enumerate(stream) if shard.takes(position) for tensor in batch],
            AimetRecord.after(base, shard, TENSORS),
        )
        for shard in shards
    ]


def grouped(parts: list[AimetRecord], random: random_module.Random) -> AimetRecord:
    """Merge in any order and in any grouping."""
    parts = list(parts)
    while len(parts) > 1:
        one, other = (parts.pop(random.randrange(len(parts))) for _ in range(2))
        parts.append(one.merge(other))
    return parts[0]


def assert_same(one: AimetHistogram, other: AimetHistogram) -> None:
    assert one.observed == other.observed
    for ours, theirs in zip(one.channels, other.channels, strict=True):
        assert (ours.width, ours.first, ours.batches) == (theirs.width, theirs.first, theirs.batches)
        np.testing.assert_array_equal(ours.shares, theirs.shares)


@given(stream=batches, of=st.integers(1, 5), random=st.randoms(use_true_random=False))
def test_shards_of_aimets_histogram_are_exactly_one_in_any_grouping(
    stream: Batches, of: int, random: random_module.Random
) -> None:
    merged = grouped(recorded(stream, of), random)
    if not merged.late:
        assert_same(merged.replayed(), in_one_process(stream))


@given(stream=batches, of=st.integers(1, 5))
def test_only_a_channel_laid_out_after_the_first_batch_is_late(stream: Batches, of: int) -> None:
    first, whole = in_one_process(stream[:1]), in_one_process(stream)
    expected = any(a.width == 0 < b.width for a, b in zip(first.channels, whole.channels, strict=True))
    assert any(record.late for record in recorded(stream, of)) == expected


def test_the_order_of_batches_counts_in_aimets_histogram() -> None:
    """Else there would be nothing to record."""
    random = np.random.default_rng(0)
    stream: Batches = [(random.normal(size=(2, 101)).astype(np.float32),) * TENSORS for _ in range(7)]
    backwards = in_one_process([stream[0], *stream[:0:-1]])
    shares = in_one_process(stream).channels[0].shares
    assert not np.array_equal(backwards.channels[0].shares, shares)
    np.testing.assert_allclose(backwards.channels[0].shares, shares, atol=1e-12)


def test_records_of_different_first_batches_do_not_merge() -> None:
    one, other = (
        AimetRecord.after(AimetHistogram.empty().observe(np.full((1, 4), value)), Shard(1, 2), 1)
        for value in (1.0, 2.0)
    )
    with pytest.raises(ValueError, match="different first batches"):
        one.merge(other)


def test_infinity_in_one_shard_leaves_the_quantizer_without_a_statistic_in_all() -> None:
    seen = MinMax.empty().observe(np.ones((1, 3)))
    one, other = Observed(observers={"a": seen, "b": seen}), Observed(observers={"b": seen, "c": seen})
    assert one.merge(other).observers.keys() == other.merge(one).observers.keys() == {"b"}


@pytest.mark.parametrize("calib", [Calib.SQNR, Calib.PERCENTILE, Calib.MINMAX])
def test_statistics_come_back_from_a_file_as_they_were(calib: Calib, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    stream: Batches = [tuple(random.normal(size=(2, 50)).astype(np.float32) for _ in range(2)) for _ in range(5)]
    shown = stream[0][0]
    observers: dict[str, Observer] = {
        "record": recorded(stream, 2)[1],
        "with/slash": MinMax.empty(2, "aimet").observe(shown),
        "": BitHistogram.empty(2).observe(shown),
        "nothing": AimetRecord.after(in_one_process(stream[:1]), Shard(3, 3), TENSORS),
    }
    write_statistics(tmp_path / "stats", observers)
    found: dict[str, Any] = read_statistics(tmp_path / "stats")
    assert [*found] == [*observers]
    spec = QuantSpec(bits=8, symmetric=False, calib=calib, percentile=99.0)
    for name, observer in observers.items():
        assert type(found[name]) is type(observer)
        expected, made = observer.encoding(spec, 0), found[name].encoding(spec, 0)
        assert (made.numerics, made.qmin, made.qmax) == (expected.numerics, expected.qmin, expected.qmax)
        np.testing.assert_array_equal(made.scale, expected.scale)
        np.testing.assert_array_equal(made.zero_point, expected.zero_point)
    again = recorded(stream, 2)[0].merge(found["record"])
    assert_same(again.replayed(), in_one_process(stream))


def test_what_depends_on_the_order_of_batches_is_not_read_back(tmp_path: Path) -> None:
    write_statistics(tmp_path / "stats", {"x": AimetHistogram.empty().observe(np.ones((1, 3)))})
    with pytest.raises(DamagedError, match="AimetHistogram"):
        read_statistics(tmp_path / "stats")
