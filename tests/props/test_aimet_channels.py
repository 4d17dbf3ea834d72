"""AIMET's histograms and searches of many channels, beside those of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qsimc.calibrate.aimet_buckets import LARGEST, Buckets
from qsimc.calibrate.aimet_channels import extended, least_errors
from qsimc.calibrate.aimet_search import least_error
from qsimc.calibrate.levels import Levels

KINDS = st.sampled_from(
    ["normal", "positive", "negative", "one-sided", "zeros", "equal", "tiny", "huge", "infinite ends", "far", "outlier"]
)


def channel(kind: str, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    values = rng.normal(size=size).astype(np.float32)
    match kind:
        case "positive":
            values = np.abs(values) + np.float32(1)
        case "negative":
            values = -np.abs(values)
        case "one-sided":
            values = np.maximum(values, 0)
        case "zeros":
            values = np.zeros_like(values)
        case "equal":
            values = np.full_like(values, 0.3)
        case "tiny":
            values *= np.float32(1e-30)
        case "huge":
            values *= np.float32(3e37)
        case "infinite ends":
            values[0], values[-1] = -LARGEST * np.float32(15), LARGEST * np.float32(15)
        case "far":
            values = np.float32(5000) + values * np.float32(1e-3)
        case "outlier":
            values[size // 2] = 1000
    return values


@given(st.lists(KINDS, min_size=1, max_size=12), st.sampled_from([1, 2, 9, 300]), st.integers(0, 2**32 - 1))
def test_channels_are_counted_as_each_alone(kinds: list[str], size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    together: tuple[Buckets, ...] = (Buckets.empty(),) * len(kinds)
    alone = list(together)
    for _ in range(2):
        values = np.stack([channel(kind, size, rng) for kind in kinds])
        together = extended(together, values)
        alone = [buckets.extended(row) for buckets, row in zip(alone, values, strict=True)]
        for one, other in zip(together, alone, strict=True):
            assert (one.width, one.first, one.batches) == (other.width, other.first, other.batches)
            np.testing.assert_array_equal(one.shares, other.shares)


@given(
    st.lists(KINDS, min_size=1, max_size=12),
    st.sampled_from([2, 4, 8, 16]),
    st.sampled_from(["asymmetric", "symmetric", "narrow", "unsigned"]),
    st.integers(0, 2**32 - 1),
)
def test_channels_are_searched_as_each_alone(kinds: list[str], bits: int, kind: str, seed: int) -> None:
    levels = Levels(bits, symmetric=kind != "asymmetric", narrow=kind == "narrow", unsigned=kind == "unsigned")
    rng = np.random.default_rng(seed)
    values = np.stack([channel(kind, 64, rng) for kind in kinds])
    laid_out = [buckets for buckets in extended((Buckets.empty(),) * len(kinds), values) if buckets.width > 0]
    if laid_out:
        assert least_errors(laid_out, levels) == [least_error(buckets, levels) for buckets in laid_out]


def test_no_channel_is_nothing() -> None:
    assert extended((), np.zeros((0, 9), np.float32)) == ()


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_without_values_stay_empty(channels: int) -> None:
    found = extended((Buckets.empty(),) * channels, np.zeros((channels, 0), np.float32))
    assert [buckets.batches for buckets in found] == [0] * channels
