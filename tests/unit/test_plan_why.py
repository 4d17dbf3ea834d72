"""`why` answers for every tensor of a model, quantized or not."""

from __future__ import annotations

import pytest

from qsimc.planning.resolve import resolve
from qsimc.planning.why import render, why
from tests.unit.plans import SHIPPED, config_of, graph_of, plan_of, read_model
from tests.unit.test_plan import CONCAT, CONV_RELU, ON

EVERYTHING_UNQUANTIZED = """g (float[1,4] x, bool flag) => (float[4,1] y, float[1,4] z)
<float roi = {0}, float[2] scales = {1, 1}, int64[2] shape = {4, 1}>
{
  [reshape] t = Reshape(x, shape)
  [shape] s = Shape(x)
  [resize] y = Resize(t, , scales)
  [pool] m = MaxPool <kernel_shape = [1]> (x)
  [if] z = If(flag) <
    then_branch = then_g () => (float[1,4] a) { inner = Neg(x) a = Neg(inner) },
    else_branch = else_g () => (float[1,4] b) { b = Identity(x) }
  >
}"""

LAYER_NORM = """g (float[1,4] x) => (float[1,4] y)
<float two = {2}, float eps = {0.1}, float[4] g = {1, 1, 1, 1}, float[4] b = {0, 0, 0, 0}>
{
  [mean] u = ReduceMean <axes = [-1]> (x)
  [sub] c = Sub(x, u)
  [pow] p = Pow(c, two)
  [mean2] v = ReduceMean <axes = [-1]> (p)
  [add] w = Add(v, eps)
  [sqrt] q = Sqrt(w)
  [div] n = Div(c, q)
  [mul] m = Mul(n, g)
  [bias] y = Add(m, b)
}"""


@pytest.mark.parametrize(
    ("tensor", "rule"),
    [
        ("t", "aimet-never-quantized"),
        ("s", "aimet-floats-only"),
        ("flag", "aimet-floats-only"),
        ("scales", "aimet-control-input"),
        ("m", "aimet-grid-preserving"),
        ("roi", "aimet-unused-nodes"),
        ("inner", "aimet-subgraph-body"),
    ],
)
def test_why_not_names_the_rule(tensor: str, rule: str) -> None:
    answer = why(plan_of(ON, EVERYTHING_UNQUANTIZED), tensor)
    assert not answer.quantized
    assert f"`{rule}`" in answer.sentence
    assert answer.fields[0].winner.reason.rule == rule


def test_why_not_inside_a_fusion_names_its_line() -> None:
    answer = why(plan_of(ON + "fuse Conv -> Relu\n", CONV_RELU), "c")
    assert "by `fuse Conv -> Relu` at cfg.qsim:5:" in answer.sentence
    assert answer.sentence.endswith("(inside `conv` -> `relu`)")


def test_why_not_inside_a_graph_pass_names_the_option_and_the_nodes() -> None:
    config = {"supergroup_pass_list": ["LayerNormalization"], "model_input": {"is_input_quantized": "True"}}
    plan = plan_of(config, LAYER_NORM)
    answer = why(plan, "v")
    assert "option supergroup_passes=" in answer.sentence
    assert "inside the LayerNormalization that `mean` to `bias` are" in answer.sentence
    assert (plan["g"].role, plan["g"].node, plan["b"].role, plan["b"].node) == ("weight", "mul", "bias", "bias")


def test_why_not_by_a_line_names_the_line() -> None:
    answer = why(plan_of(ON + "*[bias]: off\n", CONV_RELU), "b", "enabled")
    (field,) = answer.fields
    assert field.winner.reason.rule == "*[bias]: off"
    assert [loser.reason.rule for loser in field.losers] == ["default", "*[param]: on"]


def test_a_constant_without_model_input_says_so() -> None:
    model = "g (float[4] x) => (float[4] y) <float[4] k = {1, 2, 3, 4}> { y = Add(x, k) }"
    answer = why(plan_of("dialect aimet\n*[output]: on\n", model), "k")
    assert "only if `model_input` asks for it" in answer.sentence


def test_a_shared_quantizer_leads_to_who_decided_there() -> None:
    answer = why(plan_of(ON + "Concat[act]: symmetric\n", CONCAT), "b", "symmetric")
    (field,) = answer.fields
    assert field.winner.reason.rule == "aimet-tie-backward"
    assert field.through is not None
    tensor, decision = field.through
    assert (tensor, decision.reason.rule) == ("y", "Concat[act]: symmetric")


def test_the_axis_is_answered_by_who_asked_for_channels() -> None:
    answer = why(plan_of(ON + "Conv[param]: per_channel\n", CONV_RELU), "w", "axis")
    assert answer.fields[0].winner.reason.rule == "Conv[param]: per_channel"


@pytest.mark.parametrize(("tensor", "field", "hint"), [("conv_", None, "conv"), ("c", "symetric", "symmetric")])
def test_a_misspelt_word_gets_a_suggestion(tensor: str, field: str | None, hint: str) -> None:
    plan = plan_of(ON, CONV_RELU.replace("c = Conv", "conv = Conv").replace("Relu(c)", "Relu(conv)"))
    with pytest.raises(LookupError, match=f"did you mean `{hint}`"):
        why(plan, "conv" if field else tensor, field)


def test_render_shows_winner_losers_and_places() -> None:
    text = render(why(plan_of(ON + "*[bias]: off\n", CONV_RELU), "b", "enabled"))
    assert text.splitlines() == [
        "`b` is not quantized, by `*[bias]: off` at cfg.qsim:5:10",
        "",
        "enabled = false",
        "  by    *[bias]: off  at cfg.qsim:5:10",
        "  over  *[param]: on  at cfg.qsim:3:11, which says true",
        "  over  default, which says false",
    ]


def test_every_tensor_of_every_model_has_an_answer() -> None:
    config = config_of(ON)
    graphs = [read_model(path) for path in sorted(SHIPPED.glob("*.onnx"))]
    graphs += [graph_of(EVERYTHING_UNQUANTIZED), graph_of(LAYER_NORM)]
    for graph in graphs:
        plan = resolve(config, graph, lambda _: None)
        assert plan is not None
        inner = {tensor for node in graph.nodes for tensor in node.inner}
        for tensor in {*graph.tensors, *inner}:
            answer = why(plan, tensor)
            assert "unknown" not in render(answer)
            assert answer.fields
