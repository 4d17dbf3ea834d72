"""compressed-tensors, read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.formats.foreign import compressed_tensors as format_
from qsimc.graph import Graph, Node, Origin, Tensor
from qsimc.ir.loss import LossKind
from tests.unit.foreign_files import ANY_JSON, codes, meaning, of, read, written
from tests.unit.plans import SHARED

_FILES = SHARED / "configs" / "others" / "compressed_tensors"
_OFF = {"enabled": False}
_LINEAR = "Gemm"


def _file(**keys: Any) -> str:
    return json.dumps({"quant_method": "compressed-tensors", "config_groups": {}, **keys}, indent=1)


def _group(targets: list[str], **parts: Any) -> dict[str, Any]:
    return {"targets": targets, **parts}


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_group_is_read_in_full() -> None:
    weights = {"num_bits": 4, "symmetric": False, "group_size": 64, "observer": "mse"}
    config, found = read(format_, _file(config_groups={"group_0": _group(["Linear"], weights=weights)}))
    assert not found
    assert of(config, "*", "weight") == _OFF
    assert of(config, "MatMul", "input") == _OFF
    assert of(config, _LINEAR, "weight") == {
        "enabled": True,
        "type": "int",
        "bits": 4,
        "symmetric": False,
        "per_group": 64,
        "dynamic": False,
        "calib": "mse",
        "scale": "float",
    }


def test_settings_stand_where_the_file_says_them() -> None:
    text = _file(config_groups={"a/b": _group(["Linear"], weights={"num_bits": 4})})
    config, _ = read(format_, text)
    said = {s.field: s for rule in config.rules for clause in rule.clauses for s in clause.settings}
    assert said["bits"].span.text == "4"
    assert said["bits"].pointer == "/config_groups/a~1b/weights/num_bits"
    assert said["symmetric"].pointer == "/config_groups/a~1b/weights"  # the tool's default


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, {"type": "int", "bits": 8, "symmetric": True, "per_channel": False}),
        ({"strategy": "channel"}, {"per_channel": True}),
        ({"group_size": -1}, {"per_channel": True}),
        ({"type": "float"}, {"type": "float8_e4m3"}),
        ({"type": "FLOAT", "num_bits": 4, "group_size": 32, "scale_dtype": "torch.uint8"}, {"scale": "e8m0"}),
        ({"observer": "memoryless_mse"}, {"calib": "mse"}),
    ],
)
def test_arguments_of_weights(args: dict[str, Any], said: dict[str, Any]) -> None:
    config, found = read(format_, _file(config_groups={"g": _group(["Linear"], weights=args)}))
    assert not found
    assert said.items() <= of(config, _LINEAR, "weight").items()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"type": "float", "num_bits": 6}, "Q0756"),
        ({"strategy": "block", "block_structure": [128, 64]}, "Q0758"),
        ({"type": "float", "num_bits": 4, "strategy": "tensor_group", "group_size": 16}, "Q0741"),
        ({"scale_dtype": "torch.bfloat16"}, "Q0741"),
        ({"actorder": "weight"}, "Q0755"),
        ({"observer": "entropie"}, "Q0743"),
        ({"observer_kwargs": {"a": 1}}, "Q0743"),
    ],
)
def test_what_has_no_word_is_lost(args: dict[str, Any], code: str) -> None:
    _, found = read(format_, _file(config_groups={"g": _group(["Linear"], weights=args)}))
    assert codes(found) == [code]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"num_bit": 4}, "Q0201"),
        ({"num_bits": "four"}, "Q0202"),
        ({"num_bits": 1}, "Q0202"),
        ({"type": "float", "num_bits": 16}, "Q0202"),
        ({"type": "integer"}, "Q0202"),
        ({"strategy": "group"}, "Q0202"),
        ({"strategy": "token"}, "Q0202"),
        ({"group_size": -2}, "Q0202"),
        ({"group_size": 64, "strategy": "channel"}, "Q0202"),
        ({"strategy": "channel", "dynamic": True}, "Q0202"),
        ({"block_structure": [1, 2]}, "Q0202"),
        ({"actorder": "group"}, "Q0202"),
        ({"symmetric": "yes"}, "Q0202"),
    ],
)
def test_what_the_tool_refuses_is_an_error(args: dict[str, Any], code: str) -> None:
    _, found = read(format_, _file(config_groups={"g": _group(["Linear"], weights=args)}))
    assert codes(found) == [code]


def test_misspelt_keys() -> None:
    text = _file(config_group={}, config_groups={"g": {"target": [], "targets": []}})
    _, found = read(format_, text)
    assert codes(found) == ["Q0201", "Q0755"]  # the top level is open, a group is not
    assert {help_ for d in found for help_ in d.helps} == {
        "did you mean `config_groups`?",
        "did you mean `targets`?",
    }


def test_exact_names_expressions_and_classes_in_the_order_of_their_strength() -> None:
    bits = {name: {"num_bits": number} for number, name in enumerate(("class", "late", "early", "name"), 2)}
    groups = {
        "a": _group(["layers.0.mlp"], weights=bits["name"]),
        "b": _group(["re:.*mlp"], weights=bits["early"]),
        "c": _group(["re:layers.*"], weights=bits["late"]),
        "d": _group(["Linear"], weights=bits["class"]),
    }
    config, found = read(format_, _file(config_groups=groups, ignore=["re:head"]))
    assert not found
    assert list(meaning(config)) == ["*", "Gemm", "MatMul", '~"layers*"', '~"*mlp*"', '"layers.0.mlp"', '~"head*"']


def test_what_is_ignored_is_off_whatever_a_group_says() -> None:
    groups = {"a": _group(["model.head", "Linear"], weights={}), "b": _group(["re:x"], weights={})}
    config, found = read(format_, _file(config_groups=groups, ignore=["re:.*head", "re:x"]))
    assert codes(found) == ["Q0755", "Q0755"]
    assert of(config, '~"*head*"', "weight") == of(config, '~"x*"', "weight") == _OFF
    assert '"model.head"' not in meaning(config)


def test_classes_that_are_never_quantized_have_no_effect() -> None:
    config, found = read(format_, _file(config_groups={"a": _group(["Conv2d"], weights={})}, ignore=["ReLU", "MyNorm"]))
    assert codes(found) == ["Q0744"]
    assert list(meaning(config)) == ["*", "Relu"]


@pytest.mark.parametrize(("name", "bits"), [("W4A16", 4), ("w8a8", 8), ("W3A8", 3)])
def test_schemes_by_name(name: str, bits: int) -> None:
    config, _ = read(format_, _file(config_groups={name: ["Linear"]}))
    assert of(config, _LINEAR, "weight")["bits"] == bits
    assert of(config, _LINEAR, "input")["enabled"] is not name.endswith("16")


@pytest.mark.parametrize("name", ["W9A16", "W8A4", "FP9", "W5A4"])
def test_unknown_schemes_are_errors(name: str) -> None:
    _, found = read(format_, _file(config_groups={name: ["Linear"]}))
    assert codes(found) == ["Q0202"]


def test_config_of_a_model_that_holds_it() -> None:
    inner = json.loads(_file(config_groups={"g": _group(["Linear"], weights={"num_bits": 4})}))
    text = json.dumps({"model_type": "llama", "hidden_size": 8, "quantization_config": inner})
    config, found = read(format_, text)
    assert not found
    pointers = {s.pointer for rule in config.rules for clause in rule.clauses for s in clause.settings}
    assert "/quantization_config/config_groups/g/weights/num_bits" in pointers


def test_caches_have_no_word() -> None:
    _, found = read(format_, _file(kv_cache_scheme={"num_bits": 8}, global_compression_ratio=None))
    assert codes(found) == ["Q0744"]


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def test_layers_of_one_scheme_share_a_group() -> None:
    text, losses = written(
        format_,
        """
        dialect onnx
        *: off
        (Gemm | MatMul | Gather)[weight]: on type=int bits=4 symmetric per_group=128 static calib=minmax
        "lm_head": off
        """,
    )
    assert not losses
    assert json.loads(text) == {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {
            "group_0": {
                "targets": ["Linear", "Embedding"],
                "weights": {
                    "num_bits": 4,
                    "type": "int",
                    "symmetric": True,
                    "strategy": "group",
                    "group_size": 128,
                    "dynamic": False,
                },
            }
        },
        "ignore": ["lm_head"],
    }


def test_names_say_all_that_holds_for_them() -> None:
    text, losses = written(
        format_,
        """
        dialect onnx
        *: off
        (Gemm | MatMul)[weight]: on type=int bits=4 symmetric per_group=128
        ~"*.mlp.*"[weight]: bits=8
        "a.mlp.gate"[weight]: per_channel
        """,
    )
    assert not losses
    groups = list(json.loads(text)["config_groups"].values())
    assert [g["targets"] for g in groups] == [["a.mlp.gate"], ["re:.*\\.mlp\\."], ["Linear"]]
    assert [(g["weights"]["num_bits"], g["weights"]["strategy"]) for g in groups] == [
        (8, "channel"),
        (8, "group"),
        (4, "group"),
    ]


def test_layers_within_what_is_off_are_no_case_for_ignore() -> None:
    text, _ = written(
        format_,
        """
        dialect onnx
        *: off
        (Gemm | MatMul)[weight]: on type=int bits=4 symmetric per_tensor
        ~"vision*": off
        "vision.head"[weight]: on
        """,
    )
    said = json.loads(text)
    assert said["ignore"] == []
    assert [g["targets"] for g in said["config_groups"].values()] == [["vision.head"], ["re:vision"], ["Linear"]]
    assert said["config_groups"]["group_1"] == {"targets": ["re:vision"]}


@pytest.mark.parametrize(
    ("rule", "kind", "field"),
    [
        ("Gemm[weight]: range=-1..1", LossKind.CONSTRAINT, "range"),
        ("Gemm[weight]: round=half_up", LossKind.ROUNDING, "round"),
        ("Gemm[weight]: scale=pow2", LossKind.SCALE, "scale"),
        ("Gemm[weight]: narrow_range", LossKind.NARROW_RANGE, "narrow_range"),
        ("Gemm[weight]: reduce=modal", LossKind.STATISTIC, "reduce"),
        ("Gemm[weight]: calib=entropy", LossKind.ESTIMATOR, "calib"),
        ("Gemm[weight]: unsigned", LossKind.SIGNEDNESS, "signed"),
        ("Gemm[weight]: type=float8_e5m2", LossKind.DTYPE, "type"),
        ("Gemm[weight]: per_channel dynamic", LossKind.DYNAMIC, "dynamic"),
        ("Gemm[input]: on type=int bits=8 symmetric per_channel", LossKind.GRANULARITY, "per_channel"),
        ("Gemm[bias]: on bits=32", LossKind.BIAS, "enabled"),
        ("Conv[weight]: on bits=4", LossKind.PLACEMENT, "enabled"),
        ("model[input]: on", LossKind.PLACEMENT, "enabled"),
    ],
)
def test_losses_of_fields(rule: str, kind: LossKind, field: str) -> None:
    base = "dialect onnx\n*: off\n(Gemm | MatMul)[weight]: on type=int bits=8 symmetric per_tensor\n"
    _, losses = written(format_, base + rule)
    told = [loss for loss in losses if loss.kind is not LossKind.SELECTOR]
    assert [loss.kind for loss in told] == [kind]
    assert field in told[0].fields
    assert told[0].span is not None


def test_losses_of_a_whole_file() -> None:
    _, losses = written(
        format_,
        """
        dialect aimet
        option hw_version="V73"
        require Gemm[weight]: bits == 4 "four bits"
        *: on type=int bits=8 symmetric per_tensor
        Relu -> Gemm[input]: off
        fuse Gemm -> Relu
        fuse Conv -> Relu
        """,
    )
    assert [loss.kind for loss in losses].count(LossKind.SUPERGROUP) == 1  # that of Conv changes nothing
    assert {loss.kind for loss in losses} == {
        LossKind.OPTION,
        LossKind.RESTRICTION,
        LossKind.PLACEMENT,
        LossKind.BIAS,
        LossKind.SELECTOR,
        LossKind.SUPERGROUP,
    }


def test_what_nobody_said_is_written_and_told() -> None:
    text, losses = written(format_, "dialect onnx\n*: off\n(Gemm | MatMul)[weight]: on")
    assert {loss.kind for loss in losses} == {LossKind.DEFAULTED}
    assert json.loads(text)["config_groups"]["group_0"]["weights"]["num_bits"] == 8


def _graph() -> Graph:
    """Return Relu -> Gemm -> Relu, a Gemm of the layer `a.fc` between two layers without weights."""
    names = ("x", "y", "z", "w", "out")
    nodes = (
        Node("/r1", "Relu", ("x",), ("y",), origin=Origin(path="a.r1")),
        Node("/fc", "Gemm", ("y", "w"), ("z",), origin=Origin(path="a.fc")),
        Node("/r2", "Relu", ("z",), ("out",), origin=Origin(path="a.r2")),
    )
    return Graph("g", nodes, {name: Tensor(name, "float32", (1,)) for name in names}, ("x",), ("out",))


@pytest.mark.parametrize(
    "rule", ['"/fc"[output]: off', '~"/f*"[output]: off', "Relu -> Gemm[output]: off", "fuse Gemm -> Relu"]
)
def test_names_of_nodes_become_those_of_layers(rule: str) -> None:
    base = "dialect onnx\n*: off\n(Gemm | MatMul)[weight, output]: on type=int bits=8 symmetric per_tensor\n"
    text, losses = written(format_, base + rule, _graph())
    assert [(loss.kind, loss.tensors) for loss in losses] == [(LossKind.MATERIALISED, ("a.fc",))]
    groups = json.loads(text)["config_groups"]
    assert groups["group_0"]["targets"] == ["a.fc"]
    assert "output_activations" not in groups["group_0"]
    assert "output_activations" in groups["group_1"]


# ── both ─────────────────────────────────────────────────────────────────────────────────────

_ARGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"num_bits": st.sampled_from((2, 4, 8, 16)), "symmetric": st.booleans()},
    optional={"observer": st.sampled_from(("minmax", "mse"))},
) | st.sampled_from(
    (
        {"type": "float"},
        {"type": "float", "num_bits": 4, "group_size": 32, "scale_dtype": "torch.uint8"},
        {"type": "float", "num_bits": 4, "group_size": 16, "strategy": "tensor_group"},
    )
)
_GRANULARITIES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    ({}, {"strategy": "channel"}, {"group_size": 64, "strategy": "group"})
)
_WEIGHTS = st.tuples(_ARGS, _GRANULARITIES).map(
    lambda parts: parts[0] if parts[0].get("group_size") else {**parts[0], **parts[1]}
)
_INPUTS = _ARGS.filter(lambda args: "group_size" not in args) | st.just({"dynamic": True, "strategy": "token"})
_GROUP = st.fixed_dictionaries(
    {"weights": _WEIGHTS}, optional={"input_activations": _INPUTS, "output_activations": _ARGS}
)
_TARGETS = st.sampled_from(("Linear", "Embedding", "a.b", "a.c", "re:a.*", "re:.*b$", "re:(c|d)$", "re:e"))


@given(
    st.lists(st.tuples(_TARGETS, _GROUP), max_size=5, unique_by=lambda group: group[0]),
    st.lists(st.sampled_from(("lm_head", "re:.*gate", "a.c")), max_size=2, unique=True),
)
def test_what_is_written_means_what_was_read(groups: list[tuple[str, dict[str, Any]]], ignore: list[str]) -> None:
    text = _file(config_groups={str(i): {**g, "targets": [t]} for i, (t, g) in enumerate(groups)}, ignore=ignore)
    config, _ = read(format_, text)
    again, _ = read(format_, written(format_, config)[0])
    assert meaning(again) == meaning(config)


@pytest.mark.skipif(not _FILES.is_dir(), reason="files of other tools are not here")
def test_files_of_the_tool_come_back() -> None:
    paths = sorted(_FILES.glob("*.json"))
    assert paths
    for path in paths:
        config, found = read(format_, path.read_text(encoding="utf-8"))
        assert not found
        text, losses = written(format_, config)
        assert not losses
        again, _ = read(format_, text)
        assert meaning(again) == meaning(config)


_KEYS = st.sampled_from(
    ("config_groups", "ignore", "targets", "weights", "input_activations", "num_bits", "type", "strategy", "group_size")
)


@given(st.recursive(ANY_JSON, lambda inner: st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12))
def test_no_document_is_a_traceback(document: object) -> None:
    for value in (document, {"config_groups": document}, {"config_groups": {"g": document}, "ignore": document}):
        config, _ = read(format_, json.dumps(value))
        written(format_, config)
