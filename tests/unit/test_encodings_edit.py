"""Encodings files merged, split, renamed and compared."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from qsimc.diagnostics import InputError
from qsimc.encodings.edit import diff
from qsimc.pipeline import encodings as pipeline
from tests.unit.encodings_files import put, record_1, sound
from tests.unit.test_encodings_export import DATA, recorded, same


def test_parts_of_a_file_merge_into_it(tmp_path: Path) -> None:
    record = recorded("o_gemm_variants")["1.0.0"]
    halves = [
        {**record, "activation_encodings": part}
        for part in (record["activation_encodings"][:3], record["activation_encodings"][3:])
    ]
    paths = [str(put(tmp_path, half, f"{i}.encodings")) for i, half in enumerate(halves)]
    made = pipeline.merge(paths)
    assert same(json.loads(made.text), record) == []


def test_two_truths_do_not_merge(tmp_path: Path) -> None:
    paths = [str(put(tmp_path, record_1(scale=[scale]), f"{scale}.encodings")) for scale in (0.1, 0.2)]
    with pytest.raises(InputError) as error:
        pipeline.merge(paths)
    assert [f.code for f in error.value.findings] == ["Q0819"]


def test_a_file_splits_by_model_and_what_is_left_is_said(tmp_path: Path) -> None:
    record = copy.deepcopy(recorded("o_gemm_variants")["1.0.0"])
    record["activation_encodings"].append(dict(record["activation_encodings"][0], name="elsewhere"))
    path = put(tmp_path, record)
    written, findings = pipeline.split(str(path), models=[str(DATA / "o_gemm_variants.onnx")], out=tmp_path / "parts")
    assert [f.code for f in findings] == ["Q0821"]
    assert same(json.loads(written[0].read_text()), recorded("o_gemm_variants")["1.0.0"]) == []


def test_renaming_there_and_back_changes_nothing(tmp_path: Path) -> None:
    record = recorded("o_gemm_variants")["0.6.1"]
    there = pipeline.rename(str(put(tmp_path, record)), {"x": "input", "w1": "first"})
    assert "first" in json.loads(there.text)["param_encodings"]
    back = pipeline.rename(str(put(tmp_path, there.text)), {"input": "x", "first": "w1"})
    assert same(json.loads(back.text), record) == []


@pytest.mark.parametrize(("names", "code"), [({"nobody": "x2"}, "Q0820"), ({"x": "y"}, "Q0811")])
def test_a_renaming_that_cannot_be_is_reported(names: dict[str, str], code: str, tmp_path: Path) -> None:
    path = put(tmp_path, recorded("o_gemm_variants")["1.0.0"])
    with pytest.raises(InputError) as error:
        pipeline.rename(str(path), names)
    assert [f.code for f in error.value.findings] == [code]


def test_a_difference_is_told_in_steps() -> None:
    (found,) = diff(sound(record_1()), sound(record_1(offset=[-5])))
    assert (found.tensor, found.kind) == ("x", "range")
    assert found.steps == pytest.approx(2)
    assert diff(sound(record_1()), sound(record_1(offset=[-5])), tolerance=3) == ()
    assert [d.kind for d in diff(sound(record_1()), sound(record_1(name="z")))] == ["only first", "only second"]
    assert diff(sound(record_1()), sound(record_1(bw=4)))[0].detail == "bits: 8 / 4"
