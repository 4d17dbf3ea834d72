"""torchao's configurations, read and written."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.formats.foreign import torchao as format_
from qsimc.ir.loss import LossKind
from tests.unit.foreign_files import ANY_JSON, codes, meaning, of, read, written
from tests.unit.plans import SHARED

_FILES = SHARED / "configs" / "others" / "torchao"
_LINEAR = "Gemm"
_VERSIONS = {"Int8StaticActivationInt8WeightConfig": 1, "Float8DynamicActivationInt4WeightConfig": 1}


def _config(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_type": name, "_version": _VERSIONS.get(name, 2), "_data": arguments}


def _per(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_type": name, "_version": 1, "_data": arguments}


def _word(kind: str, word: str) -> dict[str, Any]:
    return {"_type": kind, "_data": word}


def _dtype(word: str) -> dict[str, Any]:
    return _word("torch.dtype", word)


def _table(**configs: Any) -> str:
    return json.dumps({"_type": "FqnToConfig", "_version": 1, "_data": {"fqn_to_config": configs}})


# ── reading ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("config", "weight", "source"),
    [
        (_config("Int8WeightOnlyConfig"), {"bits": 8, "symmetric": True, "per_channel": True}, {"enabled": False}),
        (_config("Int4WeightOnlyConfig", group_size=64), {"bits": 4, "symmetric": False, "per_group": 64}, {}),
        (
            _config(
                "IntxWeightOnlyConfig", weight_dtype=_word("torch.dtype", "int3"), granularity=_per("PerAxis", axis=0)
            ),
            {"bits": 3, "per_channel": True},
            {},
        ),
        (
            _config("Int8StaticActivationInt8WeightConfig", granularity=[_per("PerTensor"), _per("PerRow", dim=-1)]),
            {"bits": 8, "per_channel": True},
            {"bits": 8, "per_channel": False, "dynamic": False, "symmetric": True},
        ),
        (
            _config("Int8DynamicActivationInt8WeightConfig", act_mapping_type=_word("MappingType", "ASYMMETRIC")),
            {"bits": 8},
            {"dynamic": True, "symmetric": False},
        ),
        (
            _config("Float8DynamicActivationFloat8WeightConfig"),
            {"type": "float8_e4m3", "per_channel": False},
            {"type": "float8_e4m3", "per_channel": False, "dynamic": True},
        ),
        (_config("Float8DynamicActivationInt4WeightConfig"), {"bits": 4, "per_group": 128}, {"type": "float8_e4m3"}),
        (_config("Int8DynamicActivationIntxWeightConfig"), {"per_group": 32}, {"symmetric": False, "dynamic": True}),
        (
            _config(
                "Float8WeightOnlyConfig",
                weight_dtype=_word("torch.dtype", "float8_e5m2"),
                granularity=_per("PerTensor"),
            ),
            {"type": "float8_e5m2", "per_channel": False},
            {},
        ),
    ],
    ids=lambda value: value.get("_type") if isinstance(value, dict) else None,
)
def test_configurations(config: dict[str, Any], weight: dict[str, Any], source: dict[str, Any]) -> None:
    read_, found = read(format_, json.dumps(config))
    assert set(codes(found)) <= {"Q0758"}  # a scale per token
    assert weight.items() <= of(read_, _LINEAR, "weight").items()
    assert source.items() <= of(read_, _LINEAR, "input").items()
    assert of(read_, _LINEAR, "output") == {"enabled": False}


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (_config("Int8WeightOnlyConfg"), "Q0202"),
        (_config("os.system"), "Q0202"),
        (_config("Int8WeightOnlyConfig", group=1), "Q0201"),
        (_config("Int8WeightOnlyConfig", granularity=_per("PerColumn")), "Q0202"),
        (_config("Int8WeightOnlyConfig", granularity=_per("PerGroup", group_size=0)), "Q0202"),
        (_config("Int8WeightOnlyConfig", granularity=[_per("PerRow")]), "Q0202"),
        (_config("IntxWeightOnlyConfig", weight_dtype=_dtype("hub")), "Q0202"),
        (_config("IntxWeightOnlyConfig", mapping_type=_word("MappingType", "ODD")), "Q0202"),
        (_config("AWQConfig"), "Q0756"),
        (_config("Int8WeightOnlyConfig", set_inductor_config=False), "Q0755"),
        ({**_config("Int8WeightOnlyConfig"), "_version": 1}, "Q0755"),
        (_config("Float8DynamicActivationFloat8WeightConfig", activation_value_ub=2.5), "Q0746"),
        ({"_type": 1, "_data": {}}, "Q0203"),
    ],
)
def test_mistakes_and_losses(config: dict[str, Any], code: str) -> None:
    _, found = read(format_, json.dumps(config))
    assert codes(found) == [code]


def test_names_are_data() -> None:
    before = set(sys.modules)
    for name in ("torch.hub", "antigravity", "torchao.quantization.Int8WeightOnlyConfig", "this"):
        read(format_, json.dumps(_config(name)))
        read(format_, json.dumps(_config("IntxWeightOnlyConfig", weight_dtype=_dtype(name))))
    assert not {"antigravity", "this"} & (set(sys.modules) - before)


def test_the_first_expression_holds() -> None:
    text = _table(
        **{
            "a.head": None,
            "re:a.*": _config("Int8WeightOnlyConfig"),
            "re:.*b": _config("Int4WeightOnlyConfig"),
            "c.weight": _config("Int4WeightOnlyConfig"),
            "_default": _config("Int8WeightOnlyConfig"),
        }
    )
    config, found = read(format_, text)
    assert not found
    assert list(meaning(config)) == ["*", "Gemm", "MatMul", '~"*b"', '~"a*"', '"a.head"', '"c"']
    assert of(config, '"a.head"', "weight") == {"enabled": False}


def test_a_table_is_read_once_under_either_name() -> None:
    table = {"a": _config("Int8WeightOnlyConfig")}
    old = {"_type": "ModuleFqnToConfig", "_version": 1, "_data": {"module_fqn_to_config": table}}
    assert meaning(read(format_, json.dumps(old))[0]) == meaning(read(format_, _table(**table))[0])


# ── writing ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("weight", "source", "name"),
    [
        ("bits=8 symmetric per_channel", "", "Int8WeightOnlyConfig"),
        ("bits=8 symmetric per_group=32", "", "Int8WeightOnlyConfig"),
        ("bits=4 asymmetric per_group=128", "", "Int4WeightOnlyConfig"),
        ("bits=4 symmetric per_group=128", "", "IntxWeightOnlyConfig"),
        ("bits=8 asymmetric per_channel", "", "IntxWeightOnlyConfig"),
        ("type=float8_e4m3 per_channel", "", "Float8WeightOnlyConfig"),
        ("bits=8 symmetric per_channel", "bits=8 symmetric static per_tensor", "Int8StaticActivationInt8WeightConfig"),
        (
            "bits=8 symmetric per_channel",
            "bits=8 symmetric dynamic per_tensor",
            "Int8DynamicActivationInt8WeightConfig",
        ),
        (
            "type=float8_e4m3 per_tensor",
            "type=float8_e4m3 dynamic per_tensor",
            "Float8DynamicActivationFloat8WeightConfig",
        ),
    ],
)
def test_what_can_be_said_loses_nothing(weight: str, source: str, name: str) -> None:
    rule = f"dialect onnx\n*: off\n(Gemm | MatMul)[weight]: on {weight}\n"
    rule += f"(Gemm | MatMul)[input]: on {source}\n" if source else ""
    text, losses = written(format_, rule)
    assert not losses
    assert json.loads(text)["_type"] == name


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ("(Gemm | MatMul)[output]: on bits=8", LossKind.PLACEMENT),
        ("(Gemm | MatMul)[weight]: bits=16", LossKind.DTYPE),
        ("(Gemm | MatMul)[weight]: calib=mse", LossKind.ESTIMATOR),
        ("(Gemm | MatMul)[weight]: type=float8_e4m3 scale=e8m0", LossKind.SCALE),
        ("(Gemm | MatMul)[input]: on type=int bits=16 symmetric static per_tensor", LossKind.DTYPE),
        ("(Gemm | MatMul)[input]: on type=float8_e4m3 static per_tensor", LossKind.DTYPE),
        ("(Gemm | MatMul)[weight]: off\n(Gemm | MatMul)[input]: on bits=8", LossKind.PLACEMENT),
        ("(Gemm | MatMul)[weight]: type=float16", LossKind.DTYPE),
    ],
)
def test_what_cannot_be_said_is_lost(rules: str, kind: LossKind) -> None:
    base = "dialect onnx\n*: off\n(Gemm | MatMul)[weight]: on type=int bits=8 symmetric per_channel\n"
    _, losses = written(format_, base + rules)
    assert {loss.kind for loss in losses if loss.kind is not LossKind.DEFAULTED} == {kind}


def test_the_last_rule_for_a_name_is_written_first() -> None:
    text, losses = written(
        format_,
        """
        dialect onnx
        *: off
        (Gemm | MatMul)[weight]: on type=int bits=8 symmetric per_channel
        ~"a.*"[weight]: per_tensor
        ~"a.b*": off
        "a.b"[weight]: on
        """,
    )
    assert not losses
    layers = r"(?<!\.weight)(?<!\.bias)"  # else torchao applies both expressions to the parameter
    keys = ["a.b", r"re:a\.b.*" + layers, r"re:a\..*" + layers, "_default"]
    assert list(json.loads(text)["_data"]["fqn_to_config"]) == keys


# ── both ─────────────────────────────────────────────────────────────────────────────────────

_GRANULARITIES = st.sampled_from((_per("PerTensor"), _per("PerRow", dim=-1), _per("PerGroup", group_size=64)))
_MAPPINGS = st.sampled_from((_word("MappingType", "SYMMETRIC"), _word("MappingType", "ASYMMETRIC")))
_PAIR = st.tuples(_GRANULARITIES, _GRANULARITIES).filter(lambda pair: "PerGroup" not in (p["_type"] for p in pair))
_CONFIGS = st.one_of(
    st.builds(lambda g: _config("Int8WeightOnlyConfig", granularity=g), _GRANULARITIES),
    st.builds(lambda g: _config("Float8WeightOnlyConfig", granularity=g), _GRANULARITIES),
    st.builds(lambda g: _config("Int4WeightOnlyConfig", group_size=g), st.sampled_from((32, 64, 128, 256))),
    st.builds(
        lambda g, m: _config("Int8DynamicActivationInt8WeightConfig", granularity=list(g), act_mapping_type=m),
        _PAIR,
        _MAPPINGS,
    ),
    st.builds(
        lambda bits, m: _config(
            "Int8DynamicActivationIntxWeightConfig",
            weight_dtype=_dtype(f"int{bits}"),
            act_mapping_type=m,
            weight_granularity=_per("PerGroup", group_size=32),
        ),
        st.integers(2, 8),
        _MAPPINGS,
    ),
    st.just(_config("Float8DynamicActivationInt4WeightConfig")),
    st.just(_config("Float8DynamicActivationFloat8WeightConfig", granularity=_per("PerRow", dim=-1))),
)
_KEYS = st.sampled_from(("a.b", "a.c", "re:a.*", "re:.*b", "re:(c|d)", "_default"))


@given(st.dictionaries(_KEYS, st.none() | _CONFIGS, max_size=4))
def test_what_is_written_means_what_was_read(table: dict[str, Any]) -> None:
    table = {key: config for key, config in table.items() if config is not None or key != "_default"}
    config, _ = read(format_, _table(**table))
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


@given(ANY_JSON, st.sampled_from(("granularity", "group_size", "weight_dtype", "mapping_type", "act_mapping_type")))
def test_no_document_is_a_traceback(value: object, key: str) -> None:
    names = ("Int8WeightOnlyConfig", "Int4WeightOnlyConfig", "IntxWeightOnlyConfig", "FqnToConfig")
    documents = [value, *({"_type": name, "_version": value, "_data": {key: value}} for name in names)]
    documents += [{"_type": "FqnToConfig", "_data": {"fqn_to_config": value}}, {"_type": value, "_data": value}]
    for document in documents:
        config, _ = read(format_, json.dumps(document))
        written(format_, config)
