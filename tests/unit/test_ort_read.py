"""Settings of ONNX Runtime's quantizer: read with everything lost reported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.dialects.neutral import neutral
from qsimc.formats.foreign import ort
from qsimc.formats.foreign._ort.words import ort_words
from qsimc.ir.levels import levels
from qsimc.ir.select import show
from qsimc.source import Source
from qsimc.syntax.json import parse
from tests.unit.ort_documents import GRAPH, read, said, write

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
