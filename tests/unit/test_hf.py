"""Hugging Face's quantization_config of many methods, read; and as compressed-tensors, written."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.formats.foreign import compressed_tensors
from qsimc.formats.foreign import hf as format_
from qsimc.formats.foreign._hf.methods import spec
from qsimc.ir.config import Config
from qsimc.ir.select import NodeName, alternatives
from qsimc.source import Source
from qsimc.syntax.json import parse
from tests.unit.foreign_files import ANY_JSON, codes, meaning, of, read, written
from tests.unit.plans import SHARED

_FILES = SHARED / "configs" / "others" / "hf_quantization_config"
_LINEAR = "Gemm"


def _file(method: str, **keys: Any) -> str:
    return json.dumps({"quant_method": method, **keys})


def _left_alone(config: Config, name: str) -> bool:
    """Say whether some pattern of a configuration turns a layer off."""
    patterns = [s for rule in config.rules for s in alternatives(rule.selector) if isinstance(s, NodeName)]
    return any(fnmatchcase(name, p.pattern) if p.glob else name == p.pattern for p in patterns)


@pytest.mark.parametrize(
    ("text", "weight", "source"),
    [
        (_file("gptq", bits=4, group_size=-1, sym=False), {"bits": 4, "per_channel": True, "symmetric": False}, {}),
        (_file("gptq", bits=3), {"bits": 3, "per_group": 128, "symmetric": True}, {"enabled": False}),
        (_file("awq", zero_point=True), {"bits": 4, "symmetric": False}, {"enabled": False}),
        (_file("awq", zero_point=False, group_size=64), {"per_group": 64, "symmetric": True}, {}),
        (_file("mxfp4"), {"type": "float4_e2m1", "per_group": 32, "scale": "e8m0"}, {"enabled": False}),
        (_file("eetq"), {"bits": 8, "per_channel": True}, {}),
        (_file("quanto", weights="int4"), {"type": "int", "bits": 4}, {"enabled": False}),
        (_file("quanto", weights="float8", activations="int8"), {"type": "float8_e4m3"}, {"bits": 8, "dynamic": False}),
        (_file("fp8", weight_block_size=None, activation_scheme="static"), {"per_channel": False}, {"dynamic": False}),
        (_file("fp8", weight_block_size=None, scale_fmt="ue8m0"), {"scale": "e8m0"}, {"dynamic": True}),
        (_file("bitsandbytes", load_in_8bit=True), {"bits": 8, "per_channel": True}, {"dynamic": True}),
        (_file("bitsandbytes", load_in_4bit=True), {"type": "float4_e2m1", "per_group": 64}, {"enabled": False}),
        (_file("hqq", nbits=2, group_size=32), {"bits": 2, "symmetric": False, "per_group": 32}, {}),
    ],
)
def test_methods(text: str, weight: dict[str, Any], source: dict[str, Any]) -> None:
    config, found = read(format_, text)
    assert set(codes(found)) <= {"Q0758"}  # a scale per token
    assert weight.items() <= of(config, _LINEAR, "weight").items()
    assert source.items() <= of(config, _LINEAR, "input").items()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (_file("gptq", bits=5), "Q0202"),
        (_file("gptq", bits="4"), "Q0202"),
        (_file("gptq", group_size=0), "Q0202"),
        (_file("gptq", desc_act=True), "Q0755"),
        (_file("gptq", bit=4), "Q0755"),
        (_file("gptqq"), "Q0202"),
        (_file("aqlm"), "Q0756"),
        (_file("quark"), "Q0202"),
        (_file("mxfp4", modules_to_not_convert="lm_head"), "Q0203"),
        (_file("mxfp4", modules_to_not_convert=["a(?=b)"]), "Q0748"),
        (_file("bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4"), "Q0756"),
        (_file("bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=True), "Q0755"),
        (json.dumps({"bits": 4}), "Q0202"),
    ],
)
def test_mistakes_and_losses(text: str, code: str) -> None:
    _, found = read(format_, text)
    assert codes(found) == [code]


@pytest.mark.parametrize("method", sorted({*spec()["methods"]} - {"bitsandbytes_8bit", "bitsandbytes_4bit"}))
def test_every_method_leaves_layers_alone(method: str) -> None:
    for key in spec()["methods"][method]["exclusions"]:
        config, _ = read(format_, _file(method, **{key: ["lm_head", "vision.tower"]}))
        assert _left_alone(config, "lm_head")
        assert _left_alone(config, "vision.tower.0.fc")
        assert not _left_alone(config, "head")


@pytest.mark.parametrize(
    ("entry", "name", "alone"),
    [
        ("lm_head", "model.lm_head", True),
        ("layer.1", "layer.1.attn", True),
        ("layer.1", "layer.11.attn", False),
        ("layers.*.attn", "layers.7.attn.q", True),
        ("layers.*.attn", "layers.7.attention", False),
        ("gate$", "mlp.gate", False),  # an expression matches from the beginning
        (".*gate$", "mlp.gate", True),
    ],
)
def test_entries_match_as_transformers_has_it(entry: str, name: str, alone: bool) -> None:
    config, _ = read(format_, _file("awq", modules_to_not_convert=[entry]))
    assert _left_alone(config, name) == alone


def test_modelopts_file() -> None:
    inner = {"quant_algo": "W4A8_AWQ", "group_size": 64, "exclude_modules": ["lm_head", "model.*.gate"]}
    config, found = read(format_, json.dumps({"producer": {"name": "modelopt"}, "quantization": inner}))
    assert not found
    assert of(config, _LINEAR, "weight")["per_group"] == 64
    assert of(config, _LINEAR, "input")["type"] == "float8_e4m3"
    assert of(config, '~"model.*.gate"', "weight") == {"enabled": False}


def test_modelopts_layers_of_several_precisions() -> None:
    layers = {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "NVFP4", "group_size": 16}, "c": {"quant_algo": "FP9"}}
    inner = {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers, "kv_cache_quant_algo": None}
    config, found = read(format_, json.dumps({"quantization": inner}))
    assert codes(found) == ["Q0756"]
    assert of(config, '"a"', "weight")["type"] == "float8_e4m3"
    assert of(config, '"b"', "weight")["per_group"] == 16
    assert list(meaning(config)) == ["*", '"a"', '"b"']


def test_torchaos_configuration_within() -> None:
    inner = {"_type": "Int8WeightOnlyConfig", "_version": 2, "_data": {}}
    text = _file("torchao", quant_type={"default": inner}, modules_to_not_convert=["lm_head"])
    config, found = read(format_, text)
    assert not found
    assert of(config, _LINEAR, "weight")["bits"] == 8
    assert _left_alone(config, "lm_head")


def test_what_others_read_is_left_to_them() -> None:
    for method, mine in (("gptq", True), ("aqlm", True), ("compressed-tensors", False), ("quark", False), ("x", False)):
        source = Source("f.json", _file(method))
        document = parse(source, lambda _: None)
        assert document is not None
        assert format_.recognises(document) is mine


def test_written_is_compressed_tensors_in_a_config_of_a_model() -> None:
    config, _ = read(format_, _file("gptq", bits=4, modules_to_not_convert=["lm_head"]))
    text, losses = written(format_, config)
    assert not losses
    assert json.loads(text)["quantization_config"] == json.loads(written(compressed_tensors, config)[0])
    assert meaning(read(format_, text)[0]) == meaning(config)


@pytest.mark.skipif(not _FILES.is_dir(), reason="files of other tools are not here")
def test_files_come_back() -> None:
    paths = sorted(_FILES.glob("*.json"))
    assert paths
    for path in paths:
        config, _ = read(format_, path.read_text(encoding="utf-8"))
        again, _ = read(format_, written(format_, config)[0])
        assert meaning(again) == meaning(config), path


_METHODS = st.sampled_from(
    (*spec()["methods"], *spec()["others"]["names"], "modelopt", "torchao", "compressed-tensors")
)
_KEYS = st.sampled_from(
    ("bits", "group_size", "sym", "lm_head", "weight_block_size", "modules_to_not_convert", "quant_algo", "quant_type",
     "load_in_4bit", "quantized_layers", "quantization", "activation_scheme", "exclude_modules")
)  # fmt: skip


@given(_METHODS, st.dictionaries(_KEYS, ANY_JSON, max_size=4), ANY_JSON)
def test_no_document_is_a_traceback(method: str, keys: dict[str, Any], value: object) -> None:
    for document in (value, {**keys, "quant_method": method}, keys, {"quantization": keys}, {"quant_method": value}):
        config, _ = read(format_, json.dumps(document))
        written(format_, config)
