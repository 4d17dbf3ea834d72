"""Rounding to narrow floats equals that of the types themselves."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.calibrate.casts import cast
from qsimc.ir.quant import Numeric

floats = st.lists(st.floats(width=32), min_size=1)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@given(floats)
def test_a_bfloat16_is_that_of_the_type(values: list[float]) -> None:
    x = np.array(values, np.float32)
    wanted = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(cast(x, Numeric.BFLOAT, 16), wanted, equal_nan=True)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@given(floats)
def test_a_float16_is_that_of_the_type(values: list[float]) -> None:
    x = np.array(values, np.float32)
    wanted = x.astype(np.float16).astype(np.float32)
    assert np.array_equal(cast(x, Numeric.FLOAT, 16), wanted, equal_nan=True)


@given(floats)
def test_a_float32_stays(values: list[float]) -> None:
    x = np.array(values, np.float32)
    assert np.array_equal(cast(x, Numeric.FLOAT, 32), x, equal_nan=True)
    assert np.array_equal(
        cast(cast(x, Numeric.BFLOAT, 16), Numeric.BFLOAT, 16), cast(x, Numeric.BFLOAT, 16), equal_nan=True
    )
