"""Target platform capabilities of MCT, read and written."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc.formats.foreign import mct_tpc as format_
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import LossKind
from qsimc.ir.predicate import Member
from qsimc.ir.select import show
from tests.unit.foreign_files import ANY_JSON, codes, meaning, of, read, written
from tests.unit.foreign_rules import configs
from tests.unit.plans import SHARED

_FILES = SHARED / "configs" / "others" / "mct_tpc"


def _attribute(method: int = 2, bits: int = 8, *, on: bool = True, per_channel: bool = False) -> dict[str, Any]:
    return {
        "weights_quantization_method": method,
        "weights_n_bits": bits,
        "weights_per_channel_threshold": per_channel,
        "enable_weights_quantization": on,
        "lut_values_bitwidth": None,
    }


def _config(method: int = 3, bits: int = 8, **keys: Any) -> dict[str, Any]:
    return {
        "default_weight_attr_config": _attribute(on=False),
        "attr_weights_configs_mapping": {},
        "activation_quantization_method": method,
        "activation_n_bits": bits,
        "supported_input_activation_n_bits": [8],
        "enable_activation_quantization": True,
        "quantization_preserving": False,
        "signedness": 0,
        "fixed_scale": None,
        "fixed_zero_point": None,
        "simd_size": None,
        **keys,
    }


def _kernel(**kernel: Any) -> dict[str, Any]:
    attributes = {"kernel_attr": _attribute(**kernel), "bias_attr": _attribute(bits=32, on=False)}
    return _config(attr_weights_configs_mapping=attributes)


def _options(*configs: dict[str, Any]) -> dict[str, Any]:
    return {"quantization_configurations": list(configs), "base_config": configs[0]}


def _set(name: str, *configs: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "qc_options": _options(*configs) if configs else None, "type": "OperatorsSet"}


def _file(*sets: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"default_qco": _options(_config()), "operator_set": list(sets), "SCHEMA_VERSION": 2, **keys}


def _same(one: Config, other: Config) -> bool:
    selectors = {*meaning(one), *meaning(other)}
    return _said(one, selectors) == _said(other, selectors)


def _said(config: Config, selectors: Iterable[str]) -> object:
    """Return what holds at levels, with what they take over from that for everything."""
    found = {show(level.selector): level for level in levels(config)}
    said = {selector: found.get(selector, found["*"]).said for selector in selectors}
    return {
        selector: {role: {field: s.value for field, s in fields.items()} for role, fields in roles.items()}
        for selector, roles in said.items()
    }


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_the_default_is_about_every_operator() -> None:
    config, found = read(format_, json.dumps(_file()))
    assert not found
    assert of(config, "*", "output") == {
        "enabled": True,
        "type": "int",
        "bits": 8,
        "symmetric": False,
        "signed": False,
        "unsigned_symmetric": False,
        "scale": "float",
        "per_channel": False,
        "narrow_range": False,
    }
    assert of(config, "*", "input")["enabled"] is False
    boundary = config.rules[1]
    assert show(boundary.selector) == "model"
    assert boundary.clauses[0].roles == ("input",)


@pytest.mark.parametrize(
    ("method", "signedness", "expected"),
    [
        (0, 0, {"symmetric": True, "scale": "pow2", "signed": True, "unsigned_symmetric": True}),
        (2, 1, {"symmetric": True, "scale": "float", "signed": True, "unsigned_symmetric": False}),
        (2, 2, {"symmetric": True, "scale": "float", "signed": False, "unsigned_symmetric": False}),
        (3, 1, {"symmetric": False, "scale": "float", "signed": True, "unsigned_symmetric": False}),
    ],
)
def test_methods_are_read(method: int, signedness: int, expected: dict[str, object]) -> None:
    config, found = read(format_, json.dumps(_file(_set("ReLU", _config(method, signedness=signedness)))))
    assert not found
    assert expected.items() <= dict(of(config, "Relu", "output")).items()


def test_kernels_and_biases_have_configurations_of_their_own() -> None:
    text = json.dumps(_file(_set("FullyConnected", _kernel(bits=4, per_channel=True))), indent=1)
    config, found = read(format_, text)
    assert not found
    assert dict(of(config, "Gemm", "weight")).items() >= {"enabled": True, "bits": 4, "per_channel": True}.items()
    assert dict(of(config, "MatMul", "bias")).items() >= {"enabled": False, "bits": 32}.items()
    said = {(c.roles, s.field): s for rule in config.rules for c in rule.clauses for s in c.settings}
    bits = said[("weight",), "bits"]
    base = "/operator_set/0/qc_options/base_config"
    assert bits.span.text == "4"
    assert bits.pointer == f"{base}/attr_weights_configs_mapping/kernel_attr/weights_n_bits"


def test_configurations_to_choose_from_are_kernels() -> None:
    sets = _set("FullyConnected", _kernel(bits=8), _kernel(bits=4))
    config, found = read(format_, json.dumps(_file(sets)))
    assert not found
    assert of(config, "Gemm", "output")["kernels"] == (("int8", "int8"), ("int8", "int4"))


def test_configurations_that_differ_in_more_are_lost() -> None:
    sets = _set("FullyConnected", _kernel(bits=8), _kernel(bits=4, per_channel=True))
    _, found = read(format_, json.dumps(_file(sets)))
    assert codes(found) == [LossKind.CONSTRAINT.value[0]]


def test_widths_of_inputs_are_restrictions() -> None:
    sets = _set("ReLU", _config(supported_input_activation_n_bits=[8, 16]))
    config, found = read(format_, json.dumps(_file(sets)))
    assert not found
    (restriction,) = config.restrictions
    assert (show(restriction.selector), restriction.roles) == ("Relu", ("input",))
    assert isinstance(restriction.predicate, Member)
    assert restriction.predicate.values == (8, 16)


@pytest.mark.parametrize(
    ("scale", "zero_point", "expected"),
    [(1 / 256, -128, (0.0, 255 / 256)), (1 / 128, 0, (-1.0, 127 / 128)), (0.0625, 127, (-15.9375, 0.0))],
)
def test_fixed_encodings_are_ranges(scale: float, zero_point: int, expected: tuple[float, float]) -> None:
    sets = _set("Softmax", _config(fixed_scale=scale, fixed_zero_point=zero_point))
    config, found = read(format_, json.dumps(_file(sets)))
    assert not found
    assert of(config, "Softmax", "output")["range"] == expected


def test_patterns_are_fusions() -> None:
    group = {"operators_set": [_set("ReLU"), _set("Elu")], "name": "acts", "type": "OperatorSetGroup"}
    pattern = {"operator_groups": [_set("Conv"), group], "fuse_op_quantization_config": None, "name": "x"}
    config, found = read(format_, json.dumps(_file(fusing_patterns=[pattern])))
    assert not found
    assert [show(fusion.chain) for fusion in config.fusions] == ["Conv -> (Relu | Elu)"]


def test_what_the_file_says_of_itself_are_options() -> None:
    config, found = read(format_, json.dumps(_file(name="mine", is_simd_padding=True)))
    assert not found
    assert [(option.name, option.value) for option in config.options] == [("name", "mine"), ("is_simd_padding", True)]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"operator_set": [_set("Swish2")]}, LossKind.SELECTOR),
        ({"operator_set": [_set("Concatenate", _config())]}, LossKind.SELECTOR),  # and Stack has the default
        ({"operator_set": [_set("ReLU", _config(1))]}, LossKind.DTYPE),  # a table
        ({"operator_set": [_set("ReLU", _config(quantization_preserving=True))]}, LossKind.PLACEMENT),
        ({"operator_set": [_set("ReLU", _config(simd_size=32))]}, LossKind.DROPPED),
        ({"operator_set": [_set("ReLU", _config(fixed_scale=0.5))]}, LossKind.CONSTRAINT),
        ({"operator_set": [_set("ReLU", _config(bits=1, supported_input_activation_n_bits=[1, 8]))]}, LossKind.DTYPE),
        ({"operators": []}, LossKind.DROPPED),
        ({"SCHEMA_VERSION": 1}, LossKind.DROPPED),
        ({"fusing_patterns": [{"operator_groups": [_set("Conv"), _set("Mine")]}]}, LossKind.SUPERGROUP),
    ],
)
def test_what_no_rule_says_is_lost(change: dict[str, Any], kind: LossKind) -> None:
    _, found = read(format_, json.dumps({**_file(), **change}))
    assert kind.value[0] in codes(found)
    assert all(d.code.startswith("Q07") for d in found)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "must be an object"),
        ({}, "`default_qco` is missing"),
        ({"default_qco": {"quantization_configurations": []}}, "at least one configuration"),
        ({"default_qco": _options(_config(), _config(2))}, "exactly one configuration"),
        ({"default_qco": {"quantization_configurations": [_config(), _config(2)]}}, "`base_config` says which"),
        ({"default_qco": {"quantization_configurations": [_config()], "base_config": _config(2)}}, "must be one of"),
        ({"default_qco": _options(_config(9))}, "cannot be 9"),
        ({"default_qco": _options(_config(signedness=True))}, "`signedness` must be an integer"),
        ({"default_qco": _options({})}, "a quantization configuration needs"),
        (_file(_set("ReLU"), _set("ReLU")), "stands here twice"),
        (_file({"qc_options": None}), "needs a `name`"),
        (_file(fusing_patterns=[{"operator_groups": [_set("Conv")]}]), "two `operator_groups`"),
        (_file(fusing_patterns={}), "`fusing_patterns` must be an array"),
    ],
)
def test_what_the_tool_refuses_is_an_error(document: object, complaint: str) -> None:
    _, found = read(format_, json.dumps(document))
    assert any(complaint in d.message and d.code.startswith("Q02") for d in found)


@given(ANY_JSON)
def test_any_json_is_read(document: object) -> None:
    read(format_, json.dumps(document))


@settings(max_examples=40)
@given(st.data())
def test_any_change_of_a_file_is_read(data: st.DataObject) -> None:
    pattern = {"operator_groups": [_set("Conv"), _set("ReLU")], "fuse_op_quantization_config": None}
    document = copy.deepcopy(_file(_set("Conv", _kernel(), _kernel(bits=4)), _set("ReLU"), fusing_patterns=[pattern]))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        while True:
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 4)) == 0:
                place[key] = data.draw(ANY_JSON)
                break
            place = place[key]
    config, _ = read(format_, json.dumps(document))
    written(format_, config)


# ── writing ──────────────────────────────────────────────────────────────────────────────────

_PLAIN = """*: on type=int bits=8 per_tensor asymmetric unsigned
*[input]: off
*[bias]: off
*[weight]: off symmetric signed
"""


def _written_sets(text: str) -> dict[str, Any]:
    return {
        one["name"]: one["qc_options"] and one["qc_options"]["base_config"] for one in json.loads(text)["operator_set"]
    }


@pytest.mark.parametrize(
    ("rules", "kind", "field"),
    [
        ("*[output]: type=float16", LossKind.DTYPE, "type"),
        ("*[output]: per_channel", LossKind.GRANULARITY, "per_channel"),
        ("*[output]: dynamic", LossKind.DYNAMIC, "dynamic"),
        ("*[output]: scale=pow2", LossKind.SYMMETRY, "symmetric"),  # powers of two are symmetric
        ("*[output]: narrow_range", LossKind.NARROW_RANGE, "narrow_range"),
        ("*: round=std", LossKind.ROUNDING, "round"),
        ("*: calib=mse", LossKind.ESTIMATOR, "calib"),
        ("*: reduce=mean", LossKind.STATISTIC, "reduce"),
        ("*[input]: on", LossKind.PLACEMENT, "enabled"),
        ("model[output]: off", LossKind.PLACEMENT, "enabled"),
        ("*[bias]: on", LossKind.BIAS, "enabled"),
        ("Conv[weight]: on per_group=32", LossKind.GRANULARITY, "per_group"),
        ("Conv[weight]: on unsigned", LossKind.SIGNEDNESS, "signed"),
        ("Relu[output]: range=0..", LossKind.CONSTRAINT, "range"),
        ("Tanh[output]: range=-1..1", LossKind.CONSTRAINT, "range"),  # half a step from an integer zero
        ("*: kernels=(int8/int8)", LossKind.CONSTRAINT, "kernels"),
        ("Conv: kernels=(float16/float16)", LossKind.CONSTRAINT, "kernels"),
        ("LayerNormalization[output]: bits=16", LossKind.SELECTOR, "bits"),
    ],
)
def test_what_a_file_cannot_say_is_one_loss(rules: str, kind: LossKind, field: str) -> None:
    text, losses = written(format_, _PLAIN + rules)
    found = [loss for loss in losses if field in loss.fields]
    assert [loss.kind for loss in found] == [kind]
    assert found[0].span is not None
    assert _sound(text)


def test_names_chains_and_other_restrictions_are_lost() -> None:
    rules = '"a": off\nConv -> Relu: off\nrequire Conv[weight]: bits <= 8 "b"\nfuse LayerNormalization -> Relu\n'
    _, losses = written(format_, _PLAIN + rules)
    kinds = [LossKind.SUPERGROUP, LossKind.SELECTOR, LossKind.SUPERGROUP, LossKind.RESTRICTION]
    assert sorted(loss.kind.name for loss in losses) == sorted(kind.name for kind in kinds)


@pytest.mark.parametrize(
    "rules",
    [
        "*[output]: symmetric signed scale=pow2",
        "Conv[weight]: on bits=4 per_channel",
        "Conv: kernels=(int8/int8 | int8/int4)",
        "Sigmoid[output]: range=0..1",
        "model[input]: on",
        "fuse Conv -> (Relu | Elu)",
        'require Relu[input]: bits in (8 | 16) "b"',
    ],
)
def test_what_a_file_can_say_is_no_loss(rules: str) -> None:
    text, losses = written(format_, _PLAIN + rules)
    assert not losses
    assert _sound(text)


def test_operators_with_kernels_do_not_take_the_default_of_weights_for_biases() -> None:
    text, losses = written(format_, _PLAIN + "*[weight]: on")
    assert [loss.kind for loss in losses] == [LossKind.BIAS]  # of operators without kernels
    attributes = _written_sets(text)["Conv"]["attr_weights_configs_mapping"]
    assert attributes["kernel_attr"]["enable_weights_quantization"] is True
    assert attributes["bias_attr"]["enable_weights_quantization"] is False


def _sound(text: str) -> bool:
    _, found = read(format_, text)
    return not [d for d in found if d.code.startswith("Q02")]


@settings(max_examples=30)
@given(configs())
def test_whatever_is_written_is_sound(config: Config) -> None:
    text, _ = written(format_, config)
    assert _sound(text)


# ── there and back ───────────────────────────────────────────────────────────────────────────

_METHODS = st.integers(0, 3)
_WIDTHS = st.sampled_from([2, 4, 8, 16])
_ATTRIBUTES = st.builds(_attribute, _METHODS, _WIDTHS, on=st.booleans(), per_channel=st.booleans())
_CONFIGS = st.builds(
    _config,
    _METHODS,
    _WIDTHS,
    default_weight_attr_config=_ATTRIBUTES,
    enable_activation_quantization=st.booleans(),
    signedness=st.integers(0, 2),
    fixed_scale=st.sampled_from([0.1, 1 / 3, 1 / 256, 3e-5]),
    fixed_zero_point=st.integers(-128, 127) | st.none(),
)
_SETS = st.sampled_from(["ReLU", "Softmax", "Add", "Concatenate", "Stack", "BatchNorm"])


@st.composite
def _files(draw: st.DrawFn) -> dict[str, Any]:
    named = draw(st.dictionaries(_SETS, st.none() | _CONFIGS, max_size=4))
    sets = [_set(name, *((config,) if config else ())) for name, config in named.items()]
    for name in draw(st.sets(st.sampled_from(["Conv", "DepthwiseConv2D", "FullyConnected"]))):
        attributes = {"kernel_attr": draw(_ATTRIBUTES), "bias_attr": draw(_ATTRIBUTES)}
        sets.append(_set(name, {**draw(_CONFIGS), "attr_weights_configs_mapping": attributes}))
    return {**_file(*sets), "default_qco": _options({**draw(_CONFIGS), "fixed_scale": None, "fixed_zero_point": None})}


@given(_files())
def test_a_file_comes_back(document: dict[str, Any]) -> None:
    once, _ = read(format_, json.dumps(document))
    text, _ = written(format_, once)
    again, _ = read(format_, text)
    assert _same(again, once)


@pytest.mark.skipif(not _FILES.is_dir(), reason="the tool's own files are not here")
def test_the_tools_own_files_come_back() -> None:
    files = sorted(_FILES.glob("*.json"))
    assert files
    for path in files:
        once, _ = read(format_, path.read_text(encoding="utf-8"))
        text, losses = written(format_, once)
        again, _ = read(format_, text)
        assert not losses
        assert _same(again, once)
        assert [show(f.chain) for f in again.fusions] == [show(f.chain) for f in once.fusions]
        assert [(o.name, o.value) for o in again.options] == [(o.name, o.value) for o in once.options]
