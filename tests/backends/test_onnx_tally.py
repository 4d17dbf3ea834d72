"""Counting inside onnxruntime, by leading bits and on grids at once, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_node, make_opsetid
from qsimc_onnx.session import FAILURES

from qsimc import native
from qsimc.calibrate.grid import CELLS, Grid, GridTally
from qsimc.calibrate.tally import Tally
from tests.backends.onnx_models import data, model_of, needs_kernels, outputs_of, value
from tests.tallies import assert_alike

ROW, GRID = 1, 2
"""Where the node counts; other rows must stay as they are."""

WIDE = Grid(np.float32(32), -768, 1, CELLS - 2)


def count(values: NDArray[np.float32], tally: Tally, grids: GridTally, *, threads: int = 1, grid: int = GRID) -> None:
    """Count values as a model does that has the node."""
    placed: dict[str, Any] = {"row": ROW, "grid": grid, "threads": threads, "domain": native.DOMAIN}
    node = make_node("TallyBoth", ["x", "tally", "grids"], ["zero"], **placed)
    inputs = [value("x", [None]), *(value(name, [None, None], TensorProto.INT64) for name in ("tally", "grids"))]
    model = model_of([node], inputs, [value("zero", [1])])
    model.opset_import.append(make_opsetid(native.DOMAIN, 1))
    outputs_of(model, values, threads, tally=tally.rows, grids=grids.rows)


def by_numpy(values: NDArray[np.float32], grid: Grid | None) -> tuple[Tally, GridTally]:
    """Count values with NumPy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", lambda: None)
        tally, grids = laid_out(grid)
        tally.count(ROW, values)
        grids.count(GRID, values)
    return tally, grids


def laid_out(grid: Grid | None) -> tuple[Tally, GridTally]:
    tally, grids = Tally(3), GridTally(4)
    if grid is not None:
        grids.lay_out(GRID, grid)
    return tally, grids


def assert_counted(values: NDArray[np.float32], grid: Grid | None, threads: int = 1) -> None:
    tally, grids = laid_out(grid)
    count(values, tally, grids, threads=threads)
    expected_tally, expected_grids = by_numpy(values, grid)
    assert_alike(tally.rows, expected_tally.rows)
    assert_alike(grids.rows, expected_grids.rows)


GRIDS = st.builds(
    Grid,
    st.floats(2**-40, 2**40, width=32).map(np.float32),
    st.integers(-2000, 2000) | st.integers(-(2**25), 2**25),
    st.integers(0, 700),
    st.integers(701, CELLS - 1),
)
ANY = arrays.arrays(np.float32, st.integers(0, 400), elements=st.floats(width=32, allow_nan=False))
NEAR = arrays.arrays(np.float32, st.integers(0, 400), elements=st.floats(-40, 40, width=32))


@needs_kernels
@given(ANY | NEAR, st.none() | GRIDS | st.just(WIDE), st.integers(1, 3))
def test_bits_and_cells_are_those_of_numpy(values: NDArray[np.float32], grid: Grid | None, threads: int) -> None:
    assert_counted(values, grid, threads)


@needs_kernels
@given(st.integers(0, 2**16), st.floats(-20, 10), GRIDS | st.just(WIDE), st.integers(1, 3), st.integers(0, 40))
def test_counts_of_many_values_are_those_of_numpy(seed: int, scale: float, grid: Grid, threads: int, more: int) -> None:
    values = data((70_000 + more,), seed, 2.0**scale)
    values[values < -(2.0**scale)] = 0
    assert_counted(values, grid, threads)


@needs_kernels
@pytest.mark.parametrize("bad", [np.nan, -np.nan])
def test_nan_is_seen_and_disturbs_no_later_count(bad: float) -> None:
    values = data((1_000,))
    values[700] = bad
    tally, grids = laid_out(WIDE)
    count(values, tally, grids)
    assert tally.nan.tolist() == [False, True, False]
    assert_counted(data((1_000,), 1), WIDE)


@needs_kernels
@pytest.mark.parametrize("grid", [-1, 4])
def test_a_row_that_is_not_there_is_refused(grid: int) -> None:
    with pytest.raises(FAILURES, match="no such row"):
        count(data((5,)), *laid_out(None), grid=grid)
