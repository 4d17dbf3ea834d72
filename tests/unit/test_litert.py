"""Recipes of LiteRT's quantizer, read and written."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc.formats.foreign import litert as format_
from qsimc.formats.foreign._litert import policy as litert
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import LossKind
from qsimc.ir.select import show
from tests.unit.foreign_files import ANY_JSON, codes, meaning, of, read, written
from tests.unit.foreign_rules import configs
from tests.unit.plans import SHARED, graph_of

_FILES = SHARED / "configs" / "others" / "ai_edge_quantizer"
_ACT = {"num_bits": 8, "symmetric": False, "granularity": "TENSORWISE", "dtype": "INT"}
_ACT16 = {"num_bits": 16, "symmetric": True}
_WEIGHT = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
_OFF = {"enabled": False}


def _entry(operation: str = "*", regex: str = ".*", algorithm: str = litert.MINMAX, **config: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"regex": regex, "operation": operation, "algorithm_key": algorithm}
    if algorithm != litert.NONE:
        entry["op_config"] = {"weight_tensor_config": _WEIGHT, **config}
    return entry


def _static(operation: str = "*", regex: str = ".*", **config: Any) -> dict[str, Any]:
    return _entry(operation, regex, **{"activation_tensor_config": _ACT, "compute_precision": "INTEGER", **config})


def _dynamic(operation: str = "*", **config: Any) -> dict[str, Any]:
    return _entry(operation, compute_precision="INTEGER", **config)


def _none(operation: str, regex: str = ".*") -> dict[str, Any]:
    return _entry(operation, regex, litert.NONE)


def _said(config: Config, selectors: Iterable[str]) -> object:
    """Return what holds at levels, with what they take over from that for everything."""
    found = {show(level.selector): level for level in levels(config)}
    said = {selector: found.get(selector, found["*"]).said for selector in selectors}
    return {
        selector: {role: {field: s.value for field, s in fields.items()} for role, fields in roles.items()}
        for selector, roles in said.items()
    }


def _same(one: Config, other: Config) -> bool:
    selectors = {*meaning(one), *meaning(other)}
    return _said(one, selectors) == _said(other, selectors)


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_static_entry_is_about_every_operator() -> None:
    config, found = read(format_, json.dumps([_static()]))
    assert not found
    expected = {"enabled": True, "dynamic": False, "type": "int", "bits": 8, "signed": True, "symmetric": False}
    expected |= {"narrow_range": False, "per_channel": False, "calib": "minmax"}
    assert of(config, "*", "input") == of(config, "*", "output") == expected
    assert of(config, "*", "weight")["per_channel"] is True
    assert of(config, "*", "bias") == {"enabled": True, "type": "int", "bits": 32, "signed": True, "symmetric": True}


def test_entry_without_activations_is_about_operators_with_weights() -> None:
    config, found = read(format_, json.dumps([_dynamic()]))
    assert not found
    assert of(config, "*", "weight") == of(config, "*", "input") == _OFF
    assert of(config, "Conv", "input") == {"enabled": True, "dynamic": True, "type": "int", "bits": 8}
    assert of(config, "Conv", "output") == _OFF
    assert "Relu" not in meaning(config)


def test_settings_stand_where_the_file_says_them() -> None:
    text = json.dumps([_none("RELU"), _static("CONV_2D")], indent=1)
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
    recipe = [_dynamic("FULLY_CONNECTED", weight_tensor_config={**_WEIGHT, **weight})]
    config, found = read(format_, json.dumps(recipe))
    assert not [d for d in found if d.code != LossKind.SELECTOR.value[0]]
    assert of(config, "Gemm", "weight")[field] == value


def test_last_entry_wins() -> None:
    config, found = read(format_, json.dumps([_static("RELU"), _none("RELU")]))
    assert of(config, "Relu", "output") == _OFF
    assert codes(found) == [LossKind.PRECEDENCE.value[0]]  # of the entry that does nothing


def test_entry_for_all_takes_the_place_of_those_before_it() -> None:
    config, found = read(format_, json.dumps([_none("RELU"), _static()]))
    assert list(meaning(config)) == ["*"]
    assert codes(found) == [LossKind.PRECEDENCE.value[0]]


def test_operators_that_the_tool_passes_over_stay_float() -> None:
    config, _ = read(format_, json.dumps([_static(activation_tensor_config=_ACT16)]))
    assert of(config, "HardSwish", "output") == _OFF
    assert "Relu" not in meaning(config)


def test_operations_that_are_one_operator_of_onnx_are_told_of() -> None:
    config, found = read(format_, json.dumps([_static(), _none("CONV_2D")]))
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
    config, found = read(format_, json.dumps([_static(), _none("*", regex)]))
    assert not found
    assert of(config, selector, "output") == _OFF


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (_none("*", "conv1$"), "matches nothing"),
        (_none("*", "(?=a)b"), "no pattern of names"),
        (_none("CONV_2D", "block.*"), "both names and an operator"),
        (_none("RSQRT"), "no operator of ONNX is RSQRT"),
    ],
)
def test_what_no_rule_selects_is_lost(entry: dict[str, Any], complaint: str) -> None:
    config, found = read(format_, json.dumps([_static(), entry]))
    assert [(d.code, complaint in d.message) for d in found] == [(LossKind.SELECTOR.value[0], True)]
    assert len(meaning(config)) == 1


def test_the_models_own_tensors_are_operations() -> None:
    unsigned = {**_ACT, "dtype": "UINT"}
    config, found = read(format_, json.dumps([_static("INPUT", activation_tensor_config=unsigned), _none("OUTPUT")]))
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
        ([_entry("CONV2D")], "Q0202", "`operation` cannot be `CONV2D`"),
        ([_entry("*", "(")], "Q0202", "no regular expression"),
        ([_entry("*", algorithm="gptq")], "Q0202", "`algorithm_key` cannot be `gptq`"),
        ([_entry(weight_tensor_config={})], "Q0202", "`num_bits` is missing"),
        ([_entry(weight_tensor_config={"num_bits": "8"})], "Q0203", "must be an integer"),
        ([_entry(weight_tensor_config={"num_bits": 8, "granularity": "ROWWISE"})], "Q0202", "`ROWWISE`"),
        ([_dynamic(compute="INTEGER")], "Q0201", "`compute`"),
        ([_static("EMBEDDING_LOOKUP")], "Q0202", "refuses this configuration of EMBEDDING_LOOKUP"),
        ([_dynamic("RELU")], "Q0202", "refuses this configuration of RELU"),
        ([_entry(activation_tensor_config=_ACT)], "Q0202", "`compute_precision` must be"),
    ],
)
def test_what_the_tool_refuses_is_an_error(recipe: object, code: str, complaint: str) -> None:
    _, found = read(format_, json.dumps(recipe))
    assert (code, True) in {(d.code, complaint in d.message) for d in found}


def test_what_the_tool_ignores_is_lost() -> None:
    weight = {**_WEIGHT, "algorithm_params": {"max_hadamard_size": 0}, "numbits": 8}
    _, found = read(format_, json.dumps([{**_dynamic(weight_tensor_config=weight, skip_checks=True), "note": ""}]))
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
    recipe = copy.deepcopy([_static(), _none("RELU"), _static("CONV_2D", "conv.*")])
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


# ── writing ──────────────────────────────────────────────────────────────────────────────────

_PLAIN = "*: on type=int bits=8 per_tensor calib=minmax\n*[weight]: symmetric\n*[bias]: bits=32\n*[act]: asymmetric\n"


def _modes(text: str) -> dict[tuple[str, str], Any]:
    return {(entry["regex"], entry["operation"]): entry.get("op_config") for entry in json.loads(text)}


@pytest.mark.parametrize(
    ("rules", "kind", "field"),
    [
        ("*[act]: bits=4", LossKind.DTYPE, "bits"),
        ("*[act]: bits=16", LossKind.SYMMETRY, "symmetric"),  # 16 bits are symmetric
        ("*[weight]: asymmetric", LossKind.SYMMETRY, "symmetric"),
        ("Conv[weight]: bits=3", LossKind.DTYPE, "bits"),
        ("*[output]: range=0..6", LossKind.CONSTRAINT, "range"),
        ("*[act]: per_channel", LossKind.GRANULARITY, "per_channel"),
        ("*: scale=pow2", LossKind.SCALE, "scale"),
        ("*: round=std", LossKind.ROUNDING, "round"),
        ("*[act]: calib=entropy", LossKind.ESTIMATOR, "calib"),
        ("*: reduce=modal", LossKind.STATISTIC, "reduce"),
        ("*[input]: off", LossKind.PLACEMENT, "enabled"),
        ("*[weight]: off", LossKind.PLACEMENT, "enabled"),
        ("*[bias]: off", LossKind.BIAS, "enabled"),
        ("*[bias]: bits=8", LossKind.BIAS, "bits"),
        ("*[weight]: full_range", LossKind.NARROW_RANGE, "narrow_range"),
        ("*[weight]: unsigned", LossKind.SIGNEDNESS, "signed"),
        ("*[act]: type=float16", LossKind.DTYPE, "type"),
        ("Gemm[weight]: per_group=64", LossKind.GRANULARITY, "per_group"),
        ("*[input]: dynamic", LossKind.DYNAMIC, "dynamic"),
        ("*: kernels=(int8/int8)", LossKind.CONSTRAINT, "kernels"),
        ("LayerNormalization[weight]: bits=16", LossKind.SELECTOR, "bits"),
        ("Flatten: off", LossKind.SELECTOR, "enabled"),  # RESHAPE is Reshape too
    ],
)
def test_what_a_recipe_cannot_say_is_one_loss(rules: str, kind: LossKind, field: str) -> None:
    text, losses = written(format_, _PLAIN + rules)
    found = [loss for loss in losses if field in loss.fields]
    assert [loss.kind for loss in found] == [kind]
    assert found[0].span is not None
    assert _accepted(text)


@pytest.mark.parametrize(
    "rules",
    [
        "*[act]: symmetric",
        "*[act]: bits=16 symmetric",
        "*[act]: unsigned",  # the same numbers, asymmetric as they are
        "*[weight]: per_channel narrow_range",
        "Conv[weight]: bits=4",
        "Softmax[output]: range=0..1",  # fixed by LiteRT itself
        "Cast: off",  # float in any case
        "Relu: off",
    ],
)
def test_what_a_recipe_can_say_is_no_loss(rules: str) -> None:
    expected = {LossKind.DTYPE} if "bits=4" in rules else {LossKind.PLACEMENT} if "bits=16" in rules else set()
    _, losses = written(format_, _PLAIN + rules)
    assert {loss.kind for loss in losses} == expected  # depthwise convolutions, and HardSwish, are not the same


def test_entries_are_whole() -> None:
    text, _ = written(format_, _PLAIN + "Conv[weight]: per_channel")
    config = _modes(text)[".*", "CONV_2D"]
    assert config["activation_tensor_config"] == _ACT
    assert config["weight_tensor_config"] == _WEIGHT


def test_one_entry_says_what_all_operations_with_weights_share() -> None:
    rules = "(Conv | ConvTranspose | Gemm | MatMul | Gather)[weight]: on bits=8 symmetric per_channel"
    text, losses = written(format_, f"*: off\n{rules}")
    assert not losses
    assert list(_modes(text)) == [(".*", "*")]


def test_blocks_of_weights_are_written() -> None:
    rules = "*: off\nGemm[input]: on dynamic bits=8\nGemm[weight]: on bits=4 symmetric per_group=32"
    text, losses = written(format_, rules)
    assert not losses
    weight = _modes(text)[".*", "FULLY_CONNECTED"]["weight_tensor_config"]
    assert weight == {"num_bits": 4, "symmetric": True, "granularity": "BLOCKWISE_32", "dtype": "INT"}


def test_float16_weights_are_cast() -> None:
    text, losses = written(format_, "*: off\nConv[weight]: on type=float16")
    assert not losses
    assert {entry["algorithm_key"] for entry in json.loads(text)} == {litert.NONE, litert.CASTING}


def test_globs_come_before_names() -> None:
    text, losses = written(format_, _PLAIN + '"a.b": off\n~"a*": off\n')
    assert [regex for regex, _ in _modes(text)] == [".*", "^a.*;", r"^a\.b;"]
    assert {loss.kind for loss in losses} == {LossKind.SELECTOR}  # of outputs, not of nodes


def test_rules_for_names_take_nothing_over() -> None:
    _, losses = written(format_, _PLAIN + 'Conv[weight]: bits=4\n"a"[output]: off\n')
    assert LossKind.PRECEDENCE in {loss.kind for loss in losses}


def _graph() -> Graph:
    return graph_of(
        """g (float[1,3,8,8] x, float[3,3,1,1] w) => (float[1,3,8,8] y) {
             [n1] c = Conv(x, w)
             [n2] r = Relu(c)
             [n3] y = Conv(r, w)
           }"""
    )


def test_nodes_of_a_model_are_called_by_their_outputs() -> None:
    rules = _PLAIN + 'Conv[weight]: per_channel\n"n1"[weight]: bits=4\nConv -> Relu: off\n'
    text, losses = written(format_, rules, _graph())
    modes = _modes(text)
    assert modes["^c;", "*"]["weight_tensor_config"] == {**_WEIGHT, "num_bits": 4}
    assert modes["^r;", "*"] is None
    assert [loss.tensors for loss in losses if loss.kind is LossKind.MATERIALISED] == [("r",), ("c",)]


def test_names_that_no_node_has_are_lost() -> None:
    _, losses = written(format_, _PLAIN + '"elsewhere": off', _graph())
    assert [loss.kind for loss in losses] == [LossKind.SELECTOR]


def test_fusions_and_restrictions_are_lost() -> None:
    _, losses = written(format_, _PLAIN + 'fuse Conv -> Relu\nrequire Conv: bits <= 8 "b"\n')
    assert [loss.kind for loss in losses] == [LossKind.SUPERGROUP, LossKind.RESTRICTION]


def _accepted(text: str) -> bool:
    """Say whether the quantizer takes each entry: those for one operation as they are, those for all somewhere."""
    config, found = read(format_, text)
    assert config.format == "litert"
    return not [d for d in found if d.code.startswith("Q02") or "does nothing" in d.message]


@settings(max_examples=30)
@given(configs())
def test_whatever_is_written_is_accepted(config: Config) -> None:
    text, _ = written(format_, config)
    assert _accepted(text)
    assert text.endswith("]\n")


# ── there and back ───────────────────────────────────────────────────────────────────────────

_MODES = st.sampled_from(
    [
        _static(),
        _static(activation_tensor_config=_ACT16),
        _static(activation_tensor_config={**_ACT, "symmetric": True}),
        _static(weight_tensor_config={**_WEIGHT, "num_bits": 4}),
        _static(weight_tensor_config={**_WEIGHT, "granularity": "TENSORWISE"}),
        _dynamic(),
        _dynamic(weight_tensor_config={**_WEIGHT, "num_bits": 4}),
        _dynamic(weight_tensor_config={**_WEIGHT, "num_bits": 4, "granularity": "BLOCKWISE_32"}),
        _entry(explicit_dequantize=True),
        _entry(explicit_dequantize=True, weight_tensor_config={**_WEIGHT, "symmetric": False}),
        _entry(algorithm="MSE", explicit_dequantize=True),
        _entry(algorithm="OCTAV", compute_precision="INTEGER"),
        _entry(
            algorithm=litert.CASTING, explicit_dequantize=True, weight_tensor_config={"num_bits": 16, "dtype": "FLOAT"}
        ),
        _none("*"),
    ]
)
_OPERATIONS = st.sampled_from(["*", *litert.policy().operations])
_REGEXES = st.sampled_from([".*", ".*", ".*", "^conv1;", "^block/.*;", "head"])


@given(
    st.lists(st.builds(lambda e, o, r: {**e, "operation": o, "regex": r}, _MODES, _OPERATIONS, _REGEXES), max_size=6)
)
def test_a_recipe_comes_back(recipe: list[dict[str, Any]]) -> None:
    once, _ = read(format_, json.dumps(recipe))
    text, _ = written(format_, once)
    again, _ = read(format_, text)
    assert _same(again, once)


@pytest.mark.skipif(not _FILES.is_dir(), reason="the tool's own recipes are not here")
def test_the_tools_own_recipes_come_back() -> None:
    recipes = sorted(_FILES.glob("*_recipe.json"))
    assert recipes
    for path in recipes:
        once, _ = read(format_, path.read_text(encoding="utf-8"))
        text, losses = written(format_, once)
        again, _ = read(format_, text)
        assert not losses
        assert _same(again, once)


def test_operations_are_those_of_the_policy() -> None:
    known = set(litert.policy().operations)
    words = {word for operator in ("Conv", "Gather", "Resize") for word in litert.words_of(operator)}
    assert words <= known
    assert set(litert.policy().weighted) <= known
