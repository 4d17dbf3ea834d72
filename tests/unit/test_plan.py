"""What the plan decides, where it departs from AIMET, and that it is as fast as it must be."""

from __future__ import annotations

from typing import Any

import pytest

from qsimc import resources
from qsimc.diagnostics import Severity
from qsimc.ir.quant import FIELDS, Calib, Numeric, Round
from qsimc.planning.plan import Kind, Mode
from qsimc.planning.rules import IDS
from qsimc.spec.ops import operators
from tests.unit.plans import outcome, plan_of

ON = "dialect aimet\n*[output]: on\n*[param]: on symmetric\nmodel[input]: on\n"

CONV_RELU = """g (float[1,4,8,8] x) => (float[1,4,8,8] y)
<float[4,4,1,1] w = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}, float[4] b = {0,0,0,0}>
{ [conv] c = Conv(x, w, b)  [relu] y = Relu(c) }"""

CONV_IS_OUTPUT = CONV_RELU.replace("(float[1,4,8,8] y)", "(float[1,4,8,8] y, float[1,4,8,8] c)")

ADD_CONSTANT = """g (float[4] x) => (float[4] y) <float[4] k = {1,2,3,4}> { [add] y = Add(x, k) }"""

GRU = """g (float[1,1,1] x) => (float[1,1,1,1] y)
<float[1,3,1] w = {1,1,1}, float[1,3,1] r = {1,1,1}, float[1,6] b = {0,0,0,0,0,0}>
{ [gru] y = GRU <hidden_size = 1> (x, w, r, b) }"""

TIED_RANGES = """g (float[4] x) => (float[4] y) { [tanh] t = Tanh(x) [relu] y = Relu(t) }"""

CONCAT = """g (float[4] a, float[4] b) => (float[8] y) { [join] y = Concat <axis = 0> (a, b) }"""


@pytest.mark.parametrize(
    ("config", "model", "code", "vendor"),
    [
        (
            {
                "defaults": {"ops": {"is_output_quantized": "True"}, "params": {}},
                "op_type": {"Conv": {"is_output_quantized": "False"}, "Relu": {"is_input_quantized": "True"}},
            },
            CONV_RELU,
            "Q0520",
            ("AssertionError", "Conflicting tensor quantizer settings for symmetric encodings"),
        ),
        ({}, ADD_CONSTANT, "Q0521", ("KeyError", "'is_input_quantized'")),
        (
            {"defaults": {"ops": {}, "params": {}, "per_channel_quantization": "True"}},
            GRU,
            "Q0522",
            ("RuntimeError", "Cannot determine correct channel axis for PCQ"),
        ),
        (
            {
                "defaults": {"ops": {"is_output_quantized": "True"}, "params": {}},
                "op_type": {
                    "Tanh": {"encoding_constraints": {"min": -1.0, "max": 1.0}},
                    "Relu": {"encoding_constraints": {"min": 0.0}},
                },
            },
            TIED_RANGES,
            "Q0523",
            ("RuntimeError", "Can't merge quantizers with different fixed ranges: (-1.0, 1.0) vs (0.0, None)"),
        ),
        (
            {"supergroup_pass_list": ["LayerNorm"]},
            CONV_RELU,
            "Q0209",
            ("ValueError", "Graph pass requested but not found: ['LayerNorm']."),
        ),
    ],
)
def test_where_aimet_stops_vendor_mode_does_and_fixed_mode_warns(
    config: dict[str, Any], model: str, code: str, vendor: tuple[str, str]
) -> None:
    stopped, (error,) = outcome(config, model, mode=Mode.VENDOR)
    assert stopped is None
    assert (error.code, error.severity) == (code, Severity.ERROR)
    assert error.vendor is not None
    assert (error.vendor.id, error.vendor.text) == vendor
    plan, (warning,) = outcome(config, model)
    assert plan is not None
    assert (warning.code, warning.severity) == (code, Severity.WARNING)


def test_a_conflict_names_both_lines_both_nodes_and_the_tensor() -> None:
    config = ON + "Conv[output]: off\nRelu[input]: on\n"
    _, (error,) = outcome(config, CONV_RELU, mode=Mode.VENDOR)
    assert "`c`" in error.message
    assert [label.span.line for label in error.labels] == [6, 5]
    assert ["`relu` (Relu)" in error.labels[0].text, "`conv` (Conv)" in error.labels[1].text] == [True, True]


@pytest.mark.parametrize(
    ("rules", "enabled"),
    [
        ("Conv[output]: off\nRelu[input]: on\n", True),
        ("Relu[input]: on\nConv[output]: off\n", False),
    ],
)
def test_of_two_conflicting_rules_the_later_wins(rules: str, enabled: bool) -> None:
    plan, _ = outcome(ON + rules, CONV_RELU)
    assert plan is not None
    assert plan["c"].spec.enabled is enabled


def test_a_rule_outranks_a_built_in_one() -> None:
    model = "g (float[1,1,4] x) => (float[1,1,4] y) { [pool] m = MaxPool <kernel_shape=[1]> (x) [tanh] y = Tanh(m) }"
    plan, (warning,) = outcome(ON + "Tanh[input]: on\n", model)
    assert plan is not None
    assert plan["m"].spec.enabled
    assert "outranks a built-in rule" in warning.notes[0]


def test_one_conflict_is_reported_once_however_many_nodes_have_it() -> None:
    body = "".join(f"c{i} = Conv(x, w, b) y{i} = Relu(c{i}) " for i in range(5))
    model = CONV_RELU.replace("[conv] c = Conv(x, w, b)  [relu] y = Relu(c)", body + "y = Sum(y0, y1, y2, y3, y4)")
    _, (warning,) = outcome(ON + "Conv[output]: off\nRelu[input]: on\n", model)
    assert warning.notes[-1] == "and 4 more like this"


def test_fixed_mode_keeps_a_model_output_quantized() -> None:
    rules = ON + "fuse Conv -> Relu\n"
    vendor, findings = outcome(rules, CONV_IS_OUTPUT, mode=Mode.VENDOR)
    assert vendor is not None
    assert (vendor["c"].spec.enabled, findings) == (False, [])
    fixed, (warning,) = outcome(rules, CONV_IS_OUTPUT)
    assert fixed is not None
    assert (fixed["c"].spec.enabled, warning.code) == (True, "Q0524")


def test_fixed_mode_takes_model_outputs_that_are_read_for_model_outputs() -> None:
    rules = "dialect aimet\nmodel[output]: on\n"
    vendor = plan_of(rules, CONV_IS_OUTPUT, mode=Mode.VENDOR)
    fixed, (warning,) = outcome(rules, CONV_IS_OUTPUT)
    assert fixed is not None
    assert [vendor["c"].spec.enabled, vendor["y"].spec.enabled] == [False, True]
    assert [fixed["c"].spec.enabled, fixed["y"].spec.enabled, warning.code] == [True, True, "Q0525"]


def test_fixed_mode_keeps_the_range_of_a_join() -> None:
    rules = ON + "Concat[output]: range=0..1\n"
    assert plan_of(rules, CONCAT, mode=Mode.VENDOR)["y"].spec.range is None
    fixed, (warning,) = outcome(rules, CONCAT)
    assert fixed is not None
    assert (fixed["a"].spec.range, warning.code) == ((0, 1), "Q0526")


def test_fixed_mode_gives_recurrent_weights_their_output_channels() -> None:
    plan, (warning,) = outcome(ON + "*[param]: per_channel\n", GRU)
    assert plan is not None
    assert {t: plan[t].axis for t in ("w", "r", "b")} == {"w": 1, "r": 1, "b": 1}
    assert "axis 1" in warning.notes[0]


def test_a_parameter_without_channels_stays_per_tensor() -> None:
    model = """g (float[2,2] x) => (float[2,2] y) <float[2,2] s = {1,1,1,1}>
    { [norm] y = LayerNormalization <axis = 0> (x, s) }"""
    plan, (warning,) = outcome(ON + "*[param]: per_channel\n", model)
    assert plan is not None
    assert (plan["s"].axis, plan["s"].spec.per_channel, warning.code) == (None, False, "Q0522")


def test_sets_of_operators_mean_each_of_them() -> None:
    rules = ON + "fuse (Conv | Gemm) -> (Relu | Clip)\n(Conv | Gemm)[param]: per_channel\n"
    plan = plan_of(rules, CONV_RELU)
    assert (plan["c"].spec.enabled, plan["w"].axis) == (False, 0)


def test_a_rule_about_a_node_outranks_one_about_its_type() -> None:
    plan = plan_of(ON + '"conv"[weight]: bits=4\nConv[weight]: bits=16\n', CONV_RELU)
    assert plan["w"].spec.bits == 4


def test_every_spec_is_complete_and_every_field_has_a_reason() -> None:
    plan = plan_of(ON, CONV_RELU, act="int16", param="int4", calib=Calib.PERCENTILE, percentile=99.9)
    assert list(plan.tensors) == ["x", "w", "b", "c", "y"]
    for tensor in plan.tensors.values():
        assert set(tensor.because) == set(FIELDS)
        may_be_none = {"range", "reduce"}
        assert all(getattr(tensor.spec, name) is not None for name in set(FIELDS) - may_be_none)
    weight = plan["w"]
    assert (weight.kind, weight.role, weight.node, weight.op) == (Kind.PARAM, "weight", "conv", "Conv")
    assert (weight.spec.type, weight.spec.bits, weight.spec.signed) == (Numeric.INT, 4, True)
    assert (plan["c"].spec.bits, plan["c"].spec.signed, plan["x"].node) == (16, False, None)
    assert weight.because["bits"].rule == "--param int4"


def test_rounding_is_the_vendors_in_vendor_mode() -> None:
    assert plan_of(ON, CONV_RELU)["c"].spec.round is Round.HALF_EVEN
    assert plan_of(ON, CONV_RELU, mode=Mode.VENDOR)["c"].spec.round is Round.STD


def test_sharing_names_the_first_tensor_of_the_group() -> None:
    plan = plan_of(ON, CONCAT)
    assert {t: plan[t].shares for t in plan.tensors} == {"a": None, "b": "a", "y": "a"}


def test_a_read_before_it_is_computed_is_reported() -> None:
    model = "g (float[4] x) => (float[4] y) { [second] y = Relu(t) [first] t = Tanh(x) }"
    plan, (error,) = outcome(ON, model)
    assert plan is None
    assert (error.code, error.severity) == ("Q0528", Severity.ERROR)


def test_an_unknown_precision_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="int9000"):
        outcome(ON, CONV_RELU, act="int9000")


def test_ten_times_the_nodes_cost_ten_times_the_decisions() -> None:
    def decisions(nodes: int) -> int:
        chain = "".join(f"[n{i}] t{i + 1} = Relu(t{i}) " for i in range(nodes))
        plan = plan_of(ON, f"g (float[4] t0) => (float[4] t{nodes}) {{ {chain} }}")
        return sum(len(tensor.history) for tensor in plan.tensors.values())

    few, many, most = decisions(10), decisions(110), decisions(210)
    assert many - few == most - many


@pytest.mark.parametrize("rule", IDS)
def test_every_built_in_rule_has_a_page_with_an_example_and_a_source(rule: str) -> None:
    page = resources.read("specs", f"rules/{rule}.md")
    assert page.startswith(f"# {rule}\n\n")
    assert "## Example" in page
    assert "## Source" in page


def test_a_table_of_operators_says_what_aimet_hard_codes() -> None:
    table = operators()
    assert len(table.grid_preserving) == 26
    assert table["Gemm"].transposed_axis == 0
    assert table["NoSuchOperator"].params == {}


# ── found by drawing pairs and asking AIMET (tests/conformance/aimet) ────────────────────────

_INPUT_ON = {"model_input": {"is_input_quantized": "True"}}

LISTED = """g (float[1,4] x) => (float[1,4] y)
{ s = Constant <value_floats: floats = [1.0, 1.0, 1.0, 1.0]> () [norm] y = LayerNormalization (x, s) }"""

SHARED_WEIGHT = """g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}>
{ [product] m = MatMul (x, w) [sum] y = Add (m, w) }"""

LAST_STATE = GRU.replace("=> (float[1,1,1,1] y)", "=> (float[1,1,1] h)").replace("y = GRU", '"", h = GRU')

WRITTEN_NORM = """g (float[2,4] x) => (float[2,4] y)
<int64[1] last = {-1}, float two = {2}, float eps = {0.00001}, float[4] scale = {1, 1, 1, 1}>
{
  mean = ReduceMean (x, last)
  centred = Sub (x, mean)
  square = Pow (centred, two)
  variance = ReduceMean (square, last)
  shifted = Add (variance, eps)
  root = Sqrt (shifted)
  normed = Div (centred, root)
  y = Mul (normed, scale)
}"""


def test_vendor_mode_takes_a_constant_of_plain_numbers_for_no_parameter() -> None:
    vendor = plan_of(_INPUT_ON, LISTED, mode=Mode.VENDOR)
    fixed, (warning,) = outcome(_INPUT_ON, LISTED)
    assert fixed is not None
    assert (vendor["s"].kind, fixed["s"].kind, warning.code) == (Kind.CONSTANT, Kind.PARAM, "Q0538")


def test_a_weight_shared_by_operators_of_two_types_stops_vendor_mode() -> None:
    stopped, (error,) = outcome(_INPUT_ON, SHARED_WEIGHT, mode=Mode.VENDOR)
    assert (stopped, error.code) == (None, "Q0537")
    assert error.vendor is not None
    assert error.vendor.text.startswith(
        "Found shared parameter(s) with conflicting consumer types:\n\n  - input name: w\n"
        "    - consumer 0: product (MatMul)\n    - consumer 1: sum (Add)\n\nPlease call "
    )


def test_a_recurrent_operator_without_its_sequence_stops_vendor_mode() -> None:
    stopped, (error,) = outcome(ON, LAST_STATE, mode=Mode.VENDOR)
    assert (stopped, error.code) == (None, "Q0540")
    assert error.vendor is not None
    assert (error.vendor.id, error.vendor.text) == ("KeyError", "''")


NORM_PASS = {
    "defaults": {"ops": {"is_output_quantized": "True"}, "params": {}},
    "supergroup_pass_list": ["LayerNormalization"],
    **_INPUT_ON,
}


def test_a_norm_that_is_not_folded_has_nothing_quantized_inside() -> None:
    plan = plan_of(NORM_PASS, WRITTEN_NORM, act="int16")
    assert [tensor.tensor for tensor in plan.enabled()] == ["x", "scale", "y"]
    assert (plan["scale"].kind, plan["scale"].spec.symmetric) == (Kind.CONSTANT, True)
    assert not plan["root"].spec.enabled


def test_a_norm_is_folded_where_the_axes_are_attributes() -> None:
    model = WRITTEN_NORM.replace("(x, last)", "<axes = [-1]> (x)").replace("(square, last)", "<axes = [-1]> (square)")
    plan = plan_of(NORM_PASS, model)
    assert list(plan.tensors) == ["x", "scale", "y"]
    assert plan["scale"].kind is Kind.PARAM


def test_an_inverse_root_is_a_power_too() -> None:
    power = "normed = Mul (centred, root)"
    model = WRITTEN_NORM.replace("Sqrt (shifted)", "Pow (shifted, half)").replace("normed = Div (centred, root)", power)
    model = model.replace("float two = {2}", "float two = {2}, float half = {-0.5}").replace(
        "(x, last)", "<axes=[-1]> (x)"
    )
    assert list(plan_of(NORM_PASS, model).tensors) == ["x", "scale", "y"]


def test_a_scalar_bias_has_no_channels_and_no_finding() -> None:
    model = """g (float[2,3] x) => (float[2,1] y) <float[3,1] w = {1,1,1}, float b = {1}> { y = Gemm (x, w, b) }"""
    plan = plan_of(ON + "Gemm[param]: per_channel\n", model, mode=Mode.VENDOR)
    assert (plan["w"].axis, plan["b"].axis) == (1, None)
