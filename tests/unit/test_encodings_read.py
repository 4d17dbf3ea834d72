"""Encodings files: read strictly, whatever comes in, and written back as they were."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from qsimc.diagnostics import Severity
from qsimc.encodings import document as documents
from qsimc.encodings.edit import diff
from qsimc.encodings.entry import Layout
from qsimc.encodings.write import document
from qsimc.pipeline import encodings as pipeline
from tests.unit.encodings_files import VENDOR, convert, load, put, record_0, record_1, record_2, sound
from tests.unit.plans import SHARED
from tests.unit.test_encodings_export import DATA, MODELS, recorded, same


def codes(value: Any) -> set[str]:
    return {finding.code for finding in load(value)[1]}


# ── reading and writing ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("version", VENDOR)
def test_a_vendors_file_is_sound_and_writes_back_as_it_was(model: str, version: str) -> None:
    record = recorded(model)
    assert same(document(sound(record[version])), record[version]) == []


def test_a_file_filed_by_module_writes_back_as_it_was() -> None:
    record = recorded("attention")["torch"]
    file = sound(record)
    assert file.layout is Layout.TORCH
    assert same(document(file), record) == []
    params_only, lost = convert(file, Layout.V1_0_0)
    assert "Q0730" in lost
    assert {e.name for e in params_only.entries} == set(record["param_encodings"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="AIMET's exports are not here")
def test_every_known_file_is_sound_and_writes_back_as_it_was() -> None:
    folder = SHARED / "configs" / "others"
    paths = [
        *(SHARED / "oracle" / "aimet" / "export" / "public").glob("*/*/*.encodings"),
        *folder.glob("aimet_encodings/*.json"),
        *folder.glob("qnn_quantization_overrides/*.json"),
    ]
    for path in paths:
        theirs = json.loads(path.read_text())
        assert same(document(sound(theirs)), theirs) == [], path
    assert len(paths) > 200


def test_unknown_fields_are_kept_where_they_were() -> None:
    record = copy.deepcopy(recorded("o_gemm_variants")["1.0.0"])
    record["activation_encodings"][0]["zero_point_shift"] = {"deep": [1, 2]}
    record["vendor_notes"] = "mine"
    file, findings = load(record)
    assert file is not None
    assert {(f.code, f.severity) for f in findings} == {("Q0815", Severity.INFO)}
    written = document(file)
    assert written["activation_encodings"][0]["zero_point_shift"] == {"deep": [1, 2]}
    assert written["vendor_notes"] == "mine"


def test_a_range_alone_is_an_encoding() -> None:
    override = {"activation_encodings": {"x": [{"bitwidth": 8, "min": -1.28, "max": 1.27}]}, "param_encodings": {}}
    file, findings = load(override)
    assert file is not None
    assert file.entries[0].scale == pytest.approx((0.01,))
    assert file.entries[0].offset == (-128,)
    assert [(f.code, f.severity) for f in findings] == [("Q0804", Severity.WARNING)]


@pytest.mark.parametrize("case", json.loads((DATA / "lpbq.json").read_text()), ids=lambda c: str(c["shape"]))
def test_compressed_blocks_are_the_same_in_1_0_0_and_2_0_0(case: dict[str, Any]) -> None:
    new = sound({"version": "2.0.0", "encodings": [{"name": "w", **case["2.0.0"]}]})
    old_record = {"name": "w", **case["1.0.0"]}
    old = sound({"version": "1.0.0", "activation_encodings": [], "param_encodings": [old_record]})
    assert diff(new, old) == ()
    assert document(new)["encodings"] == [{"name": "w", **case["2.0.0"]}]
    assert document(old)["param_encodings"] == [old_record]
    (entry,) = new.entries
    assert entry.axis == case["channel_axis"]
    assert convert(new, Layout.V1_0_0)[0].entries[0].blocks is not None


def test_compressed_blocks_have_a_quantized_scale_in_2_1_0() -> None:
    case = json.loads((DATA / "lpbq.json").read_text())[-1]
    file, lost = convert(sound({"version": "2.0.0", "encodings": [{"name": "w", **case["2.0.0"]}]}), Layout.V2_1_0)
    (entry,) = document(file)["encodings"]
    assert lost == set()
    assert entry["y_scale"]["x"] == case["2.0.0"]["per_block_int_scale"]
    assert entry["y_scale"]["x_scale"] == case["1.0.0"]["scale"]
    assert (entry["axis"], entry["y_scale"]["axis"]) == (case["block_axis"], case["channel_axis"])
    assert document(sound(document(file))) == document(file)


def test_a_large_file_is_read_alike_without_places(monkeypatch: pytest.MonkeyPatch) -> None:
    record = recorded("attention")["1.0.0"]
    located = sound(record)
    monkeypatch.setattr(documents, "LOCATED_UP_TO", 0)
    assert sound(record) == located
    record["activation_encodings"][0]["scale"] = [-1.0]
    _, (finding,) = load(record)
    assert (finding.labels, finding.pointer, finding.path) == ((), "/activation_encodings/0", "f.encodings")
    assert codes(
        '{"version": "1.0.0", "activation_encodings": [], "activation_encodings": [], "param_encodings": []}'
    ) == {"Q0103"}
    assert codes("{") == {"Q0102"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "Q0803"),
        ({"a": 1}, "Q0803"),
        ({"version": "1.0.0", "activation_encodings": [], "param_encodings": {}}, "Q0803"),
        ({"encodings": {"x": {}}}, "Q0803"),
        ({"version": "9.0.0", "encodings": []}, "Q0804"),
        ({"version": 2, "encodings": []}, "Q0804"),
        ({"encodings": []}, "Q0804"),
        ({"version": "2.0.0", "activation_encodings": [], "param_encodings": []}, "Q0804"),
        (record_1(scale="0.1"), "Q0805"),
        (record_1(scale=[True]), "Q0805"),
        (record_1(scale=[]), "Q0805"),
        (record_1(bw=0), "Q0805"),
        (record_1(bw=8.5), "Q0805"),
        (record_1(enc_type="VECTOR"), "Q0805"),
        (record_1(enc_type="PER_BLOCK"), "Q0805"),
        (record_1(dtype=["INT"]), "Q0805"),
        (record_1(name=""), "Q0805"),
        (record_1(is_sym="maybe"), "Q0805"),
        (record_0(bitwidth=None), "Q0805"),
        (record_2(output_dtype="complex64"), "Q0805"),
        (record_2(y_scale=[[0.1], [0.1, 0.2]]), "Q0805"),
        (record_2(y_scale=[[0.1]]), "Q0805"),
        (record_2(y_scale={"x": [[1]], "x_scale": [0.1], "input_dtype": "uint4"}, axis=1, block_size=1), "Q0805"),
        (record_2(y_scale=[0.1, 0.2], y_zero_point=3, axis=0), "Q0805"),
        (record_1(scale=[0]), "Q0806"),
        (record_1(scale=[-0.1]), "Q0806"),
        (record_1(scale=[1e999]), "Q0806"),
        (record_0(scale=0.0), "Q0806"),
        (record_2(y_scale=-1), "Q0806"),
        (record_1(scale=[0.1, 0.2]), "Q0807"),
        (record_1(scale=[0.1, 0.2], offset=[-3, -3]), "Q0807"),
        (record_1(enc_type="PER_CHANNEL", scale=[0.1, 0.2]), "Q0807"),
        (record_1(offset=[-3.5]), "Q0808"),
        (record_1(offset=[3]), "Q0809"),
        (record_1(offset=[-256]), "Q0809"),
        (record_2(y_zero_point=256), "Q0809"),
        (record_2(output_dtype="int8", y_zero_point=128), "Q0809"),
        (record_0(max=24.0), "Q0810"),
        (record_0(min=0.0), "Q0810"),
        (record_2(comment="mine"), "Q0815"),
        (record_2(y_scale=[0.1, 0.2], y_zero_point=[3, 3]), "Q0816"),
        (record_1(is_sym=True), "Q0817"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(value: Any, code: str) -> None:
    # A number beyond every float is no JSON number either, and is reported as that too.
    assert codes(value) - {"Q0105"} == {code}


@pytest.mark.parametrize("record", [record_0(), record_1(), record_2()])
def test_what_is_right_is_not(record: Any) -> None:
    assert codes(record) == set()


def test_a_second_encoding_of_a_tensor_is_found_across_sections() -> None:
    record = record_1()
    record["param_encodings"] = list(record["activation_encodings"])
    assert codes(record) == {"Q0811"}


def test_a_finding_points_at_its_line() -> None:
    text = json.dumps(record_1(scale=[-1]), indent=1)
    _, (finding,) = load(text)
    assert finding.pointer == "/activation_encodings/0"
    assert finding.labels[0].span.line == text[: text.index('{\n   "name"')].count("\n") + 1


def test_one_bad_entry_leaves_the_others_alone() -> None:
    record = record_1()
    record["activation_encodings"].append(5)
    file, findings = load(record)
    assert file is not None
    assert [e.name for e in file.entries] == ["x"]
    assert [f.code for f in findings] == ["Q0805"]


def test_a_file_is_linted_on_a_model(tmp_path: Path) -> None:
    record = copy.deepcopy(recorded("o_gemm_variants")["1.0.0"])
    acts, params = record["activation_encodings"], record["param_encodings"]
    acts.append(params.pop(0))  # w1, a param
    params.append(acts.pop(0))  # x, an activation
    params[0] |= {"enc_type": "PER_CHANNEL", "scale": [0.1] * 3, "offset": [-128] * 3}  # w2 has 4 channels
    acts.append(dict(acts[0], name="R1"))
    findings = pipeline.lint(str(put(tmp_path, record)), model=str(DATA / "o_gemm_variants.onnx"))
    assert {(f.code, f.severity) for f in findings} == {
        ("Q0812", Severity.ERROR),
        ("Q0813", Severity.ERROR),
        ("Q0813", Severity.WARNING),
        ("Q0814", Severity.ERROR),
    }
    assert any("did you mean `r1`?" in f.helps for f in findings)


def test_an_axis_that_the_tensor_does_not_have_is_found(tmp_path: Path) -> None:
    record = {
        "version": "2.0.0",
        "encodings": [{"name": "w1", "output_dtype": "int8", "y_scale": [0.1] * 5, "axis": 2}],
    }
    findings = pipeline.lint(str(put(tmp_path, record)), model=str(DATA / "o_gemm_variants.onnx"))
    assert [f.code for f in findings] == ["Q0816"]


@pytest.mark.parametrize("model", MODELS)
def test_what_aimet_exported_fits_its_model(model: str, tmp_path: Path) -> None:
    for version in VENDOR:
        path = put(tmp_path, recorded(model)[version])
        assert pipeline.lint(str(path), model=str(DATA / f"{model}.onnx")) == []
