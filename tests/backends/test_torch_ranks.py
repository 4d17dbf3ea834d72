"""Calibration and training under `torchrun`, on one machine with gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import qsimc
from qsimc import cli
from tests.backends.torch_ranks import BIASES, CONFIG, DATA, MODEL, images

pytestmark = pytest.mark.slow

PATIENCE = 240
"""Seconds until processes that wait for each other are given up."""

SETTINGS = ("--data", DATA, "--limit", "70", "--batch-size", "16", "--calib", "sqnr", "--backend", "torch")


def python(*arguments: str | Path, ranks: int = 0) -> subprocess.CompletedProcess[str]:
    """Run Python, under torchrun if `ranks` says so; with one thread each, as torchrun sets it for several."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks else []
    paths = [str(Path(qsimc.__file__).parents[1]), str(Path(__file__).parent)]
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([*paths, str(Path(paths[0]) / "backends")]),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def quantized(out: Path, ranks: int = 0) -> subprocess.CompletedProcess[str]:
    return python("-m", "qsimc", "quantize", CONFIG, "--model", MODEL, *SETTINGS, "--out", out, ranks=ranks)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes, without torchrun."""
    out = tmp_path_factory.mktemp("plain") / "out"
    made = quantized(out)
    assert made.returncode == 0, made.stderr
    return out


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_number_of_ranks_gives_the_bytes_of_one_process(plain: Path, tmp_path: Path, ranks: int) -> None:
    made = quantized(tmp_path / "out", ranks)
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("19 quantizers calibrated on 70 samples") == 1
    expected = {path.name: path.read_bytes() for path in plain.iterdir()}
    assert {"encodings.json", "plan.json", "qsimc.lock", "digits_quantsim.py", "digits.safetensors"} <= expected.keys()
    for name, content in expected.items():
        assert (tmp_path / "out" / name).read_bytes() == content, name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_rank_that_dies_ends_the_others(tmp_path: Path) -> None:
    settings = ("--data", "torch_ranks:deadly_on_one", "--backend", "torch", "--out", tmp_path / "out")
    made = python("-m", "qsimc", "quantize", CONFIG, "--model", MODEL, *settings, ranks=2)
    assert made.returncode != 0
    assert not (tmp_path / "out").exists()


# ── two ranks ────────────────────────────────────────────────────────────────────────────────

Told = Mapping[str, Any]


@pytest.fixture(scope="module")
def pair(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, Told]:
    """Where two ranks wrote, and what each of them saw (torch_ranks.py)."""
    out = tmp_path_factory.mktemp("pair")
    (out / "file").write_text("mine", encoding="utf-8")
    script = Path(__file__).with_name("torch_ranks.py")
    made = python(script, out, plain / "digits_quantsim.py", ranks=2)
    assert made.returncode == 0, made.stderr
    first, second = (json.loads((out / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))
    assert (first["ranks"], second["ranks"]) == ([0, 2], [1, 2])
    return out, first, second


@pytest.mark.parametrize(
    ("case", "status", "said"),
    [
        ("broken on one", 1, "the disk of rank 1 is gone"),
        ("shuffled", 1, "error[Q0620]: rank 1 calibrates something else than rank 0"),
        ("no data", 2, "error[Q0601]"),
        ("in the way", 1, "error[Q0611]"),
        ("vitis", 1, "error[Q0618]"),
        ("shard", 2, "`--shard` is for one process"),
        ("biases", 0, "19 quantizers calibrated on 50 samples"),
        ("bug", 101, "rank 1: Traceback"),
        ("calibrate", 0, "19 encodings from 70 samples"),
    ],
)
def test_all_ranks_end_alike_and_the_first_one_says_why(
    pair: tuple[Path, Told, Told], case: str, status: int, said: str
) -> None:
    _, first, second = pair
    assert (first[case]["status"], second[case]["status"]) == (status, status)
    assert first[case]["said"].count(said) == 1
    assert second[case]["said"] == ""


def test_what_failed_wrote_nothing(pair: tuple[Path, Told, Told]) -> None:
    out, _, _ = pair
    assert sorted(path.name for path in out.iterdir()) == ["0.json", "1.json", "biases", "file", "python", "result"]
    assert (out / "file").read_text(encoding="utf-8") == "mine"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let PyTorch add up in the order that it has in the ranks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_calibration_alone_is_shared_as_well(pair: tuple[Path, Told, Told], tmp_path: Path) -> None:
    settings = ("--data", DATA, "--limit", "70", "--calib", "entropy", "--backend", "torch")
    assert cli.run(["calibrate", CONFIG, "--model", MODEL, *settings, "--out", str(tmp_path / "out")]) == 0
    for name in ("encodings.json", "plan.json", "qsimc.lock", "stats/index.json", "stats/statistics.npz"):
        assert (pair[0] / "result" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


@pytest.mark.usefixtures("one_thread")
def test_biases_are_corrected_on_all_of_the_data(pair: tuple[Path, Told, Told], tmp_path: Path) -> None:
    settings = ("--data", DATA, *BIASES, "--backend", "torch")
    assert cli.run(["quantize", CONFIG, "--model", MODEL, *settings, "--out", str(tmp_path / "out")]) == 0
    for name in ("encodings.json", "digits.safetensors"):
        assert (pair[0] / "biases" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


@pytest.mark.usefixtures("one_thread")
def test_every_rank_gets_the_result_in_python(pair: tuple[Path, Told, Told], tmp_path: Path) -> None:
    out, first, second = pair
    assert first["python"] == second["python"]
    batches = [{"image": images()[:n]} for n in (4, 2, 7)]
    qsimc.quantize(CONFIG, model=MODEL, data=batches, out=tmp_path / "out", backend="torch")
    assert (out / "python/encodings.json").read_bytes() == (tmp_path / "out/encodings.json").read_bytes()


def test_ranks_that_train_together_agree_and_follow_the_whole_batch(pair: tuple[Path, Told, Told]) -> None:
    _, first, second = pair
    together, alone = first["trained together"], first["trained alone"]
    assert second["trained together"] == together
    assert any(name.endswith(".scale") for name in together)
    for name, values in alone.items():
        np.testing.assert_allclose(together[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
