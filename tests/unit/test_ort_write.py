"""Settings of ONNX Runtime's quantizer: written so that it takes and means them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qsimc.ir.config import Option
from qsimc.ir.levels import levels
from qsimc.ir.loss import LossKind
from qsimc.ir.select import show
from tests.unit.ort_documents import GRAPH, W8A8, config, kinds, read, said, write


def test_the_usual_w8a8_is_said_by_arguments() -> None:
    document, losses = write(config(W8A8 + "*[weight]: per_channel\n"))
    assert (document["activation_type"], document["weight_type"]) == ("QUInt8", "QInt8")
    assert (document["per_channel"], document["calibrate_method"]) == (True, "MinMax")
    assert document["extra_options"] == {
        "ActivationSymmetric": False, "WeightSymmetric": True, "QuantizeBias": False
    }  # fmt: skip
    assert kinds(losses) == ["SELECTOR"]  # `*` becomes a list


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ("*[output]: round=half_up", LossKind.ROUNDING),
        ("*[output]: scale=pow2", LossKind.SCALE),
        ("*[output]: reduce=modal", LossKind.STATISTIC),
        ("*[output]: calib=mse", LossKind.ESTIMATOR),
        ("*[weight]: calib=mse", LossKind.ESTIMATOR),
        ("*[output]: bits=7", LossKind.DTYPE),
        ("*[output]: type=float16", LossKind.DTYPE),
        ("*[weight]: per_group=32", LossKind.GRANULARITY),
        ("*[output]: dynamic", LossKind.DYNAMIC),
        ("*[weight]: unsigned_symmetric=true", LossKind.SIGNEDNESS),
        ("*[output]: narrow_range", LossKind.NARROW_RANGE),
        ("*[bias]: on bits=8", LossKind.BIAS),
        ("Add[output]: bits=16", LossKind.DTYPE),
        ("Add[output]: symmetric", LossKind.SYMMETRY),
        ("Sigmoid[output]: range=0..1", LossKind.CONSTRAINT),
        ("Gemm[weight]: per_channel", LossKind.GRANULARITY),
        ("Add[output]: calib=entropy", LossKind.ESTIMATOR),
        ("Add[output]: off", LossKind.PLACEMENT),
        ("Conv[input]: off", LossKind.PLACEMENT),
        ("model[input]: off", LossKind.PLACEMENT),
        ('~"/attn/*": off', LossKind.SELECTOR),
        ("fuse Conv -> Sigmoid", LossKind.SUPERGROUP),
        ('forbid *[act]: per_channel "no channels"', LossKind.RESTRICTION),
    ],
)
def test_what_the_quantizer_cannot_say_is_one_loss(rules: str, kind: LossKind) -> None:
    found = config(W8A8 + rules + "\n")
    _, losses = write(found)
    named = [loss for loss in losses if loss.kind is kind]
    assert len(named) == (2 if kind is LossKind.SELECTOR else 1) or "~" in rules
    assert all(loss.span is not None for loss in named)
    if kind not in (LossKind.RESTRICTION, LossKind.SUPERGROUP):
        assert all(loss.fields for loss in named)


@pytest.mark.parametrize(
    "rules",
    [
        "Softmax[output]: range=0..1",
        "Relu[output]: range=0..",
        "fuse Conv -> Relu",
        "fuse Conv -> (Relu | Clip)",
        "*[output]: round=half_even scale=float",
        "*[output]: reduce=max",
        "model[input]: on",
        "Add[output]: bits=8",
        "Transpose[output]: off",
        "LayerNormalization[weight]: per_channel",
    ],
)
def test_what_it_does_by_itself_is_no_loss(rules: str) -> None:
    _, losses = write(config(W8A8 + rules + "\n"))
    assert kinds(losses) == ["SELECTOR"]


def test_a_loss_is_told_once_however_many_tensors_it_is_about() -> None:
    _, losses = write(config(W8A8 + "*: round=half_up\n"))
    assert kinds(losses).count("ROUNDING") == 1
    assert "`round=half_up` of *" in next(loss.message for loss in losses if loss.kind is LossKind.ROUNDING)


def test_switches_of_other_tools_are_lost_if_they_are_on() -> None:
    found = config(W8A8)
    span = found.rules[0].span
    others = (Option("include_cle", True, span), Option("include_bias_corr", False, span))
    _, losses = write(replace(found, options=others))
    assert [loss.message for loss in losses if loss.kind is LossKind.OPTION] == [
        "ONNX Runtime has no counterpart of the option `include_cle`, which is dropped"
    ]


def test_bits_that_nobody_says_are_8_and_said_to_be() -> None:
    document, losses = write(config("dialect onnx\n*[output, weight]: on\n"))
    assert document["activation_type"] == "QUInt8"
    assert kinds(losses).count("DEFAULTED") == 2


def test_nothing_to_quantize_is_no_empty_list() -> None:
    for graph in (None, GRAPH):
        document, _ = write(config("dialect onnx\n*: off\n"), graph)
        assert document["op_types_to_quantize"] == ["QuantizeLinear"]  # an empty list means every type
    assert said(read(document)[0])["*"]["output"]["enabled"] is False


def test_weights_that_it_refuses_beside_signed_activations_get_their_sign() -> None:
    both = "*[input, output]: signed symmetric\n*[weight]: unsigned asymmetric\n"
    document, losses = write(config(W8A8 + both))
    assert (document["activation_type"], document["weight_type"]) == ("QInt8", "QInt8")
    assert document["extra_options"]["WeightSymmetric"] is False
    assert "SIGNEDNESS" not in kinds(losses)


def test_names_are_excluded_or_chosen() -> None:
    document, losses = write(config(W8A8 + '"a": off\n~"b[*]": off\n'))
    assert document["nodes_to_exclude"] == ["a", "b*"]
    document, losses = write(config('dialect onnx\n*: off bits=8\n"a"[input, output, weight]: on\n'))
    assert (document["nodes_to_quantize"], document["op_types_to_quantize"], losses) == (["a"], None, [])


def test_options_of_its_own_are_kept() -> None:
    value: dict[str, Any] = {
        "op_types_to_quantize": ["MatMul"],
        "quant_format": "QDQ",
        "extra_options": {
            "DedicatedQDQPair": True,
            "SmoothQuantAlpha": 0.7,
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 0},
        },
    }
    document, losses = write(read(value)[0])
    assert losses == []
    assert document["quant_format"] == "QDQ"
    assert value["extra_options"].items() <= document["extra_options"].items()


types = st.sampled_from(["QInt8", "QUInt8", "QInt16", "QUInt16", "QInt4", "QUInt4"])

names = st.lists(st.sampled_from(["/a/Conv", "b", "c*", "d e"]), unique=True)

operators = st.lists(st.sampled_from(["Conv", "Gemm", "Relu", "Softmax", "Reshape", "Sub"]), unique=True)

documents = st.fixed_dictionaries(
    {},
    optional={
        "activation_type": types,
        "weight_type": types,
        "op_types_to_quantize": operators,
        "nodes_to_exclude": names,
        "per_channel": st.booleans(),
        "calibrate_method": st.sampled_from(["MinMax", "Entropy", "Percentile"]),
        "extra_options": st.fixed_dictionaries(
            {},
            optional={
                "ActivationSymmetric": st.booleans(),
                "WeightSymmetric": st.booleans(),
                "QuantizeBias": st.booleans(),
                "CalibPercentile": st.floats(50, 100),
                "AddQDQPairToWeight": st.booleans(),
            },
        ),
    },
).filter(lambda d: (d.get("activation_type", "QInt8"), d.get("weight_type", "QInt8")) != ("QInt8", "QUInt8"))


@given(documents)
def test_what_is_read_is_written_again(value: dict[str, Any]) -> None:
    found, findings = read(value)
    assume(any(level.roles and show(level.selector) != "*" for level in levels(found)))
    document, losses = write(found)
    again, more = read(document)
    assert (findings, more, losses) == ([], [], [])
    assert said(again) == said(found)
    assert [(o.name, o.value) for o in again.options] == [(o.name, o.value) for o in found.options]
