"""Rules that change nothing or contradict one another: each claim, and what must not be claimed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.pipeline.check import check

_EFFECTS = ("Q0314", "Q0315", "Q0316", "Q0317", "Q0318", "Q0319")
_DEFAULTS: Mapping[str, Any] = {"ops": {"is_output_quantized": "True"}, "params": {"is_quantized": "True"}}
_SHARED = Path(__file__).parents[3] / "shared" / "configs"


def found_in(config: str | Mapping[str, Any], folder: Path) -> list[Diagnostic]:
    """Return the findings of this family in .qsim text, or in AIMET's sections of which the missing ones are empty."""
    if isinstance(config, str):
        path, text = folder / "c.qsim", config
    else:
        empty = {"defaults": _DEFAULTS, "params": {}, "op_type": {}, "supergroups": []}
        path, text = folder / "c.json", json.dumps({**empty, "model_input": {}, "model_output": {}, **config}, indent=1)
    path.write_text(text, encoding="utf-8")
    found = check(path)
    assert [d for d in found if d.code < "Q0206"] == []
    return [d for d in found if d.code in _EFFECTS]


def underlined(finding: Diagnostic) -> list[tuple[int, str, str]]:
    return [(label.span.line, label.span.text, label.text) for label in finding.labels]


# ── which rule decides ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Conv[weight]: bits=8\nConv[weight]: bits=4", "Q0314"),
        ("Conv[weight]: bits=8\nConv[weight]: bits=8", "Q0314"),
        ("*[output]: on\n*[output]: off", "Q0314"),
        ("model[input]: on\nmodel[input]: off", "Q0314"),
        ('"/conv1"[weight]: bits=8\n"/conv1"[weight]: bits=4', "Q0314"),
        ('~"/conv*"[weight]: bits=8\n~"/conv*"[weight]: bits=4', "Q0314"),
        ("Relu[output]: on\n(Relu | Clip)[output]: off", "Q0314"),
        ("(Relu | Clip)[output]: on\nClip[output]: off\nRelu[output]: off", "Q0314"),
        ("(Conv | Gemm)[weight]: bits=8\n(Gemm | MatMul)[weight]: bits=4", "Q0316"),
        ("Gemm[weight]: bits=4\n(Conv | Gemm | MatMul)[weight]: bits=8", "Q0314"),
        ("Conv[weight]: type=float16\nConv[weight]: type=int", "Q0316"),  # the width of the first stays
    ],
)
@pytest.mark.parametrize("dialect", ["aimet", "vitis"])
def test_the_later_of_equal_rules_decides(text: str, code: str, dialect: str, tmp_path: Path) -> None:
    (finding,) = found_in(f"dialect {dialect}\n{text}\n", tmp_path)
    assert finding.code == code
    assert finding.severity is Severity.WARNING
    lines = [line for line, _, _ in underlined(finding)]
    assert lines[0] < lines[1]


@pytest.mark.parametrize(
    "text",
    [
        "Conv[weight]: bits=8\nConv[bias]: bits=4",
        "Conv[weight]: bits=8\nConv[weight]: symmetric",
        "Conv[weight]: bits=8\nGemm[weight]: bits=4",
        "*[weight]: bits=8\nConv[weight]: bits=4",  # more particular, so it wins wherever it stands
        "Conv[param]: bits=8\nConv[weight]: bits=4",
        'Conv[weight]: bits=8\n"/conv1"[weight]: bits=4',
        '~"/conv*"[weight]: bits=8\n~"/conv1*"[weight]: bits=4',  # some names match the one only
        "(Conv | Gemm)[weight]: bits=8\n(Gemm | MatMul)[weight]: bits=8",  # of one mind
        "let w = bits=8 symmetric\nConv[weight]: @w\nConv[weight]: bits=4",  # a bundle is narrowed down
        "let w = bits=8 symmetric\nConv[weight]: @w bits=4",
    ],
)
def test_rules_of_other_rank_or_of_other_things_are_left_alone(text: str, tmp_path: Path) -> None:
    assert found_in(f"dialect aimet\n{text}\n", tmp_path) == []


def test_both_ends_are_underlined(tmp_path: Path) -> None:
    (finding,) = found_in("dialect aimet\nConv[weight]: bits=8\nConv[weight]: bits=4\n", tmp_path)
    assert underlined(finding) == [(2, "bits=8", "this never applies"), (3, "bits=4", "this decides")]


def test_one_rule_is_one_finding(tmp_path: Path) -> None:
    (finding,) = found_in(
        "dialect aimet\nConv[weight]: bits=8 on symmetric\nConv[weight]: bits=4 on symmetric\n", tmp_path
    )
    assert finding.message == "3 settings for `Conv` never apply"
    assert len(finding.labels) == 4


def test_an_option_said_twice_is_lost_once(tmp_path: Path) -> None:
    (finding,) = found_in("dialect aimet\noption hw_version=V66\noption hw_version=V73\n", tmp_path)
    assert finding.code == "Q0314"
    assert "V66" in underlined(finding)[0][1]


def test_a_file_may_overrule_the_one_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("dialect aimet\nConv[weight]: bits=8\nfuse Conv -> Relu\n", encoding="utf-8")
    assert found_in('extends "base.qsim"\nConv[weight]: bits=4\nfuse Conv -> Relu\n', tmp_path) == []


# ── repeated settings ────────────────────────────────────────────────────────────────────────


def test_a_repeated_setting_is_for_information_only(tmp_path: Path) -> None:
    (finding,) = found_in({"params": {"weight": {"is_quantized": "True"}}}, tmp_path)
    assert (finding.code, finding.severity) == ("Q0315", Severity.INFO)
    assert finding.message == "`params.weight.is_quantized` repeats `defaults.params.is_quantized`"
    assert [text for _, _, text in underlined(finding)] == ["said again", "said here already"]


def test_all_repeated_settings_of_a_file_are_one_finding(tmp_path: Path) -> None:
    quiet = {name: {"is_output_quantized": "True"} for name in ("Conv", "Gemm", "Add", "Mul")}
    (finding,) = found_in({"op_type": quiet}, tmp_path)
    assert finding.message == "4 settings repeat what more general ones say"
    assert len(finding.labels) == 3


@pytest.mark.parametrize(
    "sections",
    [
        {"params": {"weight": {"is_quantized": "False"}}},
        {"params": {"weight": {"is_symmetric": "False"}}},  # what nobody said is no default of the file
        {"op_type": {"Transpose": {"is_output_quantized": "True"}}},  # naming it quantizes its output
        {"op_type": {"ConstantOfShape": {"is_output_quantized": "True"}}},  # a constant, which is off by default
        {"op_type": {"Conv": {"is_input_quantized": "True"}}},  # so are inputs of the model
        {"model_output": {"is_output_quantized": "True"}},  # a supergroup may have switched it off
        {"op_type": {"Conv": {"is_output_quantized": "True"}, "Add": {"is_output_quantized": "False"}}},
        {
            "defaults": {**_DEFAULTS, "per_channel_quantization": "True"},
            "op_type": {"Gemm": {"per_channel_quantization": "False"}, "MatMul": {"per_channel_quantization": "True"}},
        },  # in AIMET's torch half nn.Linear answers to both
        {
            "defaults": {"ops": {"is_symmetric": "False"}, "params": {}},
            "op_type": {
                "Relu": {"is_symmetric": "False"},
                "Conv": {"encoding_constraints": {"min": -1, "max": 1}},
            },
        },  # such a range makes what Relu reads symmetric
        {
            "defaults": {"ops": {}, "params": {"is_symmetric": "False"}},
            "params": {"weight": {"is_symmetric": "True"}},
            "op_type": {"MatMul": {"params": {"weight": {"is_symmetric": "True"}}}},
        },  # a computed weight looks at the operator, then at the default of all parameters
    ],
)
def test_what_may_matter_is_no_repetition(sections: Mapping[str, Any], tmp_path: Path) -> None:
    assert found_in(sections, tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "*[act]: bits=8\nConv[output]: bits=8",
        "*: bits=8\n*[weight]: bits=8",
        "Conv[act]: bits=8\nConv[output]: bits=8",
        "*[param]: bits=8\n(Conv | Gemm)[weight, bias]: bits=8",
    ],
)
def test_roles_inherit_from_their_groups(text: str, tmp_path: Path) -> None:
    (finding,) = found_in(f"dialect aimet\n{text}\n", tmp_path)
    assert finding.code == "Q0315"


@pytest.mark.parametrize(
    "text",
    [
        "*[param]: bits=8\n*[bias]: bits=16\n(Conv | Gemm)[weight, bias]: bits=8",  # not for the bias
        "*[act]: bits=8\n*[input]: bits=4\nConv[act]: bits=8",
        "let w = bits=8\n*[param]: bits=8\nConv[weight]: @w",
        "*[param]: bits=8\n*[weight]: type=float16\nConv[weight]: bits=8",  # the type has decided the width
    ],
)
def test_a_setting_repeats_all_or_nothing(text: str, tmp_path: Path) -> None:
    assert found_in(f"dialect aimet\n{text}\n", tmp_path) == []


def test_vitis_blocks_may_repeat(tmp_path: Path) -> None:
    assert found_in("dialect vitis\n*[param]: bits=8\n*[weight]: bits=8\n", tmp_path) == []


# ── supergroups ──────────────────────────────────────────────────────────────────────────────


def test_of_equal_supergroups_the_second_never_matches(tmp_path: Path) -> None:
    chains = [["Conv", "Relu"], ["Conv", "Clip"], ["Conv", "Relu"]]
    (finding,) = found_in({"supergroups": [{"op_list": chain} for chain in chains]}, tmp_path)
    assert finding.code == "Q0317"
    first, second = (label.span.start for label in finding.labels)
    assert first > second


@pytest.mark.parametrize(
    "chains",
    [
        [["Conv", "Relu"], ["Conv", "Relu", "MaxPool"]],
        [["Conv", "Relu", "MaxPool"], ["Conv", "Relu"], ["Relu", "MaxPool"]],
        [["Conv", "Relu"], ["Relu", "Conv"]],
        [["Relu", "Relu"], ["Relu", "Relu", "Relu"]],
    ],
)
def test_a_chain_inside_another_still_matches_alone(chains: list[list[str]], tmp_path: Path) -> None:
    assert found_in({"supergroups": [{"op_list": chain} for chain in chains]}, tmp_path) == []


def test_a_set_is_shadowed_when_all_of_its_chains_are(tmp_path: Path) -> None:
    text = "dialect aimet\nfuse (Conv | Gemm) -> Relu\nfuse Gemm -> Relu\n"
    assert [d.code for d in found_in(text, tmp_path)] == ["Q0317"]
    text = "dialect aimet\nfuse Gemm -> Relu\nfuse (Conv | Gemm) -> Relu\n"
    assert found_in(text, tmp_path) == []


def test_sets_that_multiply_are_not_counted_out(tmp_path: Path) -> None:
    chain = " -> ".join(["(Conv | Gemm | Relu | Clip)"] * 30)
    assert found_in(f"dialect aimet\nfuse {chain}\n", tmp_path) == []


# ── channels ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("Relu", ["Q0318"]),
        ("Softmax", ["Q0318"]),
        ("InstanceNormalization", ["Q0319"]),
        ("Conv", []),
        ("MatMul", []),
        ("LayerNormalization", []),  # its weight may have more dimensions
        ("PRelu", []),  # a weight in aimet_torch, a constant in aimet_onnx
        ("Linear", []),  # no operator of ONNX: Q0206
    ],
)
def test_channels_need_a_weight(name: str, codes: list[str], tmp_path: Path) -> None:
    section = {name: {"per_channel_quantization": "True"}}
    assert [d.code for d in found_in({"op_type": section}, tmp_path)] == codes
    section = {name: {"per_channel_quantization": "False"}}
    assert found_in({"op_type": section}, tmp_path) == []


# ── real files ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not _SHARED.is_dir(), reason="real configurations are not here")
@pytest.mark.parametrize("folder", ["aimet", "vitis"])
def test_real_files_get_no_warning(folder: str) -> None:
    files = sorted((_SHARED / folder).rglob("*.json"))
    found = {str(path): [d for d in check(path) if d.code in _EFFECTS] for path in files}
    assert len(files) > 10
    assert [(p, d.code) for p, ds in found.items() for d in ds if d.severity is not Severity.INFO] == []
    assert max(map(len, found.values())) <= 1


def test_a_later_exception_to_some_of_a_rule_is_meant(tmp_path: Path) -> None:
    assert found_in("dialect aimet\n(Conv | Gemm)[weight]: bits=8\nGemm[weight]: bits=4\n", tmp_path) == []
