"""TensorRT's calibration caches, and the overrides of SNPE and QNN: read, linted, converted, written as they were."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.encodings import document as documents
from qsimc.encodings import tensorrt
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.edit import diff
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section
from qsimc.encodings.lint import lint as lint_file
from qsimc.encodings.write import text
from qsimc.pipeline import encodings as pipeline
from qsimc.source import Source
from tests.command_line import Run, command_line
from tests.unit.plans import SHARED
from tests.unit.test_encodings_export import DATA

CACHE = """TRT-7000-EntropyCalibration2
data: 3caa54fc
(Unnamed Layer* 0) [Convolution]_output: 3d6969df
model/block1: conv:0: 3bb2132a
"""

CHANNELS = {"granularity": Granularity.CHANNEL}


def load(content: str) -> tuple[EncodingsFile, list[Diagnostic]]:
    """Read a cache and lint it."""
    assert tensorrt.is_cache(content)
    findings: list[Diagnostic] = []
    document = tensorrt.read_document(Source("c.cache", content))
    file = tensorrt.read_file(document, findings.append)
    return file, [*findings, *lint_file(document, file)]


def cached(*entries: Entry, **fields: Any) -> tuple[EncodingsFile, set[str]]:
    """Convert entries into a cache: the file, and the codes of what got lost."""
    findings: list[Diagnostic] = []
    file = EncodingsFile(layout=Layout.V1_0_0, version="1.0.0", entries=entries, **fields)
    made = convert_file(file, Layout.TENSORRT, findings.append)
    assert all(f.severity is not Severity.ERROR for f in findings)
    return made, {f.code for f in findings}


def entry(name: str = "x", **fields: Any) -> Entry:
    """Return an activation that a cache holds."""
    usual: dict[str, Any] = {
        "section": Section.ACTIVATION,
        "bits": 8,
        "scale": (0.25,),
        "offset": (-128.0,),
        "symmetric": True,
    }
    return Entry(name=name, **(usual | fields))


def put(folder: Path, value: Any, name: str = "f.encodings") -> str:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `qsimc encodings`: exit status, stdout, stderr."""
    return command_line(capsys, "encodings")


# ── calibration caches ───────────────────────────────────────────────────────────────────────


def test_a_cache_holds_scales_of_symmetric_int8() -> None:
    file, findings = load(CACHE)
    assert findings == []
    assert file.layout is Layout.TENSORRT
    assert [e.name for e in file.entries] == ["data", "(Unnamed Layer* 0) [Convolution]_output", "model/block1: conv:0"]
    (first, *_) = file.entries
    assert first.scale == struct.unpack(">f", bytes.fromhex("3caa54fc"))
    assert (first.bits, first.offset, first.signed, first.symmetric) == (8, (-128.0,), True, True)


def test_a_cache_writes_back_as_it_was() -> None:
    assert text(load(CACHE)[0]) == CACHE
    assert text(load(CACHE.replace("\n", "\r\n"))[0]) == CACHE
    assert text(load(CACHE.rstrip("\n"))[0]) == CACHE


@pytest.mark.skipif(not SHARED.is_dir(), reason="published caches are not here")
def test_every_known_cache_writes_back_as_it_was() -> None:
    paths = list((SHARED / "configs" / "others" / "tensorrt_calib_cache").glob("*.cache"))
    for path in paths:
        file, findings = load(path.read_text())
        assert (findings, text(file)) == ([], path.read_text())
    assert paths


@given(st.integers(0, 2**32 - 1))
def test_every_float32_keeps_its_bits(bits: int) -> None:
    digits = f"{bits:08x}"
    scale = tensorrt.scale_of(digits)
    assert math.isnan(scale) or tensorrt.digits_of(scale) == digits


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1),
        st.floats(2.0**-126, width=32, allow_infinity=False),
    )
)
def test_any_name_and_scale_reads_back(scales: dict[str, float]) -> None:
    made, lost = cached(*(entry(name, scale=(scale,)) for name, scale in scales.items()))
    again, findings = load(text(made))
    assert (lost, findings) == (set(), [])
    assert {e.name: e.scale[0] for e in again.entries} == scales


def test_leading_zeros_may_be_left_out() -> None:
    file, _ = load("TRT-7000-EntropyCalibration2\nx: 800000\n")
    assert file.entries[0].scale == (2.0**-126,)


@pytest.mark.parametrize("line", ["x", "x: ", "x: 3c010a1g", "x: 3c010a144", ": 3c010a14", "x; 3c010a14"])
def test_a_line_that_is_none_is_reported_and_left_out(line: str) -> None:
    file, findings = load(f"{CACHE}{line}\nlast: 3c010a14\n")
    assert [f.code for f in findings] == ["Q0805"]
    assert findings[0].labels[0].span.text == line
    assert len(file.entries) == 4


@pytest.mark.parametrize(("line", "code"), [
    ("x: 0", "Q0806"), ("x: bf800000", "Q0806"), ("x: 7fc00000", "Q0806"), ("data: 3c010a14", "Q0811"),
])  # fmt: skip
def test_what_is_wrong_is_found(line: str, code: str) -> None:
    _, findings = load(f"{CACHE}{line}\n")
    assert [f.code for f in findings] == [code]
    assert findings[0].labels[0].span.line == 5


def test_a_large_cache_is_read_alike_without_places(monkeypatch: pytest.MonkeyPatch) -> None:
    located = load(CACHE)[0]
    monkeypatch.setattr(tensorrt, "LOCATED_UP_TO", 0)
    monkeypatch.setattr(documents, "LOCATED_UP_TO", 0)
    assert load(CACHE)[0] == located
    _, (finding,) = load(f"{CACHE}x\n")
    assert (finding.labels, finding.pointer) == ((), "/4")


@pytest.mark.parametrize(("fields", "code"), [
    ({"section": Section.PARAM}, "Q0734"),
    ({"section": Section.PARAM, "scale": (0.1, 0.2), "offset": (-128.0,) * 2, **CHANNELS}, "Q0734"),
    ({"offset": (-3.0,), "symmetric": False}, "Q0735"),
    ({"offset": (0.0,)}, "Q0735"),
    ({"bits": 16, "offset": (-32768.0,)}, "Q0736"),
    ({"dtype": "float", "bits": 16, "scale": (), "offset": ()}, "Q0736"),
    ({"scale": (0.1, 0.2), "offset": (-128.0,) * 2, **CHANNELS}, "Q0737"),
    ({"name": "a\nb"}, "Q0738"),
    ({"scale": (1e300,)}, "Q0738"),
])  # fmt: skip
def test_what_a_cache_cannot_hold_is_left_out_and_said(fields: dict[str, Any], code: str) -> None:
    made, lost = cached(entry(**fields), entry("kept"))
    assert [e.name for e in made.entries] == ["kept"]
    assert code in lost


def test_what_a_cache_says_otherwise_is_said() -> None:
    made, lost = cached(entry(scale=(0.1,), offset=(-127.0,), narrow=True, extra={"vendor": 1}), quantizer_args={})
    assert lost == {"Q0725", "Q0731", "Q0739"}
    assert load(text(made))[0].entries[0].scale == (struct.unpack(">f", struct.pack(">f", 0.1))[0],)


@pytest.mark.parametrize("target", ["aimet-0.6.1", "aimet-1.0.0", "aimet-2.0.0", "qnn-overrides", "qsimc"])
def test_a_cache_survives_every_other_form(target: str, tmp_path: Path) -> None:
    there = pipeline.convert(put(tmp_path, CACHE, "c.cache"), target)
    back = pipeline.convert(put(tmp_path, there.text), "tensorrt-cache")
    assert back.text.splitlines()[1:] == CACHE.splitlines()[1:]
    assert (there.lossy, back.lossy) == (False, False)


def test_a_cache_is_known_by_its_first_line(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, CACHE, "anything.txt")
    assert run("lint", path)[:2] == (0, "no findings\n")
    status, out, _ = run("convert", path, "--to", "tensorrt-cache")
    assert (status, out) == (0, CACHE)
    assert run("lint", put(tmp_path, "TRT 7000\nx: 3c010a14\n"))[0] == 1


def test_a_cache_is_linted_on_a_model_but_for_what_tensorrt_named(tmp_path: Path) -> None:
    path = put(tmp_path, CACHE.replace("data", "x"))
    findings = pipeline.lint(path, model=str(DATA / "o_gemm_variants.onnx"))
    assert [(f.code, f.notes) for f in findings] == [("Q0812", ())]


def test_a_cache_is_compared_with_other_forms(tmp_path: Path) -> None:
    there = pipeline.convert(put(tmp_path, CACHE, "c.cache"), "aimet-1.0.0")
    found, _ = pipeline.diff(put(tmp_path, CACHE, "c.cache"), put(tmp_path, there.text))
    assert found == ()


@given(st.text())
def test_no_text_is_a_bug_of_ours(rest: str) -> None:
    file, findings = load(f"TRT-1-X{rest}")
    if not any(f.severity is Severity.ERROR for f in findings):
        assert diff(load(text(file))[0], file) == ()


# ── overrides of SNPE and QNN ────────────────────────────────────────────────────────────────

OVERRIDES: dict[str, Any] = {
    "activation_encodings": {"x": [{"bitwidth": 8, "max": 2.55, "min": 0.0, "vendor": {"a": [1]}}]},
    "param_encodings": {
        "w1": [
            {"bitwidth": 8, "is_symmetric": "True", "offset": -128, "scale": 0.1, "note": "first"},
            {"bitwidth": 8, "is_symmetric": "True", "offset": -128, "scale": 0.2},
        ]
    },
    "excluded": ["y"],
}


def test_unknown_fields_of_overrides_stay_where_they_are(tmp_path: Path) -> None:
    made = json.loads(pipeline.convert(put(tmp_path, OVERRIDES), "qnn-overrides").text)
    assert made["excluded"] == ["y"]
    assert made["activation_encodings"]["x"][0]["vendor"] == {"a": [1]}
    assert [channel.get("note") for channel in made["param_encodings"]["w1"]] == ["first", None]
    assert "producer" not in made
    assert made["version"] == "0.6.1"


def test_a_range_of_overrides_stays_and_gets_scale_and_offset(tmp_path: Path) -> None:
    made = json.loads(pipeline.convert(put(tmp_path, OVERRIDES), "qnn-overrides").text)
    (said,) = made["activation_encodings"]["x"]
    assert (said["min"], said["max"], said["offset"]) == (0.0, 2.55, 0)
    assert said["scale"] == pytest.approx(0.01)
    assert isinstance(said["offset"], int)


def test_fields_that_differ_by_channel_are_lost_elsewhere(tmp_path: Path) -> None:
    made = pipeline.convert(put(tmp_path, OVERRIDES), "aimet-1.0.0")
    (weight,) = json.loads(made.text)["param_encodings"]
    assert "note" not in weight
    assert any(d.code == "Q0731" and "`note` of `w1`" in d.message for d in made.findings)


def test_an_activation_among_the_params_is_not_written_for_qnn(tmp_path: Path) -> None:
    record = {"version": "0.6.1", "activation_encodings": {}, "param_encodings": OVERRIDES["activation_encodings"]}
    path, model = put(tmp_path, record), str(DATA / "o_gemm_variants.onnx")
    with pytest.raises(InputError) as error:
        pipeline.convert(path, "qnn-overrides", model=model)
    assert [f.code for f in error.value.findings if f.severity is Severity.ERROR] == ["Q0813"]
    assert "x" in json.loads(pipeline.convert(path, "qnn-overrides").text)["param_encodings"]


def test_a_param_among_the_activations_is_applied_by_qnn(tmp_path: Path) -> None:
    said = [{"bitwidth": 8, "is_symmetric": "True", "offset": -128, "scale": 0.1}]
    record = {"version": "0.6.1", "activation_encodings": {"w1": said}, "param_encodings": {}}
    made = pipeline.convert(put(tmp_path, record), "qnn-overrides", model=str(DATA / "o_gemm_variants.onnx"))
    assert [(f.code, f.severity) for f in made.findings] == [("Q0813", Severity.WARNING)]


def test_what_blocks_and_biases_are_is_lost_to_qnn_as_to_0_6_1() -> None:
    entries = (entry("b", section=None, bits=32, offset=(-(2.0**31),)), entry("x", section=None))
    for layout in (Layout.V0_6_1, Layout.QNN):
        findings: list[Diagnostic] = []
        file = EncodingsFile(layout=Layout.V2_0_0, version="2.0.0", entries=entries)
        made = convert_file(file, layout, findings.append)
        assert ([e.name for e in made.entries], "Q0728" in {f.code for f in findings}) == (["x"], True)
