"""Which words of Vitis AI's configurations decide, and what is said of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats import read
from qsimc.graph import Graph
from qsimc.planning.plan import Mode, Plan
from qsimc.planning.vitis.modules import Traced
from qsimc.planning.vitis.resolve import resolve
from qsimc.planning.vitis.rewrites import rewrites
from qsimc.planning.why import render, why
from qsimc.source import Source
from tests.unit.vitis_plans import NET, simple

FLOAT_SCALES = {"method": "maxmin", "scale_type": "float", "round_mode": "half_even", "calib_statistic_method": "max"}

KINDS = ["input", "weights", "bias", "activation"]


def config_text(document: dict[str, Any]) -> str:
    return json.dumps({"target_device": "CPU", **document}, indent=1)


def resolved(
    document: dict[str, Any], net: Graph = NET, mode: Mode = Mode.FIXED, model: str = "Net"
) -> tuple[Plan | None, list[Diagnostic]]:
    findings: list[Diagnostic] = []
    config = read(Source("cfg.json", config_text(document)), findings.append)
    assert config is not None, findings
    return resolve(config, net, findings.append, model=model, mode=mode), findings


def plan_of(document: dict[str, Any], net: Graph = NET, mode: Mode = Mode.FIXED) -> Plan:
    plan, findings = resolved(document, net, mode)
    assert plan is not None, findings
    return plan


def codes(findings: list[Diagnostic]) -> list[str]:
    return [finding.code for finding in findings]


def entry(kinds: list[str], overall: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    blocks = {key: value for key, value in said.items() if key in KINDS}
    names = {key: value for key, value in said.items() if key not in KINDS}
    found: dict[str, Any] = {**names, "quantizable_data_type": kinds}
    if overall is not None:
        found["overall_quantize_config"] = overall
    return found | ({"tensor_quantize_config": blocks} if blocks else {})


# ── settings ─────────────────────────────────────────────────────────────────────────────────


def test_blocks_win_over_the_overall_block_and_entries_over_both() -> None:
    document = {
        "overall_quantize_config": {**FLOAT_SCALES, "bit_width": 10},
        "tensor_quantize_config": {"weights": {"bit_width": 6}},
        "layer_quantize_config": [entry(["weights"], layer_type="Conv2d", weights={"bit_width": 5})],
    }
    plan = plan_of(document)
    assert {t: plan[t].spec.bits for t in ("x", "stem.weight", "stem.bias")} == {
        "x": 10,
        "stem.weight": 5,
        "stem.bias": 10,
    }


@pytest.mark.parametrize(("mode", "bits"), [(Mode.FIXED, (4, 4)), (Mode.VENDOR, (4, 8))])
def test_a_type_means_every_kind_of_convolution_or_the_first(mode: Mode, bits: tuple[int, int]) -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [entry(["weights"], layer_type="torch.nn.Conv2d", weights={"bit_width": 4})],
    }
    plan, findings = resolved(document, mode=mode)
    assert plan is not None
    assert (plan["stem.weight"].spec.bits, plan["dw.weight"].spec.bits) == bits
    assert "Q0543" in codes(findings)


@pytest.mark.parametrize(("mode", "bits"), [(Mode.FIXED, (6, 12)), (Mode.VENDOR, (6, 8))])
def test_what_an_entry_by_name_leaves_out_the_one_by_type_decides_or_the_file(
    mode: Mode, bits: tuple[int, int]
) -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [
            entry(["weights", "bias"], layer_type="Conv2d", weights={"bit_width": 5}, bias={"bit_width": 12}),
            entry(["weights"], layer_name="Net::Net/Conv2d[stem]/ret.3", weights={"bit_width": 6}),
        ],
    }
    plan = plan_of(document, mode=mode)
    assert (plan["stem.weight"].spec.bits, plan["stem.bias"].spec.bits) == bits


@pytest.mark.parametrize("name", ["Net::Net/Conv2d[stem]/ret.3", "stem"])
def test_a_layer_is_found_by_its_traced_name_and_by_its_path(name: str) -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [entry(["weights"], layer_name=name, weights={"bit_width": 4})],
    }
    plan = plan_of(document)
    assert [plan[f"{path}.weight"].spec.bits for path in ("stem", "dw", "pw")] == [4, 8, 8]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("Net::Net/Conv2d[stm]/ret.3", "modules: stem, relu, dw, pw"),
        ("Net::Net/ret.15", "outside all modules"),
        ("Net::Net/Linear[stem]/ret.3", "modules: stem, relu, dw, pw"),
        ("nothing", "modules: stem, relu, dw, pw"),
    ],
)
def test_a_name_that_means_nothing_is_reported(name: str, note: str) -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [entry(["weights"], layer_name=name, weights={"bit_width": 4})],
    }
    _, findings = resolved(document)
    (found,) = [finding for finding in findings if finding.code == "Q0544"]
    assert any(note in line for line in found.notes)
    assert found.labels[0].span.text == json.dumps(name)


def test_the_name_of_another_model_means_nothing_in_vendor_mode() -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [entry(["weights"], layer_name="Other::Other/Conv2d[stem]/ret.3")],
    }
    assert "Q0544" in codes(resolved(document, mode=Mode.VENDOR)[1])


def test_a_type_that_the_model_lacks_is_reported_with_what_may_be_meant() -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [entry(["weights"], layer_type="torch.nn.BatchNorm2d")],
    }
    (found,) = [finding for finding in resolved(document)[1] if finding.code == "Q0542"]
    assert found.helps == ("did you mean `BatchNorm`?",)
    assert "Conv2d" in found.notes[0]


@pytest.mark.parametrize(("mode", "severity"), [(Mode.FIXED, Severity.WARNING), (Mode.VENDOR, Severity.ERROR)])
def test_two_entries_for_one_group_are_reported(mode: Mode, severity: Severity) -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [
            entry(["activation"], layer_type="add", activation={"bit_width": 16}),
            entry(["activation"], layer_type="ReLU", activation={"bit_width": 12}),
        ],
    }
    plan, findings = resolved(document, mode=mode)
    (found,) = [finding for finding in findings if finding.code == "Q0545"]
    assert found.severity is severity
    assert (plan is None) == (mode is Mode.VENDOR)
    assert found.vendor is not None
    assert found.vendor.id == "ValueError"


def test_the_list_of_the_file_selects_what_is_quantized_or_does_nothing() -> None:
    document = {"overall_quantize_config": FLOAT_SCALES, "quantizable_data_type": ["weights"]}
    fixed, vendor = plan_of(document), plan_of(document, mode=Mode.VENDOR)
    assert {t.kind for t in fixed.enabled()} == {"param"}
    assert len(vendor.enabled()) == 11


@pytest.mark.parametrize(("mode", "share"), [(Mode.FIXED, 99.0), (Mode.VENDOR, 99.99)])
def test_a_block_without_a_percentage_loses_it_in_vendor_mode(mode: Mode, share: float) -> None:
    overall = {**FLOAT_SCALES, "method": "percentile", "percentage": 99.0}
    document = {"overall_quantize_config": overall, "tensor_quantize_config": {"activation": {"bit_width": 7}}}
    assert plan_of(document, mode=mode)["y"].spec.percentile == share


@pytest.mark.parametrize(("mode", "bits"), [(Mode.FIXED, 16), (Mode.VENDOR, 12)])
def test_the_network_input_takes_the_settings_of_input_or_of_activations(mode: Mode, bits: int) -> None:
    blocks = {"input": {"bit_width": 16}, "activation": {"bit_width": 12}}
    document = {"overall_quantize_config": {**FLOAT_SCALES, "bit_width": 16}, "tensor_quantize_config": blocks}
    plan, findings = resolved(document, mode=mode)
    assert plan is not None
    assert plan["x"].spec.bits == bits
    assert ("Q0547" in codes(findings)) == (mode is Mode.FIXED)


def test_a_network_input_with_a_power_of_two_is_not_searched() -> None:
    plan = plan_of({"target_device": "DPU"})
    assert (plan["x"].spec.calib, plan["y"].spec.calib) == ("minmax", "diffs")
    assert plan["x"].because["calib"].rule == "vitis-input-range"


@pytest.mark.parametrize(("mode", "calib"), [(Mode.FIXED, "minmax"), (Mode.VENDOR, "diffs")])
def test_the_method_of_the_dpu_is_obeyed_or_not(mode: Mode, calib: str) -> None:
    overall = {"method": "maxmin"}
    plan = plan_of({"target_device": "DPU", "overall_quantize_config": overall}, mode=mode)
    assert plan["stem.weight"].spec.calib == calib


def test_the_dpu_rounds_as_it_can() -> None:
    plan = plan_of({"target_device": "DPU"})
    assert {t: plan[t].spec.round for t in ("x", "y", "stem.weight")} == {
        "x": "half_up",
        "y": "half_up",
        "stem.weight": "std",
    }


# ── inputs of single layers ──────────────────────────────────────────────────────────────────

W4A8 = {"overall_quantize_config": FLOAT_SCALES, "tensor_quantize_config": {"weights": {"bit_width": 4}}}


def test_narrow_weights_give_the_first_layer_a_quantizer_of_its_own_in_vendor_mode() -> None:
    plan = plan_of(W4A8, mode=Mode.VENDOR)
    assert [(e.section, e.name, e.bits) for e in plan.entries if e.section == "input"] == [
        ("input", "nndct_conv2d_1", 4)
    ]
    assert [(edge.tensor, edge.reader, edge.in_place) for edge in plan.edges] == [("x", "stem", True)]
    assert plan_of(W4A8).edges == ()


def test_one_float_type_gives_every_operator_quantizers_of_its_own() -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "layer_quantize_config": [entry(KINDS, {"datatype": "bfloat16"}, layer_type="add")],
    }
    plan = plan_of(document)
    outputs = [(e.name, e.datatype) for e in plan.entries if e.section == "output"]
    assert outputs == [
        ("nndct_conv2d_1", "int"),
        ("nndct_depthwise_conv2d_3", "int"),
        ("nndct_conv2d_4", "int"),
        ("nndct_elemwise_add_5", "bfloat16"),
    ]
    inputs = [(e.name, e.index, e.datatype) for e in plan.entries if e.section == "input"]
    assert inputs[-2:] == [("nndct_elemwise_add_5", 0, "bfloat16"), ("nndct_elemwise_add_5", 1, "bfloat16")]
    assert len(inputs) == 5


# ── rewrites, differences, reasons ───────────────────────────────────────────────────────────


def wanted(document: dict[str, Any], mode: Mode) -> set[str]:
    config = read(Source("cfg.json", config_text(document)), lambda _: None)
    assert config is not None
    always = {"own-copies", "split-pads", "fold-norms", "simplify-norms"}
    found = set(rewrites(config, mode))
    assert always <= found
    return found - always


@pytest.mark.parametrize(
    ("document", "mode", "expected"),
    [
        ({}, Mode.FIXED, {"equalize"}),
        ({"include_cle": False}, Mode.FIXED, set()),
        ({"include_cle": False, "convert_relu6_to_relu": True}, Mode.FIXED, {"relu6-to-relu"}),
        ({"convert_silu_to_hswish": True, "include_cle": False}, Mode.FIXED, {"silu-to-hswish"}),
        ({}, Mode.VENDOR, {"equalize", "relu6-to-relu", "leaky-relu", "round-averages", "hard-activations"}),
        (
            {"target_device": "DPU", "include_cle": False},
            Mode.FIXED,
            {"leaky-relu", "round-averages", "hard-activations"},
        ),
        ({"target_device": "FLEXML", "include_cle": False}, Mode.VENDOR, {"leaky-relu", "round-averages"}),
    ],
)
def test_a_configuration_says_how_the_model_is_rewritten(
    document: dict[str, Any], mode: Mode, expected: set[str]
) -> None:
    assert wanted(document, mode) == expected


@pytest.mark.parametrize(
    ("document", "net", "message"),
    [
        ({}, simple("y = Clip (x, l, h)", "<float l = {0}, float h = {6}>"), "keeps its bound"),
        ({}, simple("y = LeakyRelu <alpha = 0.3> (x)"), "computes as in the float model"),
        ({"overall_quantize_config": {**FLOAT_SCALES, "symmetry": False}}, NET, "widened to hold zero"),
    ],
)
def test_where_the_program_would_do_otherwise_is_said(document: dict[str, Any], net: Graph, message: str) -> None:
    _, findings = resolved(document, net)
    assert any(message in finding.message for finding in findings if finding.code == "Q0547")
    assert "Q0547" not in codes(resolved(document, net, Mode.VENDOR)[1])


def test_a_reason_names_the_line_and_who_was_overruled() -> None:
    document = {
        "overall_quantize_config": FLOAT_SCALES,
        "tensor_quantize_config": {"weights": {"bit_width": 6}},
        "layer_quantize_config": [entry(["weights"], layer_type="Conv2d", weights={"bit_width": 5})],
    }
    text = render(why(plan_of(document), "stem.weight", "bits"))
    assert "bits = 5" in text
    assert "by    Conv2d[weight]: bits=5  at cfg.json:" in text
    assert "over  *[weight]: bits=6" in text


def test_a_tensor_without_a_quantizer_says_why() -> None:
    plan = plan_of({"overall_quantize_config": FLOAT_SCALES})
    assert plan.bare["stem"].rule == "vitis-group"
    assert "`r`" in plan.bare["stem"].detail
    assert "share the quantizer at the end of their group" in why(plan, "stem").sentence


def test_a_traced_name_is_taken_apart() -> None:
    name = "ResNet::ResNet/Sequential[layer2]/BasicBlock[0]/Conv2d[conv1]/ret.15"
    assert Traced.read(name) == Traced("ResNet", "layer2.0.conv1", ("Sequential", "BasicBlock", "Conv2d"))
    assert Traced.read("layer2.0.conv1") is None


@pytest.mark.parametrize(
    ("net", "overall", "exception"),
    [
        (simple("y = PRelu (x, k)", "<float[1] k = {0.25}>"), {}, "TypeError"),
        (
            simple("y = Conv (x, w)", "<float[1, 4, 1, 1] w = {1, 2, 3, 4}>"),
            {"weights": {"per_channel": True}},
            "IndexError",
        ),
    ],
    ids=["prelu", "one channel"],
)
def test_where_the_program_stops_vendor_mode_does_too(net: Graph, overall: dict[str, Any], exception: str) -> None:
    document = {"overall_quantize_config": FLOAT_SCALES, "tensor_quantize_config": overall}
    plan, findings = resolved(document, net, Mode.VENDOR)
    assert plan is None
    assert [f.vendor.id for f in findings if f.code == "Q0548" and f.vendor is not None] == [exception]
    assert resolved(document, net)[0] is not None
