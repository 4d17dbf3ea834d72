"""ModelOpt's recipes: read as their loader reads them, and written so that they mean the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.foreign import modelopt
from qsimc.formats.qsim import read as read_qsim
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss
from qsimc.ir.select import ROLES, NodeName, OpType, Selector
from qsimc.source import Source
from tests.unit.test_json import documents

SHARED = Path(__file__).resolve().parents[3] / "shared" / "configs" / "others" / "modelopt_recipe"


def read_text(text: str) -> tuple[Config, list[Diagnostic]]:
    found: list[Diagnostic] = []
    source = Source("recipe.yaml", text)
    value = modelopt.parse(source, found.append)
    assert value is not None
    return modelopt.read(source, value, found.append), found


def recipe(*entries: object, **said: object) -> tuple[Config, list[Diagnostic]]:
    """Read a recipe with some entries; `said` is what stands beside them."""
    imports = said.pop("imports", {})
    document = {"imports": imports, "metadata": {"recipe_type": "ptq"}, "quantize": {"quant_cfg": entries, **said}}
    return read_text(json.dumps(document))


def says(config: Config, selector: Selector | None, role: str) -> dict[str, object]:
    """Return what holds for a tensor: of `*`, or of a selector over it."""
    found = {level.selector: level for level in levels(config)}
    level = levels(config)[0] if selector is None else found[selector]
    return {field: setting.value for field, setting in level.said[role].items()}


def entry(name: str, **cfg: object) -> dict[str, object]:
    return {"quantizer_name": name, "cfg": cfg}


OFF = {"quantizer_name": "*", "enable": False}

# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_without_entries_inputs_and_weights_have_eight_bits() -> None:
    config, found = recipe()
    assert not found
    assert says(config, None, "weight") | {"enabled": True, "bits": 8, "symmetric": True} == says(
        config, None, "weight"
    )
    assert says(config, None, "input")["enabled"] is True
    assert (says(config, None, "output")["enabled"], says(config, None, "bias")["enabled"]) == (False, False)


def test_later_entries_win() -> None:
    config, found = recipe(OFF, entry("*weight_quantizer", num_bits=4, axis=0), entry("*weight_quantizer", num_bits=8))
    assert not found
    weight = says(config, None, "weight")
    assert (weight["bits"], weight["per_channel"], weight["enabled"]) == (8, False, True)
    assert says(config, None, "input")["enabled"] is False


def test_an_entry_about_all_wins_over_an_earlier_one_about_some() -> None:
    some = {"parent_class": "nn.Linear", "quantizer_name": "*weight_quantizer", "cfg": {"num_bits": 4}}
    config, _ = recipe(some, entry("*weight_quantizer", num_bits=6))
    assert all(level.said["weight"]["bits"].value == 6 for level in levels(config))
    config, _ = recipe(some, OFF)
    assert all(level.said["weight"]["enabled"].value is False for level in levels(config))


def test_a_switch_leaves_the_rest_as_it_is() -> None:
    config, _ = recipe(
        entry("*input_quantizer", num_bits=6), OFF, {"quantizer_name": "*input_quantizer", "enable": True}
    )
    assert (says(config, None, "input")["bits"], says(config, None, "input")["enabled"]) == (6, True)


def test_what_an_entry_says_points_at_its_text() -> None:
    config, _ = read_text("quantize:\n  quant_cfg:\n  - quantizer_name: '*weight_quantizer'\n    cfg: {num_bits: 4}\n")
    bits = levels(config)[0].own["weight"]["bits"]
    assert (bits.span.text, bits.span.line, bits.pointer) == ("4", 4, "/quantize/quant_cfg/0/cfg/num_bits")


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [
        ({"num_bits": "e4m3"}, {"type": "float8_e4m3", "bits": 8}),
        ({"num_bits": [5, 2], "type": "dynamic"}, {"type": "float8_e5m2", "dynamic": True}),
        ({"num_bits": 4, "block_sizes": {"-1": 128}}, {"bits": 4, "per_group": 128, "dynamic": False}),
        (
            {"num_bits": "E2M1", "block_sizes": {"-1": 32, "type": "dynamic", "scale_bits": [8, 0]}},
            {"type": "float4_e2m1", "bits": 4, "per_group": 32, "dynamic": True, "scale": "e8m0"},
        ),
        ({"num_bits": 8, "axis": 0, "narrow_range": True}, {"per_channel": True, "narrow_range": True}),
        ({"unsigned": True, "constant_amax": 6}, {"signed": False, "range": (0.0, 6.0)}),
        ({"constant_amax": 2.5}, {"range": (-2.5, 2.5)}),
    ],
)
def test_attributes_have_words(cfg: dict[str, object], expected: dict[str, object]) -> None:
    config, found = recipe(entry("*weight_quantizer", **cfg))
    assert not found
    assert says(config, None, "weight") | expected == says(config, None, "weight")


@pytest.mark.parametrize(
    ("name", "selector", "roles"),
    [
        ("*lm_head*", NodeName("*lm_head*", glob=True), ("weight", "input", "output")),
        ("a.b.weight_quantizer", NodeName("a.b"), ("weight",)),
        ("a[*]b.input_quantizer", NodeName("a*b"), ("input",)),
        ("*mlp*output_quantizer", NodeName("*mlp*", glob=True), ("output",)),
    ],
)
def test_names_of_quantizers_are_modules_and_tensors(name: str, selector: NodeName, roles: tuple[str, ...]) -> None:
    config, found = recipe({"quantizer_name": name, "enable": False})
    assert not found
    level = levels(config)[-1]
    assert level.selector == selector
    assert {role for role in ROLES if level.own[role]} == set(roles)


def test_snippets_of_modelopt_are_known_and_others_are_lost() -> None:
    imports = {"off": "configs/ptq/units/base_disable_all", "i8": "configs/numerics/int8_per_channel", "own": "mine/x"}
    entries = ({"$import": "off"}, {"quantizer_name": "*weight_quantizer", "cfg": {"$import": "i8", "num_bits": 4}})
    config, found = recipe(*entries, imports=imports)
    assert not found
    assert (says(config, None, "weight")["bits"], says(config, None, "weight")["per_channel"]) == (4, True)
    assert says(config, None, "input")["enabled"] is False
    _, found = recipe({"$import": "own"}, imports=imports)
    assert [(d.code, "`mine/x`" in d.message) for d in found] == [("Q0755", True)]
    _, found = recipe({"$import": "nobody"}, imports=imports)
    assert [d.code for d in found] == ["Q0202"]


def test_a_list_with_a_header_of_imports_is_one_file() -> None:
    text = "imports: {f: configs/numerics/fp8}\n---\n- quantizer_name: '*weight_quantizer'\n  cfg: {$import: f}\n"
    config, found = read_text(text)
    assert not found
    assert says(config, None, "weight")["type"] == "float8_e4m3"


def test_the_old_form_is_an_object() -> None:
    old = {
        "*weight_quantizer": {"num_bits": 4},
        "nn.Conv2d": {"*input_quantizer": {"enable": False}},
        "default": {"enable": False},
    }
    config, _ = read_text(json.dumps({"quant_cfg": old, "algorithm": "max"}))
    assert says(config, None, "weight")["enabled"] is False
    assert says(config, None, "weight")["bits"] == 4


def test_algorithms_are_settings_or_options() -> None:
    config, found = recipe(algorithm="mse")
    assert not found
    assert (says(config, None, "weight")["calib"], says(config, None, "input")["calib"]) == ("mse", "minmax")
    config, found = recipe(algorithm={"method": "awq_lite", "alpha_step": 0.1})
    assert [(option.name, option.value) for option in config.options] == [("algorithm", "awq_lite")]
    assert [d.code for d in found] == ["Q0760"]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"quantizer_name": "*", "enabel": False, "enable": True}, "Q0201"),
        (entry("*", num_bit=8), "Q0201"),
        (entry("*", num_bits=1), "Q0202"),
        (entry("*", num_bits=[3, 2]), "Q0756"),
        (entry("*", calibrator="histogram"), "Q0743"),
        (entry("*", calibrator="entropy"), "Q0202"),
        (entry("*", bias={"-1": None}), "Q0759"),
        (entry("*", rotate=True), "Q0760"),
        (entry("*weight_quantizer", axis=2), "Q0753"),
        (entry("*", axis=[0, 1]), "Q0758"),
        (entry("*", block_sizes={"-1": 128, "-2": 128}), "Q0758"),
        (entry("*", block_sizes={"-1": 16, "scale_bits": "e4m3"}), "Q0741"),
        (entry("*"), "Q0202"),
        ({"quantizer_name": "*"}, "Q0202"),
        ({"enable": False}, "Q0202"),
        ("*", "Q0203"),
        (entry("*k_bmm_quantizer", num_bits=8), "Q0744"),
        ({"parent_class": "MyLayer", "quantizer_name": "*", "enable": True}, "Q0744"),
        ({"parent_class": "nn.Conv2d", "quantizer_name": "*", "enable": False}, "Q0748"),
        ({"parent_class": "nn.Linear", "quantizer_name": "*fc*", "enable": False}, "Q0748"),
    ],
)
def test_what_is_wrong_or_lost_is_told(item: object, code: str) -> None:
    _, found = recipe(item)
    assert [d.code for d in found] == [code]


def test_a_class_after_a_name_is_a_loss_of_precedence() -> None:
    name = {"quantizer_name": "fc.weight_quantizer", "cfg": {"num_bits": 4}}
    _, found = recipe(name, {"parent_class": "nn.Linear", "quantizer_name": "*", "enable": False})
    assert [d.code for d in found] == ["Q0749"]


def test_recipes_of_another_kind_are_refused() -> None:
    _, found = read_text("metadata: {recipe_type: auto_quantize}\nauto_quantize: {}\n")
    assert [d.code for d in found] == ["Q0202"]


@given(documents)
def test_no_json_brings_the_reader_down(document: object) -> None:
    text = json.dumps({"quantize": {"quant_cfg": document, "algorithm": document}, "imports": document})
    config, _ = read_text(text)
    modelopt.write(config, lambda _: None, None)
    config, _ = read_text(json.dumps(document))
    modelopt.write(config, lambda _: None, None)


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def written(text: str) -> tuple[str, list[Loss]]:
    found: list[Diagnostic] = []
    config = read_qsim(Source("config.qsim", f"dialect onnx\n{text}\n"), found.append)
    assert config is not None
    assert not found
    losses: list[Loss] = []
    return modelopt.write(config, losses.append, None), losses


USUAL = "*[weight, input]: on symmetric bits=8\n*[output]: off"


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("*[input]: asymmetric", "symmetry-changed"),
        ("*[bias]: on", "bias-policy-changed"),
        ("*[weight]: unsigned", "signedness-changed"),
        ("*[input]: unsigned_symmetric=true", "signedness-changed"),
        ("*[input]: scale=pow2", "scale-domain"),
        ("*[input]: round=std", "rounding-not-expressible"),
        ("*[input]: reduce=modal", "statistic-not-expressible"),
        ("*[input]: calib=entropy", "estimator-substituted"),
        ("*[input]: range=0..1", "constraint-dropped"),
        ("*[weight]: type=float4_e2m1", "dtype-substituted"),
        ("*[weight]: type=float16", "dtype-substituted"),
        ("*[weight]: per_group=16 dynamic", "dynamic-to-static"),
        ("model[input]: on", "placement-dropped"),
        ("require Conv[weight]: symmetric", "restriction-dropped"),
        ("Relu[input]: bits=4", "placement-dropped"),
    ],
)
def test_what_modelopt_cannot_say_is_one_loss(rule: str, name: str) -> None:
    _, usual = written(USUAL)
    text, losses = written(f"{USUAL}\n{rule}")
    messages = {loss.message for loss in usual}
    assert [loss.name for loss in losses if loss.message not in messages] == [name]
    assert yaml.safe_load(text)["metadata"]["recipe_type"] == "ptq"


def test_nobody_said_the_bits() -> None:
    text, losses = written("*[weight]: on")
    assert "value-defaulted" in [loss.name for loss in losses]
    assert {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": 8}} in _entries(text)


def test_entries_stand_in_the_order_that_lets_the_special_win() -> None:
    text, _ = written(f'{USUAL}\nGemm: bits=6\nMatMul: bits=6\n~"a.*"[weight]: bits=5\n"a.b"[weight]: off')
    names = [(e["quantizer_name"], e.get("parent_class")) for e in _entries(text)]
    assert names[0] == ("*", None)
    assert names.index(("*weight_quantizer", None)) < names.index(("*weight_quantizer", "nn.Linear"))
    assert names.index(("*weight_quantizer", "nn.Linear")) < names.index(("a.*.weight_quantizer", None))
    assert _entries(text)[names.index(("a.b.weight_quantizer", None))]["enable"] is False


def test_channels_of_a_transposed_convolution_lie_elsewhere() -> None:
    text, losses = written("*[weight]: on bits=8 per_channel")
    axes: dict[str | None, int] = {
        entry.get("parent_class"): entry["cfg"]["axis"] for entry in _entries(text) if "cfg" in entry
    }
    assert axes.pop(None) == 0
    assert axes == {f"nn.ConvTranspose{n}d": 1 for n in (1, 2, 3)}
    assert "axis-inferred" not in [loss.name for loss in losses]


def _entries(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load(text)["quantize"]["quant_cfg"]
    return entries


attributes = st.fixed_dictionaries(
    {"num_bits": st.integers(2, 16)},
    optional={"narrow_range": st.booleans(), "type": st.sampled_from(["static", "dynamic"])},
) | st.sampled_from(
    [
        {"num_bits": "e4m3"},
        {"num_bits": 4, "block_sizes": {"-1": 128}},
        {"num_bits": "e2m1", "block_sizes": {"-1": 32, "type": "dynamic", "scale_bits": "e8m0"}},
        {"num_bits": 8, "axis": 0},
        {"num_bits": 8, "constant_amax": 3.0},
    ]
)
names = st.sampled_from(["*weight_quantizer", "*input_quantizer", "*output_quantizer", "*"])
modules = st.sampled_from(["a.b.weight_quantizer", "*head*", "l.*.input_quantizer", "ü[*].output_quantizer"])
classes = st.sampled_from(["nn.Linear", "nn.LayerNorm", "nn.LeakyReLU", "nn.Embedding"])


@st.composite
def entries_(draw: st.DrawFn) -> list[dict[str, object]]:
    def one(name: str, **more: object) -> dict[str, object]:
        said = draw(st.just({"enable": False}) | attributes.map(lambda cfg: {"cfg": cfg}))
        return {"quantizer_name": name, **more, **said}

    general = [one(draw(names)) for _ in range(draw(st.integers(0, 3)))]
    of_classes = [one(draw(names), parent_class=draw(classes)) for _ in range(draw(st.integers(0, 3)))]
    return [*general, *of_classes, *(one(draw(modules)) for _ in range(draw(st.integers(0, 2))))]


def effects(config: Config) -> dict[tuple[str, str], object]:
    """Return what happens to the tensors of some operators."""
    found = {level.selector: level for level in levels(config)}
    general = levels(config)[0]
    result: dict[tuple[str, str], object] = {}
    for operator in ("Conv", "Gemm", "LayerNormalization", "LeakyRelu", "Gather", "Relu"):
        level = found.get(OpType(operator), general)
        for role in ("weight", "input", "output"):
            if operator in ("LayerNormalization", "LeakyRelu") and role == "weight":
                continue  # there is no such quantizer
            said = {field: setting.value for field, setting in level.said[role].items()}
            if (
                level is not general
                and level.own[role].get("per_channel") is not None
                and "per_group" not in level.own[role]
            ):
                said.pop("per_group", None)  # another granularity takes its place
            result[operator, role] = said if said["enabled"] else None
    return result


@given(entries_())
def test_what_is_written_means_what_was_read(entries: list[dict[str, object]]) -> None:
    first, _ = recipe(*entries)
    again, found = read_text(modelopt.write(first, lambda _: None, None))
    assert not [d for d in found if d.severity is Severity.ERROR]
    assert effects(again) == effects(first)
    named = [{(level.selector) for level in levels(c) if isinstance(level.selector, NodeName)} for c in (first, again)]
    assert named[1] <= named[0]


@given(st.text())
def test_names_stay_what_they_are(name: str) -> None:
    config, _ = recipe(OFF)
    rule = recipe(OFF, entry("a.weight_quantizer", num_bits=4))[0].rules[-1]
    named = Config(
        config.source, "onnx", "modelopt", rules=(*config.rules, type(rule)(NodeName(name), rule.clauses, rule.span))
    )
    text = modelopt.write(named, lambda _: None, None)
    text.encode()
    again, found = read_text(text)
    assert not found
    assert NodeName(name) in {level.selector for level in levels(again)} or not name


@pytest.mark.skipif(not SHARED.is_dir(), reason="the example files are not here")
def test_example_files_survive_a_round_trip() -> None:
    for path in sorted(SHARED.glob("*ptq*.yaml")):
        first, found = read_text(path.read_text(encoding="utf-8"))
        assert not [d for d in found if d.severity is Severity.ERROR]
        again, found = read_text(modelopt.write(first, lambda _: None, None))
        assert not [d for d in found if d.severity is Severity.ERROR]
        assert effects(again) == effects(first)
