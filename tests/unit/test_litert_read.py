"""Recipes of LiteRT's quantizer, read."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc.formats.foreign import litert as format_
from qsimc.ir.loss import LossKind
from qsimc.ir.select import show
from tests.unit.foreign_files import ANY_JSON, codes, meaning, of, read, written
from tests.unit.litert_recipes import ACT, ACT16, WEIGHT, dynamic, entry_of, static, unquantized

_OFF = {"enabled": False}


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_static_entry_is_about_every_operator() -> None:
    config, found = read(format_, json.dumps([static()]))
    assert not found
    expected = {"enabled": True, "dynamic": False, "type": "int", "bits": 8, "signed": True, "symmetric": False}
    expected |= {"narrow_range": False, "per_channel": False, "calib": "minmax"}
    assert of(config, "*", "input") == of(config, "*", "output") == expected
    assert of(config, "*", "weight")["per_channel"] is True
    assert of(config, "*", "bias") == {"enabled": True, "type": "int", "bits": 32, "signed": True, "symmetric": True}


def test_entry_without_activations_is_about_operators_with_weights() -> None:
    config, found = read(format_, json.dumps([dynamic()]))
    assert not found
    assert of(config, "*", "weight") == of(config, "*", "input") == _OFF
    assert of(config, "Conv", "input") == {"enabled": True, "dynamic": True, "type": "int", "bits": 8}
    assert of(config, "Conv", "output") == _OFF
    assert "Relu" not in meaning(config)


def test_settings_stand_where_the_file_says_them() -> None:
    text = json.dumps([unquantized("RELU"), static("CONV_2D")], indent=1)
    config, _ = read(format_, text)
    rule = next(rule for rule in config.rules if show(rule.selector) == "Conv")
    said = {(clause.roles, s.field): s for clause in rule.clauses for s in clause.settings}
    bits = said[("weight",), "bits"]
    assert (bits.span.text, bits.pointer) == ("8", "/1/op_config/weight_tensor_config/num_bits")
    assert rule.subject is not None
    assert rule.subject.text == '"CONV_2D"'


@pytest.mark.parametrize(
    ("weight", "field", "value"),
    [
        ({"granularity": "TENSORWISE"}, "per_channel", False),
        ({"num_bits": 4}, "bits", 4),
        ({"num_bits": 4, "granularity": "BLOCKWISE_64"}, "per_group", 64),
        ({"num_bits": 4, "block_size": 128}, "per_group", 128),  # as older recipes say it
        ({"num_bits": 4}, "narrow_range", False),
        ({"num_bits": 8}, "narrow_range", True),
    ],
)
def test_weights_are_read(weight: dict[str, Any], field: str, value: object) -> None:
    recipe = [dynamic("FULLY_CONNECTED", weight_tensor_config={**WEIGHT, **weight})]
    config, found = read(format_, json.dumps(recipe))
    assert not [d for d in found if d.code != LossKind.SELECTOR.value[0]]
    assert of(config, "Gemm", "weight")[field] == value


def test_last_entry_wins() -> None:
    config, found = read(format_, json.dumps([static("RELU"), unquantized("RELU")]))
    assert of(config, "Relu", "output") == _OFF
    assert codes(found) == [LossKind.PRECEDENCE.value[0]]  # of the entry that does nothing


def test_entry_for_all_takes_the_place_of_those_before_it() -> None:
    config, found = read(format_, json.dumps([unquantized("RELU"), static()]))
    assert list(meaning(config)) == ["*"]
    assert codes(found) == [LossKind.PRECEDENCE.value[0]]


def test_operators_that_the_tool_passes_over_stay_float() -> None:
    config, _ = read(format_, json.dumps([static(activation_tensor_config=ACT16)]))
    assert of(config, "HardSwish", "output") == _OFF
    assert "Relu" not in meaning(config)


def test_operations_that_are_one_operator_of_onnx_are_told_of() -> None:
    config, found = read(format_, json.dumps([static(), unquantized("CONV_2D")]))
    assert of(config, "Conv", "output") == _OFF
    assert ["Conv is DEPTHWISE_CONV_2D too" in d.message for d in found] == [True]


@pytest.mark.parametrize(
    ("regex", "selector"),
    [
        ("^conv1;$", '"conv1"'),
        ("^conv1;", '"conv1"'),
        ("conv", '~"*conv*"'),
        ("^layer1/.*/conv;", '~"layer1/*/conv"'),
        ("^(a|b);", '"a"'),
    ],
)
def test_regular_expressions_become_names(regex: str, selector: str) -> None:
    config, found = read(format_, json.dumps([static(), unquantized("*", regex)]))
    assert not found
    assert of(config, selector, "output") == _OFF


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (unquantized("*", "conv1$"), "matches nothing"),
        (unquantized("*", "(?=a)b"), "no pattern of names"),
        (unquantized("CONV_2D", "block.*"), "both names and an operator"),
        (unquantized("RSQRT"), "no operator of ONNX is RSQRT"),
    ],
)
def test_what_no_rule_selects_is_lost(entry: dict[str, Any], complaint: str) -> None:
    config, found = read(format_, json.dumps([static(), entry]))
    assert [(d.code, complaint in d.message) for d in found] == [(LossKind.SELECTOR.value[0], True)]
    assert len(meaning(config)) == 1


def test_the_models_own_tensors_are_operations() -> None:
    unsigned = {**ACT, "dtype": "UINT"}
    config, found = read(
        format_, json.dumps([static("INPUT", activation_tensor_config=unsigned), unquantized("OUTPUT")])
    )
    assert not found
    first, second = config.rules
    assert (show(first.selector), first.clauses[0].roles) == ("model", ("input",))
    assert {s.field: s.value for s in first.clauses[0].settings}["signed"] is False
    assert [(s.field, s.value) for s in second.clauses[0].settings] == [("enabled", False)]


@pytest.mark.parametrize(
    ("recipe", "code", "complaint"),
    [
        ({"a": 1}, "Q0203", "an array of entries"),
        ([1], "Q0203", "must be an object"),
        ([{}], "Q0202", "needs `regex`"),
        ([entry_of("CONV2D")], "Q0202", "`operation` cannot be `CONV2D`"),
        ([entry_of("*", "(")], "Q0202", "no regular expression"),
        ([entry_of("*", algorithm="gptq")], "Q0202", "`algorithm_key` cannot be `gptq`"),
        ([entry_of(weight_tensor_config={})], "Q0202", "`num_bits` is missing"),
        ([entry_of(weight_tensor_config={"num_bits": "8"})], "Q0203", "must be an integer"),
        ([entry_of(weight_tensor_config={"num_bits": 8, "granularity": "ROWWISE"})], "Q0202", "`ROWWISE`"),
        ([dynamic(compute="INTEGER")], "Q0201", "`compute`"),
        ([static("EMBEDDING_LOOKUP")], "Q0202", "refuses this configuration of EMBEDDING_LOOKUP"),
        ([dynamic("RELU")], "Q0202", "refuses this configuration of RELU"),
        ([entry_of(activation_tensor_config=ACT)], "Q0202", "`compute_precision` must be"),
    ],
)
def test_what_the_tool_refuses_is_an_error(recipe: object, code: str, complaint: str) -> None:
    _, found = read(format_, json.dumps(recipe))
    assert (code, True) in {(d.code, complaint in d.message) for d in found}


def test_what_the_tool_ignores_is_lost() -> None:
    weight = {**WEIGHT, "algorithm_params": {"max_hadamard_size": 0}, "numbits": 8}
    _, found = read(format_, json.dumps([{**dynamic(weight_tensor_config=weight, skip_checks=True), "note": ""}]))
    assert {d.code for d in found} == {LossKind.DROPPED.value[0], LossKind.OPTION.value[0]}
    assert len(found) == 4


@pytest.mark.parametrize("document", [{"configs": {}, "ops_per_config": {}}, {"default": "dynamic_wi8_recipe.json"}])
def test_files_beside_recipes_are_named(document: object) -> None:
    config, found = read(format_, json.dumps(document))
    assert codes(found) == ["Q0202"]
    assert not config.rules


@given(ANY_JSON)
def test_any_json_is_read(document: object) -> None:
    read(format_, json.dumps(document))


@settings(max_examples=40)
@given(st.data())
def test_any_change_of_a_recipe_is_read(data: st.DataObject) -> None:
    recipe = copy.deepcopy([static(), unquantized("RELU"), static("CONV_2D", "conv.*")])
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = recipe
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                place[key] = data.draw(ANY_JSON)
                break
            place = place[key]
    config, _ = read(format_, json.dumps(recipe))
    written(format_, config)
