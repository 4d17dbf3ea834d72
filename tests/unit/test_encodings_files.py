"""Encodings files: read strictly, converted with losses reported, edited; whatever comes in, never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qsimc
from qsimc import cli
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.encodings import document as documents
from qsimc.encodings.convert import INFERRED
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.document import Document, read_document
from qsimc.encodings.edit import diff
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section
from qsimc.encodings.lint import lint as lint_file
from qsimc.encodings.read import read_file
from qsimc.encodings.write import document
from qsimc.encodings.write import text as written
from qsimc.pipeline import encodings as pipeline
from qsimc.source import Source
from tests.unit.plans import SHARED
from tests.unit.test_encodings_export import DATA, MODELS, recorded, same

Run = Callable[..., tuple[int, str, str]]

VENDOR = ("0.6.1", "1.0.0", "2.0.0")


def load(value: Any) -> tuple[EncodingsFile | None, list[Diagnostic]]:
    """Read a document and lint it."""
    findings: list[Diagnostic] = []
    text = value if isinstance(value, str) else json.dumps(value)
    found = read_document(Source("f.encodings", text), findings.append)
    file = None if found is None else read_file(found, findings.append)
    if found is not None and file is not None:
        findings += lint_file(found, file)
    return file, findings


def sound(value: Any) -> EncodingsFile:
    file, findings = load(value)
    assert findings == []
    assert file is not None
    return file


def convert(file: EncodingsFile, target: Layout) -> tuple[EncodingsFile, set[str]]:
    findings: list[Diagnostic] = []
    return convert_file(file, target, findings.append), {f.code for f in findings}


def codes(value: Any) -> set[str]:
    return {finding.code for finding in load(value)[1]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `qsimc encodings`: exit status, stdout, stderr."""
    monkeypatch.setitem(cli._HOME, "encodings", "encodings")

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        status = cli.run(["encodings", *(str(a) for a in arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return command


def put(folder: Path, value: Any, name: str = "f.encodings") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


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


# ── lint ─────────────────────────────────────────────────────────────────────────────────────


def record_1(**fields: Any) -> dict[str, Any]:
    """Return a 1.0.0 file with one activation."""
    entry = {
        "name": "x",
        "bw": 8,
        "dtype": "INT",
        "enc_type": "PER_TENSOR",
        "is_sym": False,
        "scale": [0.1],
        "offset": [-3],
    }
    return {"version": "1.0.0", "activation_encodings": [entry | fields], "param_encodings": []}


def record_0(**fields: Any) -> dict[str, Any]:
    """Return a 0.6.1 file with one activation."""
    entry = {
        "bitwidth": 8,
        "dtype": "int",
        "is_symmetric": "False",
        "scale": 0.1,
        "offset": -3,
        "min": -0.3,
        "max": 25.2,
    }
    return {"version": "0.6.1", "activation_encodings": {"x": [entry | fields]}, "param_encodings": {}}


def record_2(**fields: Any) -> dict[str, Any]:
    """Return a 2.0.0 file with one entry."""
    entry = {"name": "x", "output_dtype": "uint8", "y_scale": 0.1, "y_zero_point": 3}
    return {"version": "2.0.0", "encodings": [entry | fields]}


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


# ── conversions ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("source", VENDOR)
@pytest.mark.parametrize("target", VENDOR)
def test_a_converted_file_holds_the_numbers_of_the_other_version(
    model: str, source: str, target: str, tmp_path: Path
) -> None:
    record = recorded(model)
    made = pipeline.convert(str(put(tmp_path, record[source])), f"aimet-{target}", model=str(DATA / f"{model}.onnx"))
    mine, theirs = json.loads(made.text), record[target]
    # 2.0.0 holds more tensors: those that are only moved, and int32 biases.  It does not hold symmetry.
    different = [d for d in diff(sound(theirs), sound(mine)) if not d.kind.startswith("only")]
    assert [d for d in different if not d.detail.startswith("symmetric")] == []
    if source == target:
        assert same(mine, theirs) == []


def test_1_0_0_becomes_the_2_0_0_that_aimet_writes_beside_it(tmp_path: Path) -> None:
    record = recorded("attention")
    made = pipeline.convert(str(put(tmp_path, record["1.0.0"])), "aimet-2.0.0", model=str(DATA / "attention.onnx"))
    theirs = {e["name"]: e for e in record["2.0.0"]["encodings"]}
    mine = json.loads(made.text)["encodings"]
    assert same({"encodings": mine}, {"encodings": [theirs[e["name"]] for e in mine]}) == []
    assert {d.code for d in made.findings} == {"Q0721", "Q0723", "Q0731"}


def test_a_missing_axis_is_an_error_that_a_model_mends(tmp_path: Path) -> None:
    path = put(tmp_path, recorded("attention")["1.0.0"])
    with pytest.raises(InputError) as error:
        pipeline.convert(str(path), "aimet-2.0.0")
    assert {f.code for f in error.value.findings if f.severity is Severity.ERROR} == {"Q0732"}


def test_an_unknown_section_is_guessed_and_said(tmp_path: Path) -> None:
    made = pipeline.convert(str(put(tmp_path, recorded("attention")["2.0.0"])), "aimet-1.0.0")
    assert {f.code for f in made.findings} == {"Q0720", "Q0722", "Q0724", "Q0728"}
    assert {e["name"] for e in json.loads(made.text)["param_encodings"]} == {
        f"onnx::MatMul_{number}" for number in range(42, 46)
    }


def entry(**fields: Any) -> EncodingsFile:
    base: dict[str, Any] = {
        "name": "w",
        "section": Section.PARAM,
        "bits": 8,
        "scale": (0.5,),
        "offset": (-128.0,),
        "symmetric": True,
    }
    return EncodingsFile(layout=Layout.V1_0_0, version="1.0.0", entries=(Entry(**(base | fields)),))


@pytest.mark.parametrize(
    ("fields", "target", "code", "kept"),
    [
        ({"offset": (-127.0,), "narrow": True}, Layout.V2_0_0, "Q0725", True),
        ({"dtype": "float", "bits": 16, "scale": (), "offset": ()}, Layout.V2_0_0, "Q0726", False),
        ({"dtype": "float8e4m3fn", "offset": (0.0,)}, Layout.V0_6_1, "Q0727", False),
        ({"port": "input.0"}, Layout.V0_6_1, "Q0730", False),
        ({"offset": (0.0,)}, Layout.V2_0_0, "Q0733", True),
    ],
)
def test_what_a_version_cannot_hold_is_reported(fields: dict[str, Any], target: Layout, code: str, kept: bool) -> None:
    converted, found = convert(entry(**fields), target)
    assert code in found
    assert len(converted.entries) == kept


def test_blocks_take_their_axes_from_the_model(tmp_path: Path) -> None:
    fields = {"bw": 4, "dtype": "INT", "enc_type": "PER_BLOCK", "is_sym": True, "block_size": 3}
    numbers = {"scale": [1.0 + i for i in range(12)], "offset": [-8.0] * 12}
    record = {
        "version": "1.0.0",
        "activation_encodings": [],
        "param_encodings": [{"name": "b1c1.weight", **fields, **numbers}],
    }
    there = pipeline.convert(str(put(tmp_path, record)), "aimet-2.0.0", model=str(DATA / "resnet_tiny.onnx"))
    (entry,) = json.loads(there.text)["encodings"]
    assert (entry["axis"], entry["block_size"]) == (1, 3)
    assert entry["y_scale"] == [[[[1.0 + 2 * c]], [[2.0 + 2 * c]]] for c in range(6)]
    back = pipeline.convert(str(put(tmp_path, there.text)), "aimet-1.0.0", model=str(DATA / "resnet_tiny.onnx"))
    assert json.loads(back.text)["param_encodings"] == record["param_encodings"]


def test_blocks_do_not_go_into_0_6_1() -> None:
    case = json.loads((DATA / "lpbq.json").read_text())[0]
    converted, found = convert(
        sound({"version": "2.0.0", "encodings": [{"name": "w", **case["2.0.0"]}]}), Layout.V0_6_1
    )
    assert (converted.entries, "Q0729" in found) == ((), True)


scales = st.floats(1e-30, 1e30)


@st.composite
def entries(draw: st.DrawFn, name: str = "t") -> Entry:
    """Draw an integer entry as 1.0.0 holds it, with the axis that 2.0.0 wants beside it."""
    bits = draw(st.integers(2, 16))
    symmetric = draw(st.booleans())
    channels = draw(st.integers(1, 4))
    middle = -(2 ** (bits - 1))
    offsets = (
        [middle] * channels
        if symmetric
        else draw(
            st.lists(st.integers(-(2**bits - 1), 0).filter(lambda o: o != middle), min_size=channels, max_size=channels)
        )
    )
    return Entry(
        name=name,
        section=draw(st.sampled_from(Section)),
        bits=bits,
        scale=tuple(draw(st.lists(scales, min_size=channels, max_size=channels))),
        offset=tuple(map(float, offsets)),
        symmetric=symmetric,
        signed=draw(st.booleans()),
        narrow=False,
        granularity=Granularity.CHANNEL if channels > 1 else Granularity.TENSOR,
        axis=0 if channels > 1 else None,
    )


files = st.lists(st.integers(), max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(entries(f"t{n}") for n in names)).map(
        lambda e: EncodingsFile(layout=Layout.QSIMC, version="1.0", entries=tuple(e))
    )
)


@given(files, st.sampled_from([Layout.V0_6_1, Layout.V1_0_0, Layout.V2_0_0, Layout.V2_1_0, Layout.QSIMC]))
def test_what_is_written_is_sound_and_reads_back(file: EncodingsFile, layout: Layout) -> None:
    converted, lost = convert(file, layout)
    assert lost <= {"Q0720"}
    assert diff(converted, sound(document(converted))) == ()


@given(files, st.permutations([Layout.V0_6_1, Layout.V1_0_0, Layout.V2_0_0, Layout.V2_1_0, Layout.QSIMC]))
def test_numbers_survive_any_chain_of_versions(file: EncodingsFile, chain: list[Layout]) -> None:
    there = file
    for layout in chain:
        findings: list[Diagnostic] = []
        # Axes are put back by hand: no model is at hand to give them.
        there = _with_axes(convert_file(there, layout, findings.append), file)
        assert not any(f.severity is Severity.ERROR for f in findings)
    assert diff(file, there) == ()
    assert [(e.symmetric, e.section) for e in there.entries] == [(e.symmetric, e.section) for e in file.entries]


def _with_axes(file: EncodingsFile, original: EncodingsFile) -> EncodingsFile:
    from dataclasses import replace

    axes = {e.name: e.axis for e in original.entries}
    return replace(file, entries=tuple(replace(e, axis=axes[e.name]) for e in file.entries))


# ── merge, split, rename, diff ───────────────────────────────────────────────────────────────


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


# ── the command line ─────────────────────────────────────────────────────────────────────────


def test_every_subcommand_has_help_with_an_example(run: Run) -> None:
    for command in ("convert", "lint", "diff", "merge", "split", "rename"):
        status, out, _ = run(command, "--help")
        assert (status, f"qsimc encodings {command}" in out) == (0, True)


def test_a_loss_exits_3_where_none_is_wanted_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    path, out = put(tmp_path, recorded("attention")["2.0.0"]), tmp_path / "new.encodings"
    status, _, err = run("convert", path, "--to", "aimet-1.0.0", "--lossless", "--output", out)
    assert (status, out.exists()) == (3, False)
    assert "warning[Q0728]" in err
    assert run("convert", path, "--to", "aimet-2.1.0", "--lossless", "--output", out)[0] == 0
    assert json.loads(out.read_text())["version"] == "2.1.0"


def test_what_is_only_inferred_is_no_loss(run: Run, tmp_path: Path) -> None:
    record = {k: v for k, v in recorded("attention")["1.0.0"].items() if k != "quantizer_args"}
    model = DATA / "attention.onnx"
    status, _, err = run("convert", put(tmp_path, record), "--to", "qsimc", "--model", model, "--lossless")
    assert status == 0
    assert "Q0721" in err
    assert "Q0721" in INFERRED


def test_a_qdq_model_converts_like_a_file(run: Run) -> None:
    status, out, _ = run("convert", DATA / "concat_branches.qdq.onnx", "--to", "aimet-2.0.0")
    assert status == 0
    theirs = {e["name"]: e for e in recorded("concat_branches")["2.0.0"]["encodings"]}
    assert same({"encodings": json.loads(out)["encodings"]}, {"encodings": list(theirs.values())}) == []


def test_a_float_model_holds_no_encodings(run: Run) -> None:
    status, _, err = run("convert", DATA / "attention.onnx", "--to", "qsimc")
    assert status == 1
    assert "Q0803" in err


@pytest.mark.parametrize("version", ["0.6.1", "1.0.0", "2.0.0", "2.1.0"])
def test_a_result_is_exported_in_every_version(version: str, tmp_path: Path, run: Run) -> None:
    demo = Path(__file__).parents[2] / "demo"
    data = str(demo / "digits_calibration.npz")
    qsimc.quantize(demo / "config.json", model=demo / "digits.onnx", data=data, out=tmp_path / "out", limit=8)
    assert cli.run(["export", str(tmp_path / "out"), "--to", f"aimet-{version}"]) == 0
    file = tmp_path / "out" / f"digits.{version}.encodings"
    run()  # drop what export printed
    assert run("lint", file, "--model", demo / "digits.onnx")[:2] == (0, "no findings\n")
    differences = json.loads(run("diff", tmp_path / "out" / "encodings.json", file, "--format", "json")[1])[
        "differences"
    ]
    assert {d["kind"] for d in differences} <= {"only second"}


def test_lint_exits_1_and_names_the_place(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("lint", put(tmp_path, record_1(scale=[-1])), "--format", "json")
    assert status == 1
    assert json.loads(out)["findings"][0]["pointer"] == "/activation_encodings/0"
    assert run("lint", put(tmp_path, record_1()))[:2] == (0, "no findings\n")


def test_an_unreadable_file_exits_2(run: Run, tmp_path: Path) -> None:
    assert run("lint", tmp_path / "missing")[0] == 2
    assert run("convert", tmp_path, "--to", "qsimc")[0] == 2
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert run("lint", tmp_path / "binary")[0] == 2


def test_diff_exits_4_only_when_asked(run: Run, tmp_path: Path) -> None:
    a, b = put(tmp_path, record_1(), "a"), put(tmp_path, record_0(offset=-5, min=-0.5, max=25.0), "b")
    status, out, _ = run("diff", a, b)
    assert (status, "2" in out) == (0, True)
    assert run("diff", a, b, "--check")[0] == 4
    assert run("diff", a, a, "--check")[:2] == (0, "no differences\n")
    assert json.loads(run("diff", a, b, "--format", "json")[1])["differences"][0]["tensor"] == "x"


def test_merge_split_and_rename_write_files(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, recorded("o_gemm_variants")["1.0.0"])
    assert run("rename", path, "x=input", "--output", tmp_path / "renamed")[0] == 0
    assert run("rename", path, "nonsense")[0] == 2
    assert run("merge", path, path, "--to", "aimet-0.6.1", "--output", tmp_path / "merged")[0] == 0
    status, out, _ = run("split", path, "--model", DATA / "o_gemm_variants.onnx", "--out", tmp_path / "parts")
    assert (status, Path(out.strip()).name) == (0, "o_gemm_variants.encodings")


# ── hostile input ────────────────────────────────────────────────────────────────────────────

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TEMPLATES = [record_0(), record_1(), record_2()]
for _model in ("o_gemm_variants", "attention"):
    TEMPLATES += [recorded(_model)[version] for version in (*VENDOR, "torch") if version in recorded(_model)]
TEMPLATES += [
    {"version": v, "encodings": [{"name": "w", **c["2.0.0"]}]}
    for v in ("2.0.0",)
    for c in json.loads((DATA / "lpbq.json").read_text())[:1]
]


def _places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [where, *(place for step, inner in steps for place in _places(inner, (*where, step)))]


@settings(max_examples=300)
@given(st.data())
def test_no_damage_to_a_file_is_a_bug_of_ours(data: st.DataObject) -> None:
    value = copy.deepcopy(data.draw(st.sampled_from(TEMPLATES)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(_places(value)))
        value = _damaged(value, place, data.draw(json_values))
    source = Source("f.encodings", json.dumps(value))
    findings: list[Diagnostic] = []
    found = read_document(source, findings.append)
    assert found is None or isinstance(found, Document)
    file = None if found is None else read_file(found, findings.append)
    if found is None or file is None:
        assert findings
        return
    findings += lint_file(found, file)
    if not any(f.severity is Severity.ERROR for f in findings):
        for layout in set(Layout) - {Layout.TORCH}:
            written(convert_file(file, layout, findings.append))
        assert diff(file, file) == ()


def _damaged(value: Any, place: tuple[Any, ...], by: Any) -> Any:
    if not place:
        return by
    try:
        inner = value[place[0]]
    except (TypeError, KeyError, IndexError):
        return value
    value[place[0]] = _damaged(inner, place[1:], by)
    return value


@pytest.mark.parametrize(
    "text", ["", "null", "[" * 100_000, '"' + "x" * 100, '{"encodings": ' + "[" * 70, "\x00", "NaN"]
)
def test_no_text_is_a_bug_of_ours(text: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, text)
    assert run("lint", path)[0] == 1
    monkeypatch.setattr(documents, "LOCATED_UP_TO", -1)
    assert run("lint", path)[0] == 1
