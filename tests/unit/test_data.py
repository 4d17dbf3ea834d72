"""Calibration data in files: what fits a model is streamed, what does not is said."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qsimc.diagnostics import Severity
from qsimc.graph import Tensor
from tests.unit.calibration_data import IMAGE, good, images, opened, refused, sizes

ONE_IMAGE = {"image": Tensor("image", "float32", (1, 3, 4, 5))}

TEXT = {"ids": Tensor("ids", "int64", (None, 6)), "mask": Tensor("mask", "float32", (None, 6))}


# Archives


def test_an_archive_comes_in_batches_of_32(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(70))
    data = good(tmp_path / "d.npz", IMAGE)
    assert data.samples == 70
    assert sizes(data) == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in data]), images(70))


def test_a_compressed_archive_reads_the_same(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", image=images(7))
    np.testing.assert_array_equal(next(iter(good(tmp_path / "d.npz", IMAGE)))["image"], images(7))


def test_several_inputs_advance_together(tmp_path: Path) -> None:
    ids, mask = np.arange(60).reshape(10, 6), np.eye(10, 6, dtype=np.float32)
    np.savez(tmp_path / "d.npz", mask=mask, ids=ids)
    batches = list(good(tmp_path / "d.npz", TEXT, batch_size=4))
    assert [list(batch) for batch in batches] == [["ids", "mask"]] * 3
    np.testing.assert_array_equal(np.concatenate([batch["ids"] for batch in batches]), ids)
    np.testing.assert_array_equal(np.concatenate([batch["mask"] for batch in batches]), mask)


def test_a_limit_counts_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(70))
    data = good(tmp_path / "d.npz", IMAGE, batch_size=8, limit=20)
    assert (data.samples, sizes(data)) == (20, [8, 8, 4])


def test_a_fixed_first_axis_sets_the_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(3))
    assert sizes(good(tmp_path / "d.npz", ONE_IMAGE)) == [1, 1, 1]


def test_left_out_samples_are_announced(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(11))
    data, found = opened(tmp_path / "d.npz", {"image": Tensor("image", "float32", (4, 3, 4, 5))})
    assert data is not None
    assert (data.samples, sizes(data), sizes(data)) == (8, [4, 4], [4, 4])
    assert [(f.code, f.severity, f.message) for f in found] == [
        ("Q0608", Severity.WARNING, "the last 3 samples left out: the model takes exactly 4 at once")
    ]


def test_too_few_samples_for_one_batch_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(3))
    assert refused(tmp_path / "d.npz", {"image": Tensor("image", "float32", (4, 3, 4, 5))}).code == "Q0605"


def test_an_array_that_nobody_reads_is_a_warning(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(3), label=np.arange(3))
    data, found = opened(tmp_path / "d.npz", IMAGE)
    assert data is not None
    assert [f.code for f in found] == ["Q0609"]
    assert list(next(iter(data))) == ["image"]


def test_inputs_without_a_batch_axis_go_with_every_batch(tmp_path: Path) -> None:
    inputs = {
        "x": Tensor("x", "float32", (1, 4)),
        "state": Tensor("state", "float32", (2, 1, 3)),
        "rate": Tensor("rate", "int64", ()),
    }
    np.savez(tmp_path / "d.npz", x=np.ones((5, 4)), state=np.zeros((2, 1, 3)), rate=np.int64(16000))
    batches = list(good(tmp_path / "d.npz", inputs))
    assert [batch["x"].shape for batch in batches] == [(1, 4)] * 5
    assert {batch["state"].shape for batch in batches} == {(2, 1, 3)}
    assert {int(batch["rate"]) for batch in batches} == {16000}


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    samples = np.zeros((20_000, 2, 100), np.float32)  # 16 MB
    np.savez(tmp_path / "d.npz", x=samples)
    data = good(tmp_path / "d.npz", {"x": Tensor("x", "float32", (None, 2, 100))})
    tracemalloc.start()
    total = sum(len(batch["x"]) for batch in data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 20_000
    assert peak < 2_000_000


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(3))
    expected = hashlib.sha256((tmp_path / "d.npz").read_bytes()).hexdigest()
    assert good(tmp_path / "d.npz", IMAGE, limit=1).digest() == expected


# Folders


def test_each_file_of_a_folder_is_a_batch_in_name_order(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", images(2))
    np.savez(tmp_path / "a.npz", image=images(40))
    (tmp_path / "README.txt").write_text("not data")
    data = good(tmp_path, IMAGE)
    assert (data.samples, sizes(data)) == (42, [40, 2])


def test_a_batch_may_span_files(tmp_path: Path) -> None:
    for index in range(5):
        np.save(tmp_path / f"{index}.npy", images(5)[index : index + 1])
    data = good(tmp_path, IMAGE, batch_size=2)
    assert sizes(data) == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in data]), images(5))


def test_a_folder_has_a_digest_of_names_and_contents(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images(1))
    before = good(tmp_path, IMAGE).digest()
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    assert good(tmp_path, IMAGE).digest() != before


def test_every_bad_file_of_a_folder_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 9)))
    np.save(tmp_path / "b.npy", images(2))
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object))
    data, found = opened(tmp_path, IMAGE)
    assert data is None
    assert [(f.code, Path(f.path).name) for f in found] == [("Q0603", "a.npy"), ("Q0601", "c.npy")]


def test_a_folder_without_arrays_is_empty(tmp_path: Path) -> None:
    assert refused(tmp_path, IMAGE).code == "Q0605"


def test_an_npy_cannot_feed_two_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 6)))
    finding = refused(tmp_path, TEXT)
    assert finding.code == "Q0601"
    assert "an .npy holds one array, and the model has 2 inputs" in finding.message


# What does not fit


@pytest.mark.parametrize(
    ("arrays", "code", "message", "help_text"),
    [
        (
            {"imgae": images(2)},
            "Q0602",
            "no array for the model's input `image`",
            "did you mean `image` where the data say `imgae`?",
        ),
        (
            {"y": images(2)},
            "Q0602",
            "no array for the model's input `image`",
            "name the arrays as the model does: `image`",
        ),
        (
            {"image": np.zeros((3, 4, 5), np.float32)},
            "Q0603",
            "input `image` needs shape [samples, 3, 4, 5], the data have [3, 4, 5]",
            "this looks like one sample: add a first axis, `array[None]`",
        ),
        (
            {"image": np.zeros((9, 4, 5, 3), np.float32)},
            "Q0603",
            "input `image` needs shape [samples, 3, 4, 5], the data have [9, 4, 5, 3]",
            "the channels seem to come last: `array.transpose(0, 3, 1, 2)`",
        ),
        (
            {"image": np.zeros((9, 60), np.float32)},
            "Q0603",
            "input `image` needs shape [samples, 3, 4, 5], the data have [9, 60]",
            "the sizes agree after `array.reshape(-1, 3, 4, 5)`",
        ),
        ({"image": images(0)}, "Q0605", "`d.npz` holds no samples", None),
        (
            {"image": images(1, np.complex64)},
            "Q0606",
            "input `image` is float32, the data are complex64",
            "save the data as float32",
        ),
        ({"image": np.full((1, 3, 4, 5), "a")}, "Q0606", "input `image` is float32, the data are <U1", None),
    ],
)
def test_misfits_are_found_before_anything_runs(
    arrays: dict[str, NDArray[Any]],
    code: str,
    message: str,
    help_text: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", **arrays)  # type: ignore[arg-type]  # the stub confuses ** with allow_pickle
    finding = refused("d.npz", IMAGE)
    assert (finding.code, finding.message, finding.path) == (code, message, "d.npz")
    assert help_text is None or help_text in finding.helps


def test_floats_for_an_integer_input_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", ids=np.zeros((2, 6), np.float32), mask=np.zeros((2, 6), np.float32))
    assert refused(tmp_path / "d.npz", TEXT).message == "input `ids` is int64, the data are float32"


def test_inputs_must_agree_on_the_number_of_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", ids=np.zeros((2, 6), np.int64), mask=np.zeros((3, 6), np.float32))
    finding = refused(tmp_path / "d.npz", TEXT)
    assert finding.code == "Q0603"
    assert finding.message == "the inputs disagree on the number of samples: `ids` has 2, `mask` has 3"


def test_a_batch_size_cannot_overrule_the_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(2))
    assert refused(tmp_path / "d.npz", ONE_IMAGE, batch_size=2).code == "Q0603"
    assert sizes(good(tmp_path / "d.npz", ONE_IMAGE, batch_size=1)) == [1, 1]


def test_a_limit_of_zero_leaves_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(2))
    assert refused(tmp_path / "d.npz", IMAGE, limit=0).code == "Q0605"
