"""Calibration data out of Python: iterables, loaders, references to factories."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qsimc.data import wrap
from qsimc.data.layout import layout_of
from qsimc.data.stream import rebatch
from qsimc.diagnostics import Diagnostic
from qsimc.graph import Tensor
from tests.unit.calibration_data import VECTOR, failure, good, refused, sizes, wrapped

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
