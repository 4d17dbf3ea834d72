"""Calibration data: what fits a model is streamed, what does not is said."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qsimc.data import Data, open_data, wrap
from qsimc.data.layout import layout_of
from qsimc.data.npy import UnreadableError, read_header
from qsimc.data.stream import rebatch
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.graph import Tensor

IMAGE = {"image": Tensor("image", "float32", (None, 3, 4, 5))}
ONE_IMAGE = {"image": Tensor("image", "float32", (1, 3, 4, 5))}
TEXT = {"ids": Tensor("ids", "int64", (None, 6)), "mask": Tensor("mask", "float32", (None, 6))}
VECTOR = {"x": Tensor("x", "float32", (None, 2))}


def images(samples: int, dtype: Any = np.float32) -> NDArray[Any]:
    return np.arange(samples * 60, dtype=dtype).reshape(samples, 3, 4, 5)


def opened(reference: Path | str, inputs: dict[str, Tensor], **options: Any) -> tuple[Data | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return open_data(str(reference), inputs, found.append, **options), found


def good(reference: Path | str, inputs: dict[str, Tensor], **options: Any) -> Data:
    data, found = opened(reference, inputs, **options)
    assert found == []
    assert data is not None
    return data


def refused(reference: Path | str, inputs: dict[str, Tensor], **options: Any) -> Diagnostic:
    data, found = opened(reference, inputs, **options)
    assert data is None
    (finding,) = [f for f in found if f.severity is Severity.ERROR]
    return finding


def sizes(data: Data) -> list[int]:
    return [len(next(iter(batch.values()))) for batch in data]


def wrapped(batches: Any, inputs: dict[str, Tensor], **options: Any) -> tuple[Data, list[Diagnostic]]:
    found: list[Diagnostic] = []
    data = wrap(batches, inputs, found.append, **options)
    assert data is not None
    return data, found


def failure(data: Data) -> Diagnostic:
    with pytest.raises(InputError) as raised:
        list(data)
    (finding,) = raised.value.findings
    return finding


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


# Values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_located(bad: float, tmp_path: Path) -> None:
    values = images(70)
    values[41, 0, 0, 0] = bad
    np.savez(tmp_path / "d.npz", image=values)
    finding = failure(good(tmp_path / "d.npz", IMAGE))
    assert (finding.code, finding.message) == ("Q0604", f"sample 41 of input `image` holds {bad}")


def test_a_double_too_large_for_the_model_is_not_finite() -> None:
    data, _ = wrapped([np.array([[0.0, 1e300]])], VECTOR)
    assert failure(data).message == "sample 0 of input `x` holds 1e+300, which is infinite in float32"


@pytest.mark.parametrize(
    ("dtype", "values", "survives"),
    [
        ("uint8", [0, 255], True),
        ("int64", [-(2**24), 2**24], True),
        ("int64", [0, 2**24 + 1], False),
        ("uint64", [0, 2**64 - 1], False),
        ("float64", [0.1, 1e-300], True),  # doubles may be rounded
        ("float16", [0.5, 1.0], True),
        (">f4", [0.5, 1.0], True),
        ("bool", [True, False], True),
    ],
)
def test_integers_become_floats_only_exactly(dtype: str, values: list[Any], survives: bool) -> None:
    data, _ = wrapped([np.array([values], dtype)], VECTOR)
    if survives:
        (batch,) = data
        assert batch["x"].dtype == np.dtype("float32")
        np.testing.assert_array_equal(batch["x"], np.array([values], np.float32))
    else:
        assert failure(data).code == "Q0606"


@pytest.mark.parametrize(("target", "value"), [("uint8", 256), ("uint8", -1), ("int32", 2**40), ("uint64", -1)])
def test_integers_do_not_wrap_around(target: str, value: int) -> None:
    data, _ = wrapped([np.array([[value]])], {"x": Tensor("x", target, (None, 1))})
    finding = failure(data)
    assert (finding.code, finding.notes) == ("Q0606", (f"{value} has no exact {target} value",))


def test_an_unknown_dtype_is_passed_on() -> None:
    data, _ = wrapped([np.ones((1, 2))], {"x": Tensor("x", "", (None, 2))})
    assert [batch["x"].dtype for batch in data] == [np.dtype("float64")]


# Hostile files


def member(name: str, content: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path / "d.npz", "w") as archive:
        archive.writestr(name, content)
    return path / "d.npz"


def npy(header: str, values: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + values


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an .npy array"),
        (b"\x93NUMPY\x09\x09", "not an .npy array"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps([1])), "never loaded"),
        (npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 3, 4, 5)}", bytes(240)), "Fortran order"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000, 3, 4, 5)}", bytes(240)), "claims"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 4, 5)}", bytes(240)), "claims"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 4, 5)}", bytes(239)), "claims 240 bytes"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}"), "not an .npy array"),
        (npy("__import__('os').system('exit 1')"), "not an .npy array"),
        (npy("(" * 9000), "not an .npy array"),
        (npy("[" * 20000), "not an .npy array"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), [1]: 2}"), "not an .npy array"),
    ],
)
def test_a_hostile_header_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    finding = refused(member("image.npy", content, tmp_path), IMAGE)
    assert finding.code == "Q0601"
    assert "array `image`" in finding.message
    assert words in finding.message


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_crash_the_header_reader(content: bytes, magic: bool) -> None:
    stream = io.BytesIO((b"\x93NUMPY\x01\x00" if magic else b"") + content)
    try:
        info = read_header(stream, stream.getbuffer().nbytes)
    except UnreadableError:
        return
    assert not info.dtype.hasobject


def test_a_damaged_archive_is_unreadable(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(100))
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "d.npz", IMAGE).code == "Q0601"


def test_a_value_damaged_on_disk_is_noticed(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=images(3000))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "d.npz").write_bytes(content)
    assert failure(good(tmp_path / "d.npz", IMAGE)).code == "Q0601"


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, images(1))
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("image.npy", stream.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("image.npy", stream.getvalue())
    assert "holds two arrays called `image`" in refused(tmp_path / "d.npz", IMAGE).message


@pytest.mark.parametrize("name", ["nowhere.npz", "nowhere", "no/where.npy", "C:\\data\\x"])
def test_what_does_not_exist_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finding = refused(name, IMAGE)
    assert finding.code == "Q0601"
    assert finding.message.endswith(("no such file or folder", "no such file or directory"))


def test_a_pickle_is_not_data(tmp_path: Path) -> None:
    (tmp_path / "d.pkl").write_bytes(pickle.dumps([1]))
    assert refused(tmp_path / "d.pkl", IMAGE).code == "Q0601"
    (tmp_path / "d.npz").write_bytes(pickle.dumps([1]))
    assert refused(tmp_path / "d.npz", IMAGE).code == "Q0601"


# Python


class Tensorlike:
    """What every framework's tensor has in common, and nothing more."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def numpy(self) -> NDArray[Any]:
        return self.values


@pytest.mark.parametrize(
    "batch",
    [{"x": np.ones((3, 2))}, (np.ones((3, 2)),), [np.ones((3, 2))], np.ones((3, 2)), Tensorlike(np.ones((3, 2)))],
    ids=["mapping", "tuple", "list", "array", "tensor"],
)
def test_a_batch_comes_in_many_forms(batch: Any) -> None:
    data, found = wrapped([batch], VECTOR)
    (only,) = data
    np.testing.assert_array_equal(only["x"], np.ones((3, 2), np.float32))
    assert found == []


def test_a_data_loader_with_labels_gives_its_images() -> None:
    data, found = wrapped([(np.ones((3, 2)), np.arange(3))] * 2, VECTOR)
    assert sizes(data) == [3, 3]
    assert [f.code for f in found] == ["Q0609"]


def test_batches_keep_their_size_unless_one_is_asked_for() -> None:
    batches = [np.ones((n, 2)) for n in (3, 5, 0, 2)]
    assert sizes(wrapped(batches, VECTOR)[0]) == [3, 5, 2]
    assert sizes(wrapped(batches, VECTOR, batch_size=4)[0]) == [4, 4, 2]
    assert sizes(wrapped(batches, VECTOR, batch_size=4, limit=9)[0]) == [4, 4, 1]


def test_leftovers_of_an_iterable_are_announced_once_it_ends() -> None:
    data, found = wrapped([np.ones((5, 2))], {"x": Tensor("x", "float32", (2, 2))})
    assert data.samples is None
    assert (sizes(data), sizes(data)) == ([2, 2], [2, 2])
    assert [f.message for f in found] == ["1 sample left out: the model takes exactly 2 at once"]


def test_batches_of_different_lengths_stay_apart() -> None:
    inputs = {"x": Tensor("x", "float32", (None, None))}
    batches = [np.ones((1, 2)), np.ones((1, 3))]
    assert sizes(wrapped(batches, inputs)[0]) == [1, 1]
    assert failure(wrapped(batches, inputs, batch_size=2)[0]).code == "Q0603"


@pytest.mark.parametrize("batch", ["x", 3, (), ("a", "b"), ([1.0, 2.0],)])
def test_what_holds_no_arrays_is_no_batch(batch: Any) -> None:
    assert failure(wrapped([batch], VECTOR)[0]).code == "Q0602"


def test_a_ragged_list_is_no_array() -> None:
    finding = failure(wrapped([{"x": [[1.0], [1.0, 2.0]]}], VECTOR)[0])
    assert (finding.code, finding.message) == ("Q0606", "input `x`: a `list` cannot become an array")


@pytest.mark.parametrize("batches", [{"x": np.ones((1, 2))}, np.ones((1, 2)), 3, "x"])
def test_a_single_batch_is_not_an_iterable_of_batches(batches: Any) -> None:
    with pytest.raises(TypeError, match="iterable of batches"):
        wrap(batches, VECTOR, list[Diagnostic]().append)


def test_an_iterator_can_be_read_once() -> None:
    data, _ = wrapped(iter([np.ones((1, 2))]), VECTOR)
    assert sizes(data) == [1]
    finding = failure(data)
    assert (finding.code, finding.message) == ("Q0605", "the data are an iterator, which was read already")
    assert len(data.digest()) == 64


def test_nothing_is_not_enough() -> None:
    assert failure(wrapped([], VECTOR)[0]).code == "Q0605"


def test_the_digest_of_batches_depends_on_every_value() -> None:
    digests = {wrapped([np.array([[1.0, last]])], VECTOR)[0].digest() for last in (1.0, 1.0, 2.0)}
    assert len(digests) == 2


def test_an_exception_of_the_callers_iterable_is_theirs() -> None:
    def batches() -> Iterator[Any]:
        yield np.ones((1, 2))
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        list(wrapped(batches(), VECTOR)[0])


# References


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module `their_data` in the current folder."""
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "their_data.py"
    sys.modules.pop("their_data", None)


def test_a_factory_is_called_for_each_pass(module: Path) -> None:
    module.write_text("import numpy as np\ndef batches():\n    for n in (1, 2):\n        yield np.ones((n, 2))\n")
    data = good("their_data:batches", VECTOR)
    assert (sizes(data), sizes(data)) == ([1, 2], [1, 2])
    assert data.digest() == good("their_data:batches", VECTOR).digest()


def test_a_factory_that_fails_half_way_is_located(module: Path) -> None:
    module.write_text("import numpy as np\ndef batches():\n    yield np.ones((1, 2))\n    1 / 0\n")
    finding = failure(good("their_data:batches", VECTOR))
    assert finding.code == "Q0510"
    assert finding.notes == ("ZeroDivisionError: division by zero", f"raised at {module}:4")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("7", "`their_data:batches` returned a `int`, not an iterable of batches"),
        ("{'x': 1}", "`their_data:batches` returned a `dict`, not an iterable of batches"),
        ("None", "`their_data:batches` returned nothing"),
    ],
)
def test_a_factory_must_return_batches(returned: str, message: str, module: Path) -> None:
    module.write_text(f"def batches():\n    return {returned}\n")
    finding = failure(good("their_data:batches", VECTOR))
    assert (finding.code, finding.message) == ("Q0510", message)


def test_a_file_wins_over_a_reference(module: Path) -> None:
    module.write_text("raise SystemExit\n")
    Path("their_data:batches").write_text("a file of that name")
    assert refused("their_data:batches", VECTOR).code == "Q0601"


# Laws

chunk_sizes = st.lists(st.integers(0, 9), max_size=6)


@given(chunk_sizes, st.integers(1, 12))
def test_rebatching_keeps_every_sample_in_order(lengths: list[int], size: int) -> None:
    ends = np.cumsum([0, *lengths])
    chunks = [{"x": np.arange(a, b)} for a, b in pairwise(ends)]
    layout = layout_of({"x": Tensor("x", "int64", (None,))})
    batches = [batch["x"] for batch in rebatch(chunks, size, layout, "data")]
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches[-1:])
    assert [*np.concatenate([np.arange(0), *batches])] == [*range(sum(lengths))]
