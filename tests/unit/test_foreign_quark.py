"""AMD Quark's two formats: what they hold comes back, what they cannot say is a loss, and no JSON brings them down."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats import qsim
from qsimc.formats.foreign import quark, quark_onnx
from qsimc.graph import Graph, Node, Origin, Tensor
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss
from qsimc.ir.select import show
from qsimc.ir.value import Value
from qsimc.source import Source
from qsimc.syntax.json import parse
from tests.unit.plans import SHARED

_EXAMPLES = SHARED / "configs" / "others" / "quark"
_DRAWN = Path(__file__).parents[1] / "conformance" / "formats" / "configs"
_FORMATS = [quark, quark_onnx]


def read(tool: ModuleType, text: str) -> tuple[Config, list[Diagnostic]]:
    """Return what a format reads, and what it reports."""
    found: list[Diagnostic] = []
    source = Source("quark.json", text)
    document = parse(source, found.append)
    assert document is not None
    return tool.read(source, document, found.append), found


def write(tool: ModuleType, config: Config | str, graph: Graph | None = None) -> tuple[Any, list[Loss]]:
    """Return the document that a format writes, and what it loses; a text is a .qsim file."""
    lost: list[Loss] = []
    if isinstance(config, str):
        found: list[Diagnostic] = []
        config = qsim.read(Source("a.qsim", config), found.append)
        assert not found
    return json.loads(tool.write(config, lost.append, graph)), lost


def said(config: Config) -> dict[str, dict[str, dict[str, Value]]]:
    """Return what a configuration says of whom: selector -> role -> field -> value."""
    return {
        show(level.selector): {role: {f: s.value for f, s in own.items()} for role, own in level.own.items()}
        for level in levels(config)
    }


def comes_back(tool: ModuleType, text: str) -> None:
    """Hold a file of a format to what reading, writing and reading again give."""
    first, found = read(tool, text)
    assert not [d for d in found if d.severity is Severity.ERROR]
    written = tool.write(first, lambda loss: None, None)
    second, again = read(tool, written)
    assert said(first) == said(second)
    assert not [d for d in again if d.severity is not Severity.INFO]
    assert written == tool.write(second, lambda loss: None, None)


# ── there and back ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tool", _FORMATS)
@pytest.mark.parametrize("path", sorted(_DRAWN.glob("*.qsim")), ids=lambda path: path.stem)
def test_what_is_written_can_be_read(tool: ModuleType, path: Path) -> None:
    source = Source(str(path), path.read_text(encoding="utf-8"))
    comes_back(tool, tool.write(qsim.read(source, lambda d: None), lambda loss: None, None))


@pytest.mark.skipif(not _EXAMPLES.is_dir(), reason="the vendor's own files are not here")
@pytest.mark.parametrize(("tool", "name"), [(quark, "quark_w8a8"), (quark_onnx, "quark_onnx_xint8")])
def test_the_vendors_files_come_back(tool: ModuleType, name: str) -> None:
    comes_back(tool, (_EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


_widths = st.sampled_from(["bits=4", "bits=8", "bits=16"])
_settings = st.tuples(
    st.sampled_from(["on", "off"]),
    st.one_of(_widths, st.sampled_from(["type=float16", "type=bfloat16", "type=float8_e4m3", "bits=8 per_group=32"])),
    st.sampled_from(["symmetric", "asymmetric"]),
    st.sampled_from(["signed", "unsigned"]),
    st.sampled_from(["per_channel", "per_tensor"]),
    st.sampled_from(["calib=minmax", "calib=mse", "calib=percentile", "calib=diffs", "calib=entropy"]),
    st.sampled_from(["scale=float", "scale=pow2", "scale=e8m0"]),
    st.sampled_from(["round=half_even", "round=half_up", "round=std", "round=half_down"]),
    st.sampled_from(["dynamic", "static"]),
    st.sampled_from(["reduce=max", "reduce=modal", "narrow_range", "range=0..1", "percentile=99"]),
)
_subjects = st.sampled_from(
    ["*", "Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", '"conv1"', '~"head.*"', '~"*.last"', '"head.fc"', "model"]
)
_roles = st.sampled_from(["", "[input]", "[output]", "[weight]", "[bias]", "[input, output]"])
_rules = st.builds(lambda who, role, how: f"{who}{role}: {' '.join(how)}", _subjects, _roles, _settings)


@pytest.mark.parametrize("tool", _FORMATS)
@given(rules=st.lists(_rules, max_size=6))
def test_any_configuration_is_written_and_comes_back(tool: ModuleType, rules: list[str]) -> None:
    config = qsim.read(Source("a.qsim", "\n".join(rules) + "\n"), lambda d: None)
    comes_back(tool, tool.write(config, lambda loss: None, None))


# ── precedence ───────────────────────────────────────────────────────────────────────────────

_INT8 = "*[input, output, weight]: on bits=8 signed symmetric calib=minmax\n"


def test_the_last_pattern_of_ours_is_the_first_of_quarks() -> None:
    document, _ = write(quark, _INT8 + '~"a*"[weight]: bits=4\n~"ab*"[weight]: bits=16\n')
    assert [(name, entry["weight"]["dtype"]) for name, entry in document["layer_quant_config"].items()] == [
        ("ab*", "int16"),
        ("a*", "int4"),
    ]


def test_a_name_gets_what_patterns_say_of_it() -> None:
    document, _ = write(quark, _INT8 + '~"a*"[weight]: bits=4\n"ab"[input]: off\n')
    assert document["layer_quant_config"]["ab"]["weight"]["dtype"] == "int4"
    assert document["layer_quant_config"]["ab"]["input_tensors"] is None


def test_a_pattern_that_is_off_does_not_exclude_a_name_that_is_on() -> None:
    document, _ = write(quark, _INT8 + '~"a*": off\n"ab": on\n"c": off\n')
    assert document["exclude"] == ["c"]
    assert list(document["layer_quant_config"]) == ["ab", "a*"]


def test_an_excluded_name_has_no_entry() -> None:
    document, _ = write(quark, _INT8 + '"ab"[weight]: bits=4\n')
    document["exclude"] = ["a*"]
    config, found = read(quark, json.dumps(document))
    assert said(config)['~"a*"']["weight"] == {"enabled": False}
    assert '"ab"' not in said(config)
    assert [d.name for d in found] == ["precedence-changed"]


def test_with_a_model_a_named_layer_gets_what_its_type_says() -> None:
    nodes = (
        Node("/conv", "Conv", ("x", "w"), ("c",), origin=Origin(path="stem.conv")),
        Node("/relu", "Relu", ("c",), ("r",)),
        Node("/conv2", "Conv", ("r", "w2"), ("y",), origin=Origin(path="stem.conv2")),
    )
    tensors = {name: Tensor(name, "float32", None) for name in ("x", "w", "c", "r", "w2", "y")}
    graph = Graph("g", nodes, tensors, ("x",), ("y",))
    text = _INT8 + 'Conv[weight]: bits=4\n"/conv2"[input]: bits=16\nfuse Conv -> Relu\n'
    document, lost = write(quark, text, graph)
    entries = document["layer_quant_config"]
    assert list(entries) == ["stem.conv", "stem.conv2"] or list(entries) == ["stem.conv2", "stem.conv"]
    assert entries["stem.conv"]["output_tensors"] is None
    assert (entries["stem.conv2"]["weight"]["dtype"], entries["stem.conv2"]["input_tensors"]["dtype"]) == (
        "int4",
        "int16",
    )
    assert {loss.name for loss in lost} == {"selector-materialised", "placement-dropped"}


def test_quark_for_onnx_takes_globs_as_patterns() -> None:
    document, _ = write(quark_onnx, _INT8 + '~"/a.b/*": off\n~"/c?"[weight]: bits=16\n')
    assert document["exclude"] == [r"^/a\.b/.*$"]
    assert document["specific_layer_config"][0][1] == ["^(?=.*)/c.$"]


# ── what is written, and what is lost ────────────────────────────────────────────────────────

_DPU = "*: on type=int bits=8 signed symmetric per_tensor full_range scale=pow2 calib=diffs\n"


@pytest.mark.parametrize(
    ("rules", "key", "value"),
    [
        ("*[weight]: on bits=8 symmetric per_channel calib=minmax", "ch_axis", 0),
        (
            "*[weight]: on bits=8 signed symmetric scale=pow2 calib=minmax",
            "observer_cls",
            "PerTensorPowOf2MinMaxObserver",
        ),
        (
            "*[weight]: on bits=8 signed symmetric scale=pow2 calib=diffs",
            "observer_cls",
            "PerTensorPowOf2MinMSEObserver",
        ),
        ("*[weight]: on bits=8 symmetric calib=percentile", "observer_cls", "PerTensorPercentileObserver"),
        ("*[weight]: on bits=8 symmetric calib=sqnr", "observer_cls", "PerTensorMSEObserver"),
        ("*[weight]: on bits=8 asymmetric calib=minmax", "dtype", "uint8"),
        ("*[weight]: on bits=8 symmetric unsigned calib=minmax", "dtype", "uint8"),
        ("*[weight]: on bits=4 symmetric per_group=32 calib=minmax", "group_size", 32),
        ("*[weight]: on bits=8 symmetric calib=minmax round=half_up", "round_method", "round"),
        ("*[weight]: on bits=8 symmetric calib=minmax round=std", "round_method", "floor"),
        ("*[weight]: on type=float8_e4m3 calib=minmax", "dtype", "fp8_e4m3"),
        ("*[weight]: on type=float16", "observer_cls", "PlaceholderObserver"),
    ],
)
def test_a_tensor_of_quark(rules: str, key: str, value: Value) -> None:
    document, _ = write(quark, rules + "\n")
    assert document["global_quant_config"]["weight"][key] == value


def test_channels_of_a_transposed_convolution_lie_elsewhere() -> None:
    document, _ = write(quark, "*[weight]: on bits=8 symmetric per_channel calib=minmax\n")
    assert document["layer_type_quant_config"]["ConvTranspose2d"]["weight"]["ch_axis"] == 1


@pytest.mark.parametrize(
    ("tool", "rules", "names"),
    [
        (quark, _DPU + "*[input, output]: reduce=modal", {"estimator-substituted", "placement-dropped"}),
        (quark, "Conv[weight]: on bits=8 symmetric calib=minmax narrow_range", {"narrow-range-lost"}),
        (quark, "Conv[output]: on bits=8 asymmetric calib=minmax range=0..6", {"constraint-dropped"}),
        (quark, "Conv[output]: on bits=8 asymmetric calib=minmax reduce=mean", {"statistic-not-expressible"}),
        (quark, "Conv[weight]: on bits=4 symmetric calib=minmax scale=pow2", {"scale-domain"}),
        (quark, "Conv[weight]: on bits=8 symmetric calib=minmax round=half_down", {"rounding-not-expressible"}),
        (quark, "Relu[output]: on bits=8 asymmetric calib=minmax", {"placement-dropped", "dtype-substituted",
                                                                   "symmetry-changed", "estimator-substituted"}),
        (quark, "Relu[output]: off", set()),
        (quark, "Conv[weight]: off range=0..1 narrow_range", set()),
        (quark, "model[input]: on", {"placement-dropped"}),
        (quark, "Conv -> Relu[output]: off", {"selector-changed"}),
        (quark, "Conv[weight]: on", {"value-defaulted"}),
        (quark_onnx, _DPU + "*[input, output]: reduce=modal", {"estimator-substituted"}),
        (quark_onnx, "*[weight]: on bits=4 symmetric calib=minmax per_group=32",
         {"dtype-substituted", "granularity-changed"}),
        (quark_onnx, "*[input]: on bits=8 asymmetric dynamic calib=minmax\n*[weight]: off",
         {"dynamic-to-static", "placement-dropped"}),
        (quark_onnx, _INT8 + "fuse Conv -> Relu\nmodel[input]: on", set()),
        (quark_onnx, _INT8 + "fuse Add -> Relu", {"supergroup-unrolled"}),
    ],
)  # fmt: skip
def test_what_is_lost(tool: ModuleType, rules: str, names: set[str]) -> None:
    _, lost = write(tool, rules + "\n")
    assert {loss.name for loss in lost} == names


def test_a_thing_is_lost_once() -> None:
    _, lost = write(quark, "(Conv | ConvTranspose | Gemm)[weight]: on bits=8 symmetric calib=minmax narrow_range\n")
    assert [loss.name for loss in lost] == ["narrow-range-lost"]


# ── what is wrong with a file ────────────────────────────────────────────────────────────────


def _spec(**changed: Value) -> dict[str, Value]:
    spec: dict[str, Value] = {
        "dtype": "int8", "is_dynamic": False, "qscheme": "per_tensor", "ch_axis": None, "group_size": None,
        "symmetric": True, "round_method": "half_even", "scale_type": "float",
        "observer_cls": "PerTensorMinMaxObserver",
    }  # fmt: skip
    return {**spec, **changed}


def _quark(spec: object, **changed: object) -> str:
    entry = {"input_tensors": spec, "output_tensors": None, "weight": None, "bias": None}
    document = {"global_quant_config": entry, "layer_type_quant_config": {}, "layer_quant_config": {}, "exclude": []}
    return json.dumps({**document, **changed})


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (_quark(_spec()), []),
        (_quark(_spec(dtpe="int8")), ["Q0755"]),  # keys that Quark does not know it does not look at
        (_quark(_spec(dtype="int7")), ["Q0202"]),
        (_quark(_spec(dtype="mx6")), ["Q0756"]),
        (_quark(_spec(qscheme="per_block")), ["Q0758"]),
        (_quark(_spec(observer_cls="MyObserver")), ["Q0202"]),
        (_quark(_spec(observer_cls="LSQObserver")), ["Q0743"]),
        (_quark(_spec(symmetric="True")), ["Q0202"]),
        (_quark({"dtype": "int8"}), ["Q0202"] * 4),
        (_quark(None, layer_type_quant_config={"Conv1d": {}}), ["Q0201"]),
        (_quark(None, algo_config=[{"name": "gptq"}]), ["Q0760"]),
        (_quark(None, exclude=[1]), ["Q0202"]),
        (_quark(None, exclud=[]), ["Q0755"]),
        (_quark(None, quant_mode="lazy_mode"), ["Q0202"]),
        ("[]", ["Q0203"]),
    ],
)
def test_what_is_wrong(text: str, codes: list[str]) -> None:
    _, found = read(quark, text)
    assert [d.code for d in found] == codes
    assert all(d.labels and d.labels[0].span.text for d in found)


_keys = st.sampled_from(
    ["global_quant_config", "layer_type_quant_config", "layer_quant_config", "exclude", "Conv2d", "input_tensors",
     "weight", "dtype", "qscheme", "group_size", "ch_axis", "observer_cls", "global_config", "layer_type_config",
     "specific_layer_config", "data_type", "extra_options", "Percentile", "symmetric", "OpTypesToQuantize", "x"]
)  # fmt: skip
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70000), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["int8", "per_group", "mx", "^a.*", "^(", "*", "Int8", "PerTensorMSEObserver", "", "a[", "é"]),
)  # fmt: skip
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=5), max_leaves=25
)


@pytest.mark.parametrize("tool", _FORMATS)
@given(document=_json)
def test_no_json_brings_a_reader_down(tool: ModuleType, document: Any) -> None:
    config, _ = read(tool, json.dumps(document))
    tool.write(config, lambda loss: None, None)


@pytest.mark.parametrize("tool", _FORMATS)
def test_a_format_knows_its_own(tool: ModuleType) -> None:
    document, _ = write(tool, _INT8)
    source = Source("a.json", json.dumps(document))
    parsed = parse(source, lambda d: None)
    assert parsed is not None
    assert [other.recognises(parsed) for other in _FORMATS] == [other is tool for other in _FORMATS]
