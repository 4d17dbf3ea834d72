"""Encodings files in other versions: the numbers stay, and every loss is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.edit import diff
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section
from qsimc.encodings.write import document
from qsimc.pipeline import encodings as pipeline
from tests.unit.encodings_files import VENDOR, convert, put, sound
from tests.unit.test_encodings_export import DATA, MODELS, recorded, same


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
