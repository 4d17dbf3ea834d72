"""Settings of ONNX Runtime's quantizer: read with everything lost reported, written so that it takes and means them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnxruntime.quantization import quantize_static
from qsimc_onnx.graph import read_graph

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.dialects.neutral import neutral
from qsimc.formats.foreign import ort
from qsimc.formats.foreign._ort.marks import activations, marked
from qsimc.formats.foreign._ort.words import ort_words
from qsimc.formats.qsim import read as read_qsim
from qsimc.graph import Graph
from qsimc.ir.config import Config, Option
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import show
from qsimc.pipeline.translate import translated
from qsimc.source import Source
from qsimc.syntax.json import parse
from tests.conformance.formats import ort as oracle
from tests.unit.plans import SHARED

ROOT = Path(__file__).parents[2]
MODEL = oracle.model()
GRAPH: Graph = read_graph(MODEL)

W8A8 = """
dialect onnx
*: off type=int bits=8 unsigned asymmetric per_tensor calib=minmax
*[input, output]: on
*[weight]: on signed symmetric
"""


def read(value: Any, graph: Graph | None = None) -> tuple[Config, list[Diagnostic]]:
    source = Source("ort.json", json.dumps(value))
    findings: list[Diagnostic] = []
    document = parse(source, findings.append)
    assert document is not None
    if graph is not None:
        return ort.read_on(source, document, findings.append, graph), findings
    return ort.read(source, document, findings.append), findings


def write(config: Config, graph: Graph | None = None) -> tuple[dict[str, Any], list[Loss]]:
    losses: list[Loss] = []
    text = ort.write(config, losses.append, graph)
    assert text.endswith("}\n")
    assert text == ort.write(config, lambda _: None, graph)
    return json.loads(text), losses


def config(text: str) -> Config:
    findings: list[Diagnostic] = []
    found = read_qsim(Source("c.qsim", text), findings.append)
    assert findings == []
    assert found is not None
    return found


def said(found: Config) -> Mapping[str, Any]:
    """Return the values of every level: selector -> role -> field."""
    return {
        show(level.selector): {role: {f: s.value for f, s in fields.items()} for role, fields in level.said.items()}
        for level in levels(found)
    }


def kinds(losses: list[Loss]) -> list[str]:
    return [loss.kind.name for loss in losses]


def quantized(document: dict[str, Any], tmp_path: Path) -> onnx.ModelProto:
    """Return the model as ONNX Runtime quantizes it with a document; it must run."""
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    onnx.save(MODEL, source)
    quantize_static(source, target, oracle.Reader(), **oracle.settings(document))
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, oracle.Reader().get_next())
    assert np.isfinite(result).all()
    return onnx.load(target)


def grids(model: onnx.ModelProto) -> dict[str, tuple[str, float, int]]:
    """Return type, scale and zero point of each quantized tensor, of the first channel."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            tensor = node.input[0].removesuffix("_QuantizeLinear_Output").removesuffix("_quantized")
            scale, zero = values[node.input[1]], values[node.input[2]]
            found[tensor] = (str(zero.dtype), float(scale.ravel()[0]), int(zero.ravel()[0]))
    return found


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_arguments_become_rules() -> None:
    found, findings = read(
        {
            "activation_type": "QUInt16",
            "weight_type": "QInt4",
            "op_types_to_quantize": ["Conv", "Softmax"],
            "nodes_to_exclude": ["conv2"],
            "per_channel": True,
            "calibrate_method": "Percentile",
            "extra_options": {"CalibPercentile": 99.9, "OpTypesToExcludeOutputQuantization": ["Conv"]},
        }
    )
    assert findings == []
    rules = said(found)
    assert rules["*"]["output"] == {
        "enabled": False, "type": "int", "bits": 16, "signed": False, "symmetric": False,
        "calib": "percentile", "percentile": 99.9,
    }  # fmt: skip
    assert rules["Conv"]["weight"]["enabled"] is True
    assert rules["Conv"]["weight"]["per_channel"] is True
    assert (rules["Conv"]["weight"]["bits"], rules["Conv"]["weight"]["symmetric"]) == (4, True)
    assert (rules["Conv"]["bias"]["enabled"], rules["Conv"]["bias"]["bits"]) == (True, 32)
    assert (rules["Conv"]["input"]["enabled"], rules["Conv"]["output"]["enabled"]) == (True, False)
    assert rules["Softmax"]["output"]["range"] == (0, 1)
    assert not any(fields["enabled"] for fields in rules['"conv2"'].values())


def test_a_setting_stands_at_its_value() -> None:
    found, _ = read({"activation_type": "QUInt8", "op_types_to_quantize": ["Conv"]})
    general = levels(found)[0]
    bits = general.own["output"]["bits"]
    assert (bits.span.text, bits.pointer) == ('"QUInt8"', "/activation_type")
    on = next(level for level in levels(found) if show(level.selector) == "Conv").own["output"]["enabled"]
    assert (on.span.text, on.pointer) == ('"Conv"', "/op_types_to_quantize")


def test_what_is_left_out_is_what_the_quantizer_takes() -> None:
    found, findings = read({"per_channel": False})
    assert findings == []
    rules = said(found)
    assert {name for name in rules if name != "*"} == set(ort_words().default_operators)
    assert (rules["Conv"]["output"]["signed"], rules["Conv"]["output"]["symmetric"]) == (True, False)
    assert rules["Conv"]["weight"]["symmetric"] is True
    # A Reshape has nothing to quantize: its output is its input.
    assert rules["Reshape"]["output"]["enabled"] is False


def test_a_neutral_config_keeps_the_signs() -> None:
    found, _ = read({"activation_type": "QInt8", "weight_type": "QInt8", "op_types_to_quantize": ["Conv"]})
    rules = said(neutral(found, lambda _: None))
    assert rules["Conv"]["output"]["signed"] is True
    assert rules["Conv"]["output"]["symmetric"] is False


def test_a_relu_is_part_of_what_is_before_it_unless_activations_are_symmetric() -> None:
    types = {"op_types_to_quantize": ["Conv", "Relu"]}
    assert len(read(types)[0].fusions) == 1
    assert read({**types, "extra_options": {"ActivationSymmetric": True}})[0].fusions == ()
    assert read({**types, "extra_options": {"QDQKeepRemovableActivations": True}})[0].fusions == ()


def test_nodes_are_taken_by_name() -> None:
    rules = said(read({"nodes_to_quantize": ["a", "b*"]})[0])
    assert set(rules) == {"*", '"a"', '"b*"'}
    assert rules['"a"']["output"]["enabled"] is True


@pytest.mark.parametrize(
    ("value", "code", "severity"),
    [
        ([], "Q0203", "error"),
        ({"per_chanel": True}, "Q0201", "error"),  # quantize_static() got an unexpected keyword argument
        ({"extra_options": {"ActivationSymetric": True}}, "Q0755", "warning"),  # ignored in silence
        ({"extra_options": []}, "Q0203", "error"),
        ({"activation_type": "uint8"}, "Q0202", "error"),
        ({"activation_type": "QInt8", "weight_type": "QUInt8"}, "Q0202", "error"),
        ({"activation_type": "QFLOAT8E4M3FN"}, "Q0202", "error"),
        ({"calibrate_method": "minmax"}, "Q0202", "error"),
        ({"calibrate_method": "Distribution"}, "Q0743", "warning"),
        ({"per_channel": "True"}, "Q0202", "error"),
        ({"nodes_to_exclude": "conv"}, "Q0203", "error"),
        ({"nodes_to_exclude": [1]}, "Q0203", "error"),
        ({"reduce_range": True}, "Q0756", "warning"),
        ({"nodes_to_quantize": ["a"], "op_types_to_quantize": ["Conv"]}, "Q0748", "warning"),
        ({"extra_options": {"CalibMovingAverage": True}}, "Q0742", "warning"),
        ({"extra_options": {"BlockSize": 32}}, "Q0758", "warning"),
        ({"extra_options": {"CalibPercentile": 101}}, "Q0202", "error"),
        ({"extra_options": {"TensorQuantOverrides": {"x": [{"quant_type": "QInt8"}]}}}, "Q0748", "warning"),
    ],
)
def test_what_is_wrong_or_lost_is_reported(value: Any, code: str, severity: str) -> None:
    _, findings = read(value)
    assert [(f.code, f.severity) for f in findings] == [(code, severity)]
    assert findings[0].labels


@pytest.mark.parametrize(
    "override",
    [
        {"x": {}},
        {"x": [1]},
        {"x": [{"scale": 0.1}]},
        {"x": [{"scale": 0.1, "zero_point": 0, "symmetric": True}]},
        {"x": [{"scale": 0.1, "zero_point": 300, "quant_type": "QUInt8"}]},
        {"x": [{"scale": -0.1, "zero_point": 0}]},
        {"x": [{"rmin": 1.0, "rmax": 0.0}]},
        {"x": [{"quant_type": "int8"}]},
        {"x": [{"quant_type": "QInt8", "convert": {"quant_type": "QInt8"}}]},
        {"x": [{"convert": {"symmetric": True}}]},
        {"x": [{"convert": {"quant_type": "QInt8", "reduce_range": True}}]},
        {"w": [{"axis": 0, "rmin": 0.0}]},
        {"w": [{"quant_type": "QInt8"}, {}]},
        {"w": [{"axis": 0, "symmetric": True}, {"symmetric": False}]},
        {"w": [{"axis": 0, "scale": 0.1, "zero_point": 0}, {}]},
        {"w": [{"axis": 0, "convert": {"quant_type": "QInt8"}}]},
    ],
)
def test_every_override_is_checked_not_only_the_first(override: dict[str, Any]) -> None:
    sound = {"first": [{"quant_type": "QUInt16"}]}
    _, findings = read({"extra_options": {"TensorQuantOverrides": sound | override}})
    wrong = [f for f in findings if f.severity is Severity.ERROR]
    assert {f.code for f in wrong} <= {"Q0202", "Q0203"}
    assert wrong


def test_an_unknown_key_of_an_override_is_ignored_as_the_quantizer_ignores_it() -> None:
    _, findings = read({"extra_options": {"TensorQuantOverrides": {"x": [{"quant_typ": "QInt8"}]}}})
    assert {f.code for f in findings} == {"Q0755", "Q0748"}
    assert any("did you mean `quant_type`?" in f.helps for f in findings)


def test_overrides_alone_are_recognised_and_lost() -> None:
    value = {"x": [{"scale": 0.02, "zero_point": 143}], "w": [{"axis": 0, "scale": 0.1, "zero_point": 0}]}
    document = parse(Source("o.json", json.dumps(value)), lambda _: None)
    assert document is not None
    assert ort.recognises(document)
    found, findings = read(value)
    assert (found.rules, [f.code for f in findings]) == ((), ["Q0748"])
    assert "`x`, `w`" in findings[0].message


def test_a_model_says_whose_tensors_overrides_are() -> None:
    overrides = {
        "x": [{"quant_type": "QUInt16"}],
        "s": [{"rmin": 0.0, "rmax": 1.0}],
        "c2": [{"quant_type": "QInt8", "scale": 0.5, "zero_point": 0}],
        "conv.w": [{"axis": 0, "quant_type": "QInt4"}],
        "conv.b": [{"quant_type": "QInt8", "symmetric": True}],
        "gemm.w": [{"axis": 0, "scale": 0.5, "zero_point": 0}],
    }
    found, findings = read({"extra_options": {"TensorQuantOverrides": overrides}}, GRAPH)
    rules = said(found)
    assert rules['"conv"']["input"]["bits"] == 16
    assert rules['"sigmoid"']["output"]["range"] == (0.0, 1.0)
    assert rules['"conv2"']["output"]["range"] == (-64.0, 63.5)
    assert (rules['"conv"']["weight"]["bits"], rules['"conv"']["weight"]["per_channel"]) == (4, True)
    assert (rules['"conv"']["bias"]["bits"], rules['"conv"']["bias"]["enabled"]) == (8, True)
    assert [(f.code, "`gemm.w`" in f.message) for f in findings] == [("Q0748", True)]


@pytest.mark.parametrize(
    ("value", "recognised"),
    [
        ({"activation_type": "QUInt8", "weight_type": "QInt8"}, True),
        ({"nodes_to_exclude": []}, True),
        ({"x": [{"scale": 1.0, "zero_point": 0}]}, True),
        ({"x": [{}]}, False),
        ({}, False),
        ([], False),
        ({"per_channel": True}, False),
        ({"version": "0.6.1", "activation_encodings": {"x": [{"scale": 1.0}]}}, False),
    ],
)
def test_a_document_is_known_by_its_content(value: Any, recognised: bool) -> None:
    document = parse(Source("f.json", json.dumps(value)), lambda _: None)
    assert document is not None
    assert ort.recognises(document) is recognised


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
words = ort_words()
overrides_like = st.dictionaries(
    st.sampled_from(["x", "conv.w", "c"]),
    st.lists(st.dictionaries(st.sampled_from([*words.override]), json_values | st.sampled_from([*words.types]))),
)
documents_like = st.fixed_dictionaries(
    {},
    optional={
        **{key: json_values | st.sampled_from([*words.types, *words.methods]) for key in words.arguments},
        "extra_options": json_values
        | st.dictionaries(st.sampled_from(words.extra_options), json_values | overrides_like | st.booleans()),
    },
)


@settings(max_examples=300)
@given(json_values | documents_like | overrides_like, st.booleans())
def test_no_json_is_a_bug_of_ours(value: Any, on_model: bool) -> None:
    source = Source("ort.json", json.dumps(value))
    findings: list[Diagnostic] = []
    document = parse(source, findings.append)
    if document is None:
        return
    ort.recognises(document)
    if on_model:
        found = ort.read_on(source, document, findings.append, GRAPH)
    else:
        found = ort.read(source, document, findings.append)
    if not any(f.severity is Severity.ERROR for f in findings):
        write(found)
        write(found, GRAPH)


# ── writing ──────────────────────────────────────────────────────────────────────────────────


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
    value = {
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
    assert value["extra_options"].items() <= document["extra_options"].items()  # type: ignore[attr-defined]


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


# ── on a model ───────────────────────────────────────────────────────────────────────────────


def test_types_are_those_of_the_model() -> None:
    document, losses = write(config(W8A8), GRAPH)
    assert document["op_types_to_quantize"] == sorted({node.op for node in GRAPH.nodes})
    assert kinds(losses) == ["MATERIALISED"]


@pytest.mark.parametrize(
    ("rules", "overrides"),
    [
        ("Sigmoid[output]: range=0..1", {"s": [{"rmin": 0.0, "rmax": 1.0}]}),
        ("Relu[output]: range=0..", {"r": [{"rmin": 0.0}]}),
        ("Add[output]: bits=16", {"a": [{"quant_type": "QUInt16"}]}),
        ("Add[output]: symmetric signed", {"a": [{"quant_type": "QInt8", "symmetric": True}]}),
        ("model[input]: bits=16", {"x": [{"quant_type": "QUInt16"}]}),
        ("model[output]: bits=16", {"y": [{"quant_type": "QUInt16"}]}),
        ("Gemm[weight]: per_channel", {"gemm.w": [{"axis": 0}]}),
        ("MatMul[weight]: per_channel", {"matmul.w": [{"axis": 1}]}),
        ('"conv2"[weight]: bits=4', {"conv2.w": [{"quant_type": "QInt4"}]}),
        ('~"conv?"[weight]: bits=4', {"conv2.w": [{"quant_type": "QInt4"}]}),
        ("Gemm[bias]: on bits=8 signed symmetric", {"gemm.b": [{"quant_type": "QInt8", "symmetric": True}]}),
        ("Softmax[output]: range=0..1", {}),  # by itself
    ],
)
def test_what_arguments_cannot_say_becomes_overrides(rules: str, overrides: dict[str, Any], tmp_path: Path) -> None:
    document, losses = write(config(W8A8 + rules + "\n"), GRAPH)
    assert document["extra_options"].get("TensorQuantOverrides", {}) == overrides
    named = [loss for loss in losses if loss.kind is LossKind.MATERIALISED and loss.tensors]
    assert {tensor for loss in named for tensor in loss.tensors} == set(overrides)
    assert not any(str(loss.kind.value[2]) == "warning" for loss in losses)
    found = grids(quantized(document, tmp_path))
    for tensor, (override,) in overrides.items():
        if "quant_type" in override:
            assert found[tensor][0].endswith(override["quant_type"].removeprefix("Q").removeprefix("U").lower())
        if "rmax" in override:
            assert found[tensor][1] == pytest.approx(override["rmax"] / 255)


def test_what_is_said_of_an_output_on_the_inputs_grid_is_lost() -> None:
    for rules, kind in (("bits=16", LossKind.DTYPE), ("range=0..1", LossKind.CONSTRAINT)):
        document, losses = write(config(W8A8 + f"MaxPool[output]: {rules}\n"), GRAPH)
        assert "TensorQuantOverrides" not in document["extra_options"]
        assert kind.name in kinds(losses)


def test_a_sign_alone_takes_no_override() -> None:
    document, losses = write(config(W8A8 + "Add[output]: signed asymmetric\n"), GRAPH)
    assert "TensorQuantOverrides" not in document["extra_options"]
    assert kinds(losses) == ["MATERIALISED"]


def test_channels_are_symmetric_unless_a_model_names_them(tmp_path: Path) -> None:
    channels = config(W8A8 + "*[weight]: per_channel asymmetric unsigned\n")
    assert "SYMMETRY" in kinds(write(channels)[1])
    document, losses = write(channels, GRAPH)
    assert document["extra_options"]["TensorQuantOverrides"]["gemm.w"] == [{"axis": 0, "symmetric": False}]
    assert "SYMMETRY" not in kinds(losses)
    quantized(document, tmp_path)


def test_weights_per_channel_but_one_type(tmp_path: Path) -> None:
    document, _ = write(config(W8A8 + "*[weight]: per_channel\nGemm[weight]: per_tensor\n"), GRAPH)
    assert document["per_channel"] is True
    assert document["extra_options"]["TensorQuantOverrides"] == {"gemm.w": [{"quant_type": "QInt8"}]}
    scales = {t.name: t.dims for t in quantized(document, tmp_path).graph.initializer if t.name.endswith("_scale")}
    assert (list(scales["conv.w_scale"]), list(scales["gemm.w_scale"])) == ([4], [])


def test_patterns_become_names_of_the_model() -> None:
    document, losses = write(config(W8A8 + '~"conv*": off\n'), GRAPH)
    assert document["nodes_to_exclude"] == []
    assert "Conv" not in document["op_types_to_quantize"]
    document, losses = write(config(W8A8 + '~"conv[2]": off\n'), GRAPH)
    assert document["nodes_to_exclude"] == ["conv2"]
    assert any(loss.tensors == ("conv2",) for loss in losses if loss.kind is LossKind.MATERIALISED)


def test_what_readers_quantize_all_the_same_is_said_with_its_tensors() -> None:
    placed = "*[input]: off\nmodel[input]: on\n"
    _, losses = write(config(W8A8 + placed + "Sigmoid[output]: off\n"), GRAPH)
    (loss,) = [loss for loss in losses if loss.kind is LossKind.PLACEMENT]
    assert (loss.tensors, loss.fields) == (("s",), ("enabled",))
    _, losses = write(config(W8A8 + placed + "Softmax[output]: off\n"), GRAPH)
    assert "PLACEMENT" not in kinds(losses)


def test_supergroups_hold_where_the_quantizer_removes_the_activation(tmp_path: Path) -> None:
    document, losses = write(config(W8A8 + "*[input]: off\nmodel[input]: on\nfuse Conv -> Relu\n"), GRAPH)
    assert "SUPERGROUP" not in kinds(losses)
    assert "c" not in grids(quantized(document, tmp_path))
    _, losses = write(config(W8A8 + "*[input]: off\nmodel[input]: on\nfuse Conv -> Sigmoid\n"), GRAPH)
    assert [loss.tensors for loss in losses if loss.kind is LossKind.SUPERGROUP] == [("c2",)]


rules = st.lists(
    st.sampled_from(
        [
            "Add[output]: bits=16", "Conv[weight]: per_channel", "Gemm[weight]: bits=4", "Sigmoid[output]: range=0..1",
            "Relu: off", "Conv: off", "Softmax[output]: off", '"conv2": off', '"conv2"[output]: bits=16',
            "*[bias]: on bits=32", "*[bias]: on bits=8", "Gemm[bias]: on", "*[input, output]: symmetric signed",
            "*[weight]: asymmetric unsigned", "*[input]: off", "*[output]: off", "MatMul[input]: off",
            "model[input]: bits=16", "model[output]: off", "fuse Conv -> Relu", "fuse Conv -> Sigmoid",
            "Flatten[output]: off", "*[output]: calib=percentile percentile=99.9", "*[output]: calib=entropy",
        ]
    ),
    max_size=5,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(rules, st.booleans())
def test_whatever_is_written_quantizes_a_model_that_runs(lines: list[str], on_model: bool) -> None:
    document, _ = write(config(W8A8 + "\n".join(lines) + "\n"), GRAPH if on_model else None)
    with tempfile.TemporaryDirectory() as folder:
        quantized(document, Path(folder))


@settings(max_examples=40, deadline=None)
@given(rules)
def test_the_marks_are_those_of_the_quantizer(lines: list[str]) -> None:
    document, _ = write(config(W8A8 + "\n".join(lines) + "\n"), GRAPH)
    chosen = {
        node.name
        for node in GRAPH.nodes
        if node.op in document["op_types_to_quantize"] and node.name not in document["nodes_to_exclude"]
    }
    extra = document["extra_options"]
    without = extra.get("OpTypesToExcludeOutputQuantization", [])
    mine = marked(GRAPH, chosen, without, symmetric=extra["ActivationSymmetric"])
    with tempfile.TemporaryDirectory() as folder:
        theirs = grids(quantized(document, Path(folder)))
    assert mine == {tensor for tensor in activations(GRAPH) if tensor in theirs}


# ── files of vendors ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["aimet-default", "htp-v73", "enpu-v7", "vitis-dpu", "vitis-gpu", "tflite-int8"])
@pytest.mark.parametrize("on_model", [False, True])
def test_built_in_configurations_are_accepted(name: str, on_model: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(MODEL, path)
    built_in = ROOT / "specs" / "targets" / f"{name}.qsim"
    text = translated(str(built_in), "ort", model=str(path) if on_model else None).text
    quantized(json.loads(text), tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the vendors' files are not here")
def test_every_known_file_is_read() -> None:
    paths = list((SHARED / "configs" / "others" / "ort_tensor_quant_overrides").glob("*.json"))
    for path in paths:
        found, findings = read(json.loads(path.read_text()))
        assert {f.code for f in findings} == {"Q0748"}
        assert said(read(write(found)[0])[0])
    assert paths
