"""Recipes of LiteRT's quantizer, written, and there and back."""

from __future__ import annotations

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
from tests.unit.foreign_files import meaning, read, written
from tests.unit.foreign_rules import configs
from tests.unit.litert_recipes import ACT, ACT16, WEIGHT, dynamic, entry_of, static, unquantized
from tests.unit.plans import SHARED, graph_of

_FILES = SHARED / "configs" / "others" / "ai_edge_quantizer"


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
    assert config["activation_tensor_config"] == ACT
    assert config["weight_tensor_config"] == WEIGHT


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
    assert modes["^c;", "*"]["weight_tensor_config"] == {**WEIGHT, "num_bits": 4}
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
        static(),
        static(activation_tensor_config=ACT16),
        static(activation_tensor_config={**ACT, "symmetric": True}),
        static(weight_tensor_config={**WEIGHT, "num_bits": 4}),
        static(weight_tensor_config={**WEIGHT, "granularity": "TENSORWISE"}),
        dynamic(),
        dynamic(weight_tensor_config={**WEIGHT, "num_bits": 4}),
        dynamic(weight_tensor_config={**WEIGHT, "num_bits": 4, "granularity": "BLOCKWISE_32"}),
        entry_of(explicit_dequantize=True),
        entry_of(explicit_dequantize=True, weight_tensor_config={**WEIGHT, "symmetric": False}),
        entry_of(algorithm="MSE", explicit_dequantize=True),
        entry_of(algorithm="OCTAV", compute_precision="INTEGER"),
        entry_of(
            algorithm=litert.CASTING, explicit_dequantize=True, weight_tensor_config={"num_bits": 16, "dtype": "FLOAT"}
        ),
        unquantized("*"),
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
