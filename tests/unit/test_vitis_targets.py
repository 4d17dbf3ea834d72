"""Vitis AI configurations on targets, and whatever else they may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc import targets
from qsimc.diagnostics import first_complaint
from qsimc.formats.vitis_program import KINDS
from qsimc.ir.predicate import Ref, refs
from qsimc.pipeline.check import check, examined
from qsimc.planning.plan import Mode
from qsimc.spec import keymap
from tests.unit.vitis_documents import CPU, config, findings, verdict


def test_a_target_on_the_command_line_takes_the_place_of_the_file_s(tmp_path: Path) -> None:
    document = config("CPU", CPU)
    assert not findings(tmp_path, document)
    names = {d.name for d in findings(tmp_path, document, target="vitis-dpu")}
    assert {"dpu-pow2", "dpu-modal", "dpu-round-output", "dpu-round-params"} <= names


def test_what_a_file_of_no_vendor_leaves_open_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("*[output]: on\n*[param]: on symmetric per_tensor\n")
    assert not check(path, target="vitis-dpu")
    path.write_text("*[output]: on\n*[param]: on symmetric type=int per_channel\n")
    found = check(path, target="vitis-dpu")
    assert [(d.code, d.name) for d in found] == [("Q0401", "dpu-per-tensor")]
    assert "bias" in found[0].message


def test_what_another_tool_does_in_silence_counts(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("dialect aimet\n*[output]: on\n*[param]: on symmetric\n")
    found = check(path, target="vitis-dpu")
    assert [(d.code, d.name, d.file) for d in found] == [
        ("Q0401", "dpu-symmetric", str(path)),
        ("Q0401", "dpu-pow2", str(path)),
    ]
    assert "`asymmetric` is the default of input" in found[0].notes


def test_an_unknown_target_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="vitis-dpu"):
        findings(tmp_path, config(), target="vitis-tpu")


VITIS = [name for name in targets.hardware() if name.startswith("vitis-")]


@pytest.mark.parametrize("name", VITIS)
def test_a_target_accepts_its_own_defaults(name: str, tmp_path: Path) -> None:
    device = {target: device for device, target in keymap.load("vitis").devices.items()}[name]
    for mode in Mode:
        assert not findings(tmp_path, {"target_device": device}, mode)


@pytest.mark.parametrize("name", targets.hardware())
def test_every_restriction_of_a_target_has_a_name_and_a_reason(name: str) -> None:
    restrictions = targets.load(name).config.restrictions
    assert all(r.name and r.message for r in restrictions)
    assert len({r.name for r in restrictions}) == len(restrictions)


def test_every_conflict_is_about_signs() -> None:
    for restriction in targets.conflicts().restrictions:
        assert Ref(targets.CONFLICTING) in refs(restriction.predicate)


def test_every_quoted_restriction_exists() -> None:
    names = {r.name for name in VITIS for r in targets.load(name).config.restrictions}
    assert set(keymap.load("vitis").says) == names


# ── no text brings the checks down ───────────────────────────────────────────────────────────

_SCALARS = st.none() | st.booleans() | st.integers(-1, 33) | st.floats(0, 101) | st.sampled_from(
    ["", "x", "DPU", "maxmin", "percentile", "half_up", "int", "float16", "weights", "activation"]
)  # fmt: skip

_KEYS = st.sampled_from(
    [*keymap.load("vitis").root.literal, *KINDS, "layer_type", "layer_name", "bit_width", "method", "a/~b"]
)

_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)

_BLOCKS = st.dictionaries(
    st.sampled_from(["datatype", "bit_width", "method", "round_mode", "symmetry", "per_channel", "percentage"]),
    _SCALARS,
)

_LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "target_device": st.sampled_from(["DPU", "CPU", "GPU", "FLEXML"]) | _ANYTHING,
        "quantizable_data_type": _ANYTHING,
        "overall_quantize_config": _BLOCKS | _ANYTHING,
        "tensor_quantize_config": st.dictionaries(st.sampled_from(KINDS), _BLOCKS | _ANYTHING) | _ANYTHING,
        "layer_quantize_config": st.lists(_ANYTHING, max_size=3) | _ANYTHING,
        "include_cle": _ANYTHING,
    },
)


@settings(max_examples=150)
@given(_LIKELY | _ANYTHING)
def test_no_document_brings_the_checks_down(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(document))
    for mode in Mode:
        examined(str(path), format="vitis", mode=mode)
    if verdict(check(path, mode="vendor", format="vitis")) == "rejected":
        assert first_complaint(check(path, mode="vendor", format="vitis")) is not None
