"""The kernels in C, beside their twins in NumPy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import qsimc
from qsimc import native
from qsimc.calibrate.aimet_buckets import BUCKETS, average_in
from qsimc.calibrate.grid import CELLS, Grid, GridTally
from qsimc.calibrate.tally import Tally
from tests.backends.onnx_models import data, opened, small_net
from tests.tallies import assert_alike

ROOT = Path(__file__).resolve().parents[2]

ANY = arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_nan=False))
SHARED_OUT = 5_000
"""More values than are looked at together."""


@pytest.fixture
def kernels() -> None:
    if native.kernels() is None:
        pytest.skip("the kernels are not built here")


@pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="there is no C compiler")
@pytest.mark.skipif(not native.wanted(), reason="the kernels are not wanted")
def test_the_kernels_are_built_where_there_is_a_compiler() -> None:
    assert native.kernels() is not None


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "kernels", lambda: None)


@pytest.mark.usefixtures("kernels")
@given(st.lists(ANY, max_size=3), st.integers(1, 300))
def test_counts_by_leading_bits_are_those_of_numpy(batches: list[NDArray[np.float32]], repeats: int) -> None:
    native_tally, numpy_tally = Tally(2), Tally(2)
    for batch in batches:
        native_tally.count(1, np.tile(batch, repeats))
    with pytest.MonkeyPatch.context() as patch:
        without(patch)
        for batch in batches:
            numpy_tally.count(1, np.tile(batch, repeats))
    assert_alike(native_tally.rows, numpy_tally.rows)
    assert native_tally.counts(slice(1, 2)).sum() == sum(batch.size for batch in batches) * repeats


@pytest.mark.usefixtures("kernels")
@given(
    ANY,
    st.integers(1, 300),
    st.floats(2**-40, 2**40, width=32),
    st.integers(-(2**25), 2**25),
    st.integers(0, 700),
    st.integers(701, CELLS - 1),
)
def test_counts_on_grids_are_those_of_numpy(
    values: NDArray[np.float32], repeats: int, reciprocal: float, before: int, lowest: int, highest: int
) -> None:
    rows = []
    many = np.tile(values, repeats)
    for counted_by in ("native", "numpy"):
        with pytest.MonkeyPatch.context() as patch:
            if counted_by == "numpy":
                without(patch)
            tally = GridTally(2)
            tally.count(1, many)
            tally.clear()
            tally.lay_out(1, Grid(np.float32(reciprocal), before, lowest, highest))
            tally.count(1, many)
            tally.count(0, many)
        rows.append(tally.rows)
        assert tally.counts(1).sum() == many.size
        assert tally.counts(0).sum() == 0
    assert_alike(*rows)


@pytest.mark.usefixtures("kernels")
@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=6))
def test_batches_are_averaged_in_as_numpy_does(seed: int, pairs: list[tuple[int, int]]) -> None:
    rng = np.random.default_rng(seed)
    grids = GridTally(4)
    for stream in range(4):
        grids.counts(stream)[:] = rng.integers(0, 50, CELLS) * (rng.random(CELLS) < 0.3)
        grids.counts(stream)[5] += 1
    shares = [rng.random((3, BUCKETS))] * 2
    shares[1], batches = shares[0].copy(), [np.array([0.0, 1.0, 7.0]) for _ in range(2)]
    average_in(shares[0], batches[0], grids, pairs)
    with pytest.MonkeyPatch.context() as patch:
        without(patch)
        average_in(shares[1], batches[1], grids, pairs)
    np.testing.assert_array_equal(shares[0], shares[1])
    np.testing.assert_array_equal(batches[0], batches[1])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, SHARED_OUT // 2, SHARED_OUT - 1])
def test_what_is_not_finite_is_seen(bad: float, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = data((SHARED_OUT,))
    values[place] = bad
    for _ in range(2):
        tally = Tally(3)
        tally.count(1, values)
        tally.count(2, data((5,)))
        assert tally.nan.tolist() == [False, bool(np.isnan(bad)), False]
        assert tally.infinite.tolist() == [False, True, False]
        without(monkeypatch)


def test_a_missing_kernel_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch)
    model = opened(small_net(), tmp_path)
    batches = [{"x": data((2, 3, 4, 4), seed)} for seed in range(3)]
    said = []
    for switch in ("1", "0"):
        monkeypatch.setenv("QSIMC_NATIVE", switch)
        made = qsimc.quantize("aimet:default", model=model.path, data=batches, out=str(tmp_path / f"out{switch}"))
        said.append([f.code for f in made.findings].count("Q0623"))
    assert said == [1, 0]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None, reason="sanitizers come with gcc on Linux")
def test_the_kernels_run_clean_under_sanitizers(tmp_path: Path) -> None:
    """Every property above once more, in a library that checks its memory and its arithmetic."""
    library = tmp_path / native.LIBRARY.name
    flags = ["-std=c11", "-O1", "-g", "-ffp-contract=off", "-fPIC", "-shared", "-fsanitize=address,undefined"]
    source = ROOT / "qsimc/native/kernels.c"
    subprocess.run(["gcc", *flags, "-fno-sanitize-recover=all", str(source), "-lm", "-o", str(library)], check=True)
    preload = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    # Python itself leaks by design, and the sanitizer must come first in a process that was not built with it.
    environment = {**os.environ, "LD_PRELOAD": preload.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    script = (
        "import pathlib, sys, pytest\n"
        "from qsimc import native\n"
        "native.LIBRARY = pathlib.Path(sys.argv[1])\n"
        "assert native.kernels() is not None\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[2:]]))\n"
    )
    names = ("observe", "blocked", "depthwise", "chains", "tally")
    backends = [f"tests/backends/test_onnx_{name}.py" for name in names]
    chosen = ["tests/unit/test_native.py", *backends, "-k", "counts or finite or grid or numbers or averaged or bit"]
    done = subprocess.run(
        [sys.executable, "-c", script, str(library), *chosen],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
