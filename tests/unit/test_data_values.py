"""Values of calibration data, and files that are damaged or mean harm."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.data.npy import UnreadableError, read_header
from qsimc.graph import Tensor
from tests.unit.calibration_data import IMAGE, VECTOR, failure, good, images, refused, wrapped

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
