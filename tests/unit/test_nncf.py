"""NNCF: its JSON files of version 2 and hardware configurations are read, Python for version 3 is written."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.foreign import nncf, nncf_hw, nncf_py
from qsimc.formats.qsim import read as read_qsim
from qsimc.graph import Graph, Node, Tensor
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss
from qsimc.ir.predicate import evaluate
from qsimc.ir.select import Boundary, NodeName, OpType
from qsimc.source import Source
from tests.unit.test_json import documents

SHARED = Path(__file__).resolve().parents[3] / "shared" / "configs" / "others"

keys = st.sampled_from(
    [
        "compression", "algorithm", "weights", "activations", "mode", "bits", "signed",
        "per_channel", "initializer", "range", "type", "params", "min_percentile", "max_percentile",
        "ignored_scopes", "target_scopes", "scope_overrides", "preset", "target_device", "quantize_inputs", "config",
        "quantization", "operations", "attributes", "granularity", "narrow_range",
    ]
)  # fmt: skip
words = st.sampled_from(
    ["quantization", "symmetric", "mixed", "percentile", "{re}a.*[", "{re}conv", "TRIAL", "Convolution"]
)
files = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


def read(document: object, module: object = nncf) -> tuple[Config, list[Diagnostic]]:
    return read_text(json.dumps(document), module)


def read_text(text: str, module: object = nncf) -> tuple[Config, list[Diagnostic]]:
    found: list[Diagnostic] = []
    source = Source("config.json", text)
    value = nncf.parse(source, found.append)
    assert value is not None
    return module.read(source, value, found.append), found  # type: ignore[attr-defined]


def quantization(**said: object) -> dict[str, object]:
    return {"compression": {"algorithm": "quantization", **said}}


def values(config: Config, role: str, at: int = 0) -> dict[str, object]:
    return {field: setting.value for field, setting in levels(config)[at].own[role].items()}


# ── version 2 ────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_says_nothing_means_the_first_choice_of_the_hardware() -> None:
    config, found = read(quantization())
    assert not found
    weight, act = values(config, "weight"), values(config, "input")
    assert weight | {"bits": 8, "symmetric": True, "per_channel": True, "narrow_range": True, "enabled": True} == weight
    assert act | {"bits": 8, "symmetric": True, "per_channel": False, "unsigned_symmetric": True} == act
    assert (act["enabled"], values(config, "output")["enabled"], values(config, "bias")["enabled"]) == (
        True,
        False,
        False,
    )
    ends = next(rule for rule in config.rules if isinstance(rule.selector, Boundary))
    assert [(c.roles, c.settings[0].value) for c in ends.clauses] == [(("input",), True), (("output",), False)]


def test_what_a_file_says_points_at_its_text() -> None:
    config, found = read(quantization(weights={"bits": 4, "mode": "asymmetric"}, preset="mixed", quantize_outputs=True))
    assert not found
    weight = levels(config)[0].own["weight"]
    assert (weight["bits"].value, weight["bits"].span.text, weight["bits"].pointer) == (
        4,
        "4",
        "/compression/weights/bits",
    )
    assert (weight["symmetric"].value, weight["narrow_range"].value) == (False, False)
    assert levels(config)[0].own["input"]["symmetric"].span.text == '"mixed"'


def test_a_trial_device_has_no_hardware() -> None:
    config, _ = read({"target_device": "TRIAL", **quantization()})
    assert values(config, "weight")["per_channel"] is False
    assert values(config, "weight")["narrow_range"] is False


@pytest.mark.parametrize(
    ("kind", "calib", "reduce"),
    [
        ("mixed_min_max", "minmax", None),
        ("min_max", "minmax", None),
        ("mean_min_max", "minmax", "mean"),
        ("percentile", "percentile", None),
        ("mean_percentile", "percentile", "mean"),
    ],
)
def test_a_range_is_found_as_the_file_says(kind: str, calib: str, reduce: str | None) -> None:
    config, found = read(quantization(initializer={"range": {"type": kind, "num_init_samples": 4}}))
    said = values(config, "input")
    assert not found
    assert (said["calib"], said.get("reduce")) == (calib, reduce)
    assert said.get("percentile") == (99.8 if calib == "percentile" else None)
    assert [(option.name, option.value) for option in config.options] == [("num_init_samples", 4)]


def test_scopes_are_names_and_patterns() -> None:
    config, found = read(
        quantization(
            ignored_scopes=["net/relu_0", "{re}attn.*"],
            scope_overrides={"weights": {"{re}conv_\\d": {"bits": 4}, "net/fc|WEIGHT": {"mode": "asymmetric"}}},
        )
    )
    assert not found
    named = {level.selector: level for level in levels(config) if isinstance(level.selector, NodeName)}
    assert named[NodeName("net/relu_0")].own["input"]["enabled"].value is False
    assert named[NodeName("*attn*", glob=True)].own["weight"]["enabled"].value is False
    assert named[NodeName("*conv_[0-9]*", glob=True)].own["weight"]["bits"].value == 4
    assert named[NodeName("net/fc")].own["weight"]["symmetric"].value is False


def test_target_scopes_leave_the_others_alone() -> None:
    config, _ = read(quantization(weights={"target_scopes": ["net/conv"]}))
    assert values(config, "weight")["enabled"] is False
    assert values(config, "input")["enabled"] is True
    assert levels(config)[-1].own["weight"]["enabled"].value is True


def test_comments_are_read_over_and_places_stay() -> None:
    text = (
        '{\n  // http://x\n  "compression": {"algorithm": "quantization", /* eight\n is usual */ "preset": "mixd"},\n}'
    )
    config, found = read_text(text)
    assert [(d.code, d.labels[0].span.text, d.labels[0].span.line) for d in found] == [
        ("Q0102", ",", 4),
        ("Q0202", '"mixd"', 4),
    ]
    assert all(d.labels[0].span.source.text == text for d in found)
    assert config.rules


@pytest.mark.parametrize("text", ['{"a": "//x", "b": "/*", "c": "\\"// y"}', '{"a": 1}', '"//"'])
def test_strings_are_no_comments(text: str) -> None:
    found: list[Diagnostic] = []
    assert nncf.parse(Source("x.json", text), found.append) is not None
    assert not found


@pytest.mark.parametrize(
    ("said", "code", "severity"),
    [
        ({"wieghts": {}}, "Q0201", Severity.ERROR),
        ({"weights": {"bit": 8}}, "Q0201", Severity.ERROR),
        ({"weights": {"bits": -3}}, "Q0202", Severity.ERROR),
        ({"weights": {"bits": "8"}}, "Q0202", Severity.ERROR),
        ({"weights": []}, "Q0203", Severity.ERROR),
        ({"weights": {"mode": "symetric"}}, "Q0202", Severity.ERROR),
        ({"initializer": {"range": {"type": "threesigma"}}}, "Q0743", Severity.WARNING),
        ({"initializer": {"precision": {"type": "hawq"}}}, "Q0756", Severity.WARNING),
        ({"initializer": {"batchnorm_adaptation": {}}}, "Q0760", Severity.WARNING),
        ({"activations": {"unified_scale_ops": [["a", "b"]]}}, "Q0744", Severity.WARNING),
        ({"ignored_scopes": ["{re}a(?=b)"]}, "Q0748", Severity.WARNING),
        ({"ignored_scopes": ["{re}["]}, "Q0202", Severity.ERROR),
        ({"params": {}}, "Q0760", Severity.WARNING),
    ],
)
def test_what_is_wrong_or_lost_is_told(said: dict[str, object], code: str, severity: Severity) -> None:
    _, found = read(quantization(**said))
    assert [(d.code, d.severity) for d in found] == [(code, severity)]
    assert found[0].pointer.startswith("/compression/")


def test_keys_of_training_scripts_are_not_ours() -> None:
    _, found = read({"model": "resnet", "optimizer": {"type": "Adam"}, "epochs": 3, **quantization()})
    assert not found
    _, found = read({"compresion": {}, **quantization()})
    assert [d.code for d in found] == ["Q0755"]


@given(files | documents)
def test_no_json_brings_the_readers_down(document: object) -> None:
    for module in (nncf, nncf_hw):
        config, _ = read(document, module)
        assert isinstance(levels(config), tuple)
        nncf_py.write(config, lambda _: None, None)


# ── hardware ─────────────────────────────────────────────────────────────────────────────────

HARDWARE = {
    "target_device": "CHIP",
    "config": {
        "quantization": {
            "a": {"bits": 8, "mode": ["asymmetric", "symmetric"], "granularity": "pertensor", "narrow_range": False},
            "w": {"bits": [8, 4], "mode": "symmetric", "granularity": ["perchannel"], "narrow_range": True},
        }
    },
    "operations": [
        {"type": "Convolution", "quantization": {"activations": ["a"], "weights": "w"}},
        {"type": "MaxPool"},
        {"type": "Warp", "quantization": {"activations": "a"}},
        {"type": "Add", "quantization": {"activations": "b"}, "attributes": {"scales": "unified"}},
    ],
}


def test_a_device_quantizes_what_it_lists() -> None:
    config, found = read(HARDWARE, nncf_hw)
    by_selector = {level.selector: level for level in levels(config)}
    conv = by_selector[OpType("Conv")].own
    assert {f: s.value for f, s in conv["input"].items()} == {
        "enabled": True, "bits": 8, "symmetric": False, "per_channel": False, "narrow_range": False,
    }  # fmt: skip
    assert (conv["weight"]["bits"].value, conv["weight"]["per_channel"].value) == (8, True)
    assert values(config, "input") == {"enabled": False}
    assert OpType("MaxPool") in {
        choice for r in config.rules for choice in getattr(r.selector, "choices", (r.selector,))
    }
    assert sorted(d.code for d in found) == ["Q0202", "Q0744", "Q0744"]


@pytest.mark.parametrize(("bits", "symmetric", "holds"), [(4, True, True), (8, False, False), (16, True, False)])
def test_a_device_restricts_what_else_can_be(bits: int, symmetric: bool, holds: bool) -> None:
    config, _ = read(HARDWARE, nncf_hw)
    claim = next(r for r in config.restrictions if r.roles == ("weight",))
    facts = {"weight": {"bits": bits, "symmetric": symmetric, "per_channel": True, "narrow_range": True}}
    assert evaluate(claim.predicate, facts, "weight") is holds


def test_only_its_own_files_are_recognised() -> None:
    found: list[Diagnostic] = []
    texts = [json.dumps(HARDWARE), json.dumps(quantization()), '{"target_device": "DPU"}', "[1]", "3"]
    parsed = [value for t in texts if (value := nncf.parse(Source("x", t), found.append)) is not None]
    assert [nncf_hw.recognises(value) for value in parsed] == [True, False, False, False, False]
    assert [nncf.recognises(value) for value in parsed] == [False, True, False, False, False]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the example files are not here")
@pytest.mark.parametrize(("folder", "module"), [("nncf_json", nncf), ("nncf_hwconfig", nncf_hw)])
def test_example_files_have_no_errors(folder: str, module: object) -> None:
    paths = sorted((SHARED / folder).glob("*.json"))
    assert paths
    for path in paths:
        config, found = read_text(path.read_text(encoding="utf-8"), module)
        assert config.rules
        assert not [d for d in found if d.severity is Severity.ERROR]


# ── Python ───────────────────────────────────────────────────────────────────────────────────


def written(text: str, graph: Graph | None = None) -> tuple[str, list[Loss]]:
    found: list[Diagnostic] = []
    config = read_qsim(Source("config.qsim", f"dialect onnx\n{text}\n"), found.append)
    assert config is not None
    assert not found
    losses: list[Loss] = []
    return nncf_py.write(config, losses.append, graph), losses


USUAL = "*[weight]: on symmetric bits=8 per_channel narrow_range\n*[input]: on asymmetric bits=8"


def test_what_nncf_can_say_is_lossless() -> None:
    text, losses = written(USUAL)
    assert [loss.name for loss in losses] == ["placement-dropped"] * 2  # `on` of all operators
    assert "preset=nncf.QuantizationPreset.MIXED" in text
    assert "weights_quantization_params=QuantizationParameters(num_bits=8, per_channel=True)" in text
    assert "ignored_scope" not in text


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("*[weight]: full_range", "narrow-range-lost"),
        ("*[weight]: bits=4", "dtype-substituted"),
        ("*[weight]: type=float8_e4m3", "dtype-substituted"),
        ("*[weight]: scale=pow2", "scale-domain"),
        ("*[weight]: per_group=32", "granularity-changed"),
        ("*[input]: per_channel", "granularity-changed"),
        ("*[input]: dynamic", "dynamic-to-static"),
        ("*[input]: round=half_up", "rounding-not-expressible"),
        ("*[input]: calib=entropy", "estimator-substituted"),
        ("*[input]: reduce=modal", "statistic-not-expressible"),
        ("*[input]: range=0..1", "constraint-dropped"),
        ("*[bias]: on", "bias-policy-changed"),
        ("Conv[weight]: per_tensor", "granularity-changed"),
        ("Conv[weight]: off", "placement-dropped"),
        ('"a": bits=16', "dtype-substituted"),
        ("model[output]: on", "placement-dropped"),
        ("fuse Conv -> Transpose", "supergroup-unrolled"),
        ("Conv -> Sigmoid: off", "selector-changed"),
        ("require Conv[weight]: symmetric", "restriction-dropped"),
    ],
)
def test_what_nncf_cannot_say_is_one_loss(rule: str, name: str) -> None:
    text, losses = written(f"{USUAL}\n{rule}")
    assert [loss.name for loss in losses if loss.code != "Q0744" or "reaches no others" not in loss.message] == [name]
    assert losses[0].span is not None
    ast.parse(text)


def test_what_is_left_alone_is_listed() -> None:
    text, _ = written(f'{USUAL}\n(Add | Conv): off\n"a.b": off\n~"attn*": off')
    assert _literals(text) >= {"Add", "Conv", "a.b", r"attn.*\Z"}
    allowed, _ = written("*: off\nConv: on bits=8")
    assert "Gemm" in _literals(allowed)
    assert "Conv" not in _literals(allowed)


def test_a_name_that_is_an_exception_is_written_by_name() -> None:
    nodes = tuple(Node(name, op, ("x",), (name,)) for name, op in [("a", "Conv"), ("b", "Conv"), ("c", "Gemm")])
    graph = Graph("g", nodes, {"x": Tensor("x", "float32", None)}, ("x",), ("c",))
    rules = f'{USUAL}\nConv: off\n"b": on'
    text, losses = written(rules, graph)
    assert _literals(text) == {"a"}
    assert "selector-materialised" in [loss.name for loss in losses]
    assert "precedence-changed" in [loss.name for loss in written(rules)[1]]


def test_fusions_of_nncf_are_its_own() -> None:
    _, losses = written(f"{USUAL}\nfuse Conv -> Relu\nfuse Conv -> BatchNormalization -> Clip\nfuse Add -> Relu")
    assert "supergroup-unrolled" not in [loss.name for loss in losses]


def test_options_of_version_2_are_kept() -> None:
    config, _ = read({"target_device": "CPU", **quantization(overflow_fix="enable")})
    losses: list[Loss] = []
    text = nncf_py.write(config, losses.append, None)
    assert "nncf.TargetDevice.CPU" in text
    assert "OverflowFix.ENABLE" in text
    assert "option-dropped" not in [loss.name for loss in losses]


_SPEECH = (ast.Constant, ast.keyword, ast.Attribute, ast.Name, ast.Load, ast.Call, ast.List, ast.Return, ast.arg)
_FRAME = (ast.Module, ast.Expr, ast.Import, ast.ImportFrom, ast.alias, ast.FunctionDef, ast.arguments)


@given(
    st.lists(
        st.text() | st.sampled_from(['"""', "'); import os  #", "\\", "{{x}}", "\u202e", "\ud800", "\x00"]), max_size=5
    )
)
def test_names_are_never_code(names: list[str]) -> None:
    """S9: whatever a node is called, the file has the same code, and the name is a literal in it."""
    config = _off(names)
    text = nncf_py.write(config, lambda _: None, None)
    assert text.isascii()
    tree = ast.parse(text)
    assert all(isinstance(node, (*_SPEECH, *_FRAME)) for node in ast.walk(tree))
    assert set(names) <= _literals(text)
    empty = ast.parse(nncf_py.write(_off(["x"] if names else []), lambda _: None, None))
    assert _code(tree) == _code(empty)


def _off(names: list[str]) -> Config:
    config, _ = read(quantization())
    named, _ = read(quantization(ignored_scopes=["x"]))
    rule = named.rules[-1]
    rules = [type(rule)(NodeName(name), rule.clauses, rule.span) for name in names]
    return Config(config.source, "onnx", "nncf", rules=(*config.rules, *rules))


def _code(tree: ast.AST) -> set[str]:
    return {ast.dump(node) for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Name, ast.alias))}


def _literals(text: str) -> set[object]:
    lists = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.List)]
    return {item.value for one in lists for item in one.elts if isinstance(item, ast.Constant)}
