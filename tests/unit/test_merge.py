"""`qsimc calibrate --shard` and `qsimc merge`: the same bytes as from one process, or a reason why not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import reduce
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from onnx.helper import make_node
from qsimc_onnx import BACKEND

from qsimc import cli
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.observed import Observed
from qsimc.calibrate.shard import Shard
from qsimc.ir.quant import Calib
from qsimc.pipeline.calibrate import encode, observe, observe_constants
from qsimc.pipeline.shards import observe_shard
from qsimc.schemas.written import SHAPES
from tests.backends.onnx_models import INT8, data, model_of, opened, plan_of, value
from tests.command_line import Run

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "demo/config.json"
MODEL = ROOT / "demo/digits.onnx"
DATA = ROOT / "demo/digits_calibration.npz"
SETTINGS = ("--limit", "50", "--batch-size", "8")  # seven batches, the last one shorter


def calibrate(run: Run, out: Path, *more: str | Path, config: Path = CONFIG, model: Path = MODEL) -> Path:
    status, _, said = run("calibrate", config, "--model", model, "--data", DATA, *SETTINGS, *more, "--out", out)
    assert status == 0, said
    return out


def sharded(run: Run, folder: Path, of: int, *more: str | Path) -> list[Path]:
    return [calibrate(run, folder / f"{i}of{of}", "--shard", f"{i}/{of}", *more) for i in range(1, of + 1)]


@pytest.fixture
def halves(run: Run, tmp_path: Path) -> list[Path]:
    return sharded(run, tmp_path, 2)


# ── the result ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("calib", "shardings"),
    [("minmax", (1, 2, 3, 5)), ("sqnr", (1, 2, 3, 5)), ("percentile", (3,)), ("mse", (2,)), ("entropy", (3,))],
)
def test_shards_merge_to_the_bytes_of_one_process(
    run: Run, tmp_path: Path, calib: str, shardings: tuple[int, ...]
) -> None:
    whole = calibrate(run, tmp_path / "whole", "--calib", calib)
    for of in shardings:
        parts = sharded(run, tmp_path, of, "--calib", calib)
        merged = tmp_path / f"merged{of}"
        assert run("merge", *reversed(parts), "--out", merged)[0] == 0
        for name in ("encodings.json", "plan.json", "qsimc.lock"):
            assert (merged / name).read_bytes() == (whole / name).read_bytes(), (name, of)


def test_more_shards_than_batches_are_no_mistake(run: Run, tmp_path: Path) -> None:
    few = ("--limit", "16", "--calib", "sqnr")
    whole = calibrate(run, tmp_path / "whole", *few)
    parts = sharded(run, tmp_path, 4, *few)
    assert run("merge", *parts, "--out", tmp_path / "merged")[0] == 0
    assert (tmp_path / "merged/encodings.json").read_bytes() == (whole / "encodings.json").read_bytes()


def test_what_a_merge_writes_is_a_result(run: Run, tmp_path: Path, halves: list[Path]) -> None:
    merged = tmp_path / "merged"
    assert run("merge", *halves, "--out", merged)[0] == 0
    assert run("export", merged, "--to", "qdq")[0] == 0
    assert (merged / "digits.qdq.onnx").exists()


def test_the_lock_of_a_shard_says_which_it_is(halves: list[Path]) -> None:
    lock = json.loads((halves[1] / "qsimc.lock").read_text(encoding="utf-8"))
    jsonschema.validate(lock, SHAPES["lock"]())
    assert (lock["shard"]["number"], lock["shard"]["of"], lock["options"]["samples"]) == (2, 2, 50)


def test_merge_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["merge", "--help"]) == 0
    assert "qsimc merge shard1" in capsys.readouterr().out


def test_a_shard_is_no_result(run: Run, halves: list[Path]) -> None:
    assert not (halves[0] / "encodings.json").exists()
    status, _, said = run("export", halves[0], "--to", "qdq")
    assert (status, "Q0801" in said) == (1, True)


@pytest.fixture
def mask(tmp_path: Path) -> tuple[Path, Path]:
    """A model whose `log` is -inf in the second of three batches, and data for it."""
    nodes = [make_node("Log", ["x"], ["log"], "log"), make_node("Relu", ["log"], ["y"], "relu")]
    onnx.save(model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])]), tmp_path / "mask.onnx")
    x = np.random.default_rng(0).uniform(0.5, 4, (3, 4)).astype(np.float32)
    x[1, 2] = 0.0
    np.savez(tmp_path / "x.npz", x=x)
    return tmp_path / "mask.onnx", tmp_path / "x.npz"


@pytest.mark.parametrize("calib", ["minmax", "sqnr", "entropy"])
def test_infinity_in_one_shard_leaves_a_tensor_float(
    run: Run, tmp_path: Path, mask: tuple[Path, Path], calib: str
) -> None:
    model, x = mask
    settings = ("calibrate", "aimet:default", "--model", model, "--data", x, "--calib", calib)
    status, _, said = run(*settings, "--out", tmp_path / "whole")
    assert (status, "Q0614" in said) == (0, True), said
    for of in (2, 3):
        parts = [tmp_path / f"{i}of{of}" for i in range(1, of + 1)]
        for i, part in enumerate(parts, 1):
            assert run(*settings, "--shard", f"{i}/{of}", "--out", part)[0] == 0
        status, _, said = run("merge", *parts, "--out", tmp_path / f"merged{of}")
        assert (status, "Q0614" in said) == (0, True), said
        for name in ("encodings.json", "plan.json"):
            assert (tmp_path / f"merged{of}" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(("dialect", "calib"), [("qsim", Calib.ENTROPY), ("aimet", Calib.SQNR), ("qsim", Calib.MINMAX)])
def test_a_constant_that_shares_a_quantizer_counts_once(tmp_path: Path, dialect: str, calib: Calib) -> None:
    nodes = [make_node("Relu", ["x"], ["relu"], "relu"), make_node("Mul", ["relu", "c"], ["y"], "mul")]
    constants = {"c": np.array([[0.0, 0.25, 0.5, 3.0]] * 40, np.float32)}
    model = opened(model_of(nodes, [value("x", [40, 4])], [value("y", [40, 4])], constants), tmp_path)
    spec = replace(INT8, calib=calib)
    plan = plan_of(model, {"c": spec, "relu": spec, "y": spec}, {"relu": "c", "y": "c"})
    plan = replace(plan, dialect=dialect)
    batches = [{"x": data([40, 4], seed)} for seed in range(5)]
    known = observe_constants(model, plan)
    whole = observe(BACKEND, model, plan, known, batches, lambda _: None)
    expected = encode(model, plan, known, whole).encodings["y"]
    for of in (1, 2, 3):
        parts = [
            observe_shard(BACKEND, model, plan, known, batches, Shard(i, of), lambda _: None) for i in range(1, of + 1)
        ]
        found = encode(model, plan, known, reduce(Observed.merge, parts)).encodings["y"]
        assert (found.scale[0], found.zero_point[0]) == (expected.scale[0], expected.zero_point[0])
        if isinstance(whole.observers["c"], BitHistogram):
            counts = reduce(Observed.merge, parts).observers["c"]
            assert isinstance(counts, BitHistogram)
            np.testing.assert_array_equal(counts.counts, whole.observers["c"].counts)


# ── what is refused ──────────────────────────────────────────────────────────────────────────


def test_a_missing_shard_is_named(run: Run, tmp_path: Path) -> None:
    parts = sharded(run, tmp_path, 3)
    status, _, said = run("merge", parts[0], parts[2], "--out", tmp_path / "merged")
    assert (status, "error[Q0621]: shard 2 of 3 is missing" in said) == (1, True)
    assert not (tmp_path / "merged").exists()


def test_a_shard_given_twice_is_named(run: Run, tmp_path: Path, halves: list[Path]) -> None:
    status, _, said = run("merge", *halves, halves[1], "--out", tmp_path / "merged")
    assert (status, "error[Q0621]: shard 2 of 2 is there 2 times" in said) == (1, True)


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        (("--calib", "entropy"), "not the same: the options, the plan"),
        (("--limit", "24"), "not the same: the options"),
        (("--batch-size", "4"), "not the same: the size of batches"),
    ],
)
def test_shards_of_different_runs_are_refused(
    run: Run, tmp_path: Path, halves: list[Path], other: tuple[str, ...], differing: str
) -> None:
    strange = calibrate(run, tmp_path / "strange", "--shard", "2/2", *other)
    status, _, said = run("merge", halves[0], strange, "--out", tmp_path / "merged")
    assert (status, "Q0620" in said, differing in said) == (1, True, True), said


def test_a_shard_of_other_data_is_refused(run: Run, tmp_path: Path, halves: list[Path]) -> None:
    with np.load(DATA) as arrays:
        np.savez(tmp_path / "other.npz", image=arrays["image"][::-1])
    strange = calibrate(run, tmp_path / "strange", "--shard", "2/2", "--data", tmp_path / "other.npz")
    status, _, said = run("merge", halves[0], strange, "--out", tmp_path / "merged")
    assert (status, "Q0620" in said, "not the same: the data" in said) == (1, True, True), said


def test_a_configuration_that_changed_since_is_refused_and_one_that_moved_is_not(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    shutil.copy(CONFIG, config)
    parts = [calibrate(run, tmp_path / f"{i}", "--shard", f"{i}/2", config=config) for i in (1, 2)]
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    status, _, said = run("merge", *parts, "--out", tmp_path / "merged")
    assert (status, "Q0620" in said, "not the same: the configuration" in said) == (1, True, True), said
    config.unlink()
    assert run("merge", *parts, "--out", tmp_path / "merged")[0] == 2
    assert run("merge", *parts, "--config", CONFIG, "--model", MODEL, "--out", tmp_path / "merged")[0] == 0


def test_a_result_is_no_shard(run: Run, tmp_path: Path) -> None:
    whole = calibrate(run, tmp_path / "whole")
    for folder in (whole, tmp_path):
        status, _, said = run("merge", folder, "--out", tmp_path / "merged")
        assert (status, "Q0619" in said) == (1, True), said


def test_code_that_a_lock_names_is_not_run(
    run: Run, tmp_path: Path, halves: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile.py").write_text("raise SystemExit('it ran')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for folder in halves:
        lock = json.loads((folder / "qsimc.lock").read_text(encoding="utf-8"))
        lock["model"]["path"] = "hostile:factory"
        (folder / "qsimc.lock").write_text(json.dumps(lock), encoding="utf-8")
    status, _, said = run("merge", *halves, "--out", tmp_path / "merged")
    assert (status, "Q0622" in said, "it ran" in said) == (1, True, False), said


@pytest.mark.parametrize("damage", ["statistics.npz", "index.json"])
def test_damaged_statistics_are_refused(run: Run, tmp_path: Path, halves: list[Path], damage: str) -> None:
    path = halves[1] / "stats" / damage
    path.write_bytes(path.read_bytes()[:-40])
    status, _, said = run("merge", *halves, "--out", tmp_path / "merged")
    assert (status, "Q0619" in said) == (1, True), said


def test_statistics_of_another_quantizer_are_refused(run: Run, tmp_path: Path, halves: list[Path]) -> None:
    path = halves[1] / "stats/index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["statistics"] = {f"{tensor}?": entry for tensor, entry in index["statistics"].items()}
    path.write_text(json.dumps(index), encoding="utf-8")
    status, _, said = run("merge", *halves, "--out", tmp_path / "merged")
    assert (status, "Q0619" in said) == (1, True), said


@pytest.mark.parametrize(("config", "more"), [("vitis:default", ()), (str(CONFIG), ("--rewrite", "correct-biases"))])
def test_what_each_batch_changes_for_the_next_is_not_sharded(
    run: Run, tmp_path: Path, config: str, more: tuple[str, ...]
) -> None:
    settings = ("--model", MODEL, "--data", DATA, "--shard", "1/2", *more)
    status, _, said = run("calibrate", config, *settings, "--out", tmp_path / "x")
    assert (status, "Q0618" in said) == (1, True), said
    assert not (tmp_path / "x").exists()


def test_a_histogram_that_the_first_batch_does_not_lay_out_is_not_sharded(run: Run, tmp_path: Path) -> None:
    with np.load(DATA) as arrays:
        images = arrays["image"][:32].copy()
    images[:8] = 0
    np.savez(tmp_path / "dark.npz", image=images)
    settings = ("--model", MODEL, "--data", tmp_path / "dark.npz", "--batch-size", "8", "--calib", "sqnr")
    status, _, said = run("calibrate", CONFIG, *settings, "--shard", "2/2", "--out", tmp_path / "x")
    assert (status, "error[Q0618]: `image` cannot be calibrated in shards" in said) == (1, True), said


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b"])
def test_a_shard_that_there_is_not_is_a_mistake_of_the_command_line(run: Run, tmp_path: Path, shard: str) -> None:
    settings = ("--model", MODEL, "--data", DATA, "--shard", shard)
    assert run("calibrate", CONFIG, *settings, "--out", tmp_path / "x")[0] == 2
