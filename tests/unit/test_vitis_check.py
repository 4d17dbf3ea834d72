"""Vitis AI configurations: read to rules, judged as vai_q_pytorch judges them, and warned about where it does not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc import formats, targets
from qsimc.diagnostics import Diagnostic, Severity, first_complaint
from qsimc.formats.vitis_program import KINDS
from qsimc.ir.config import Config, show_rule, show_value
from qsimc.ir.levels import Level, levels
from qsimc.ir.predicate import Ref, refs
from qsimc.pipeline.check import check, examined
from qsimc.planning.plan import Mode
from qsimc.source import Source
from qsimc.spec import keymap

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"

# From runs of the original; `stops` is the exception with which calibration of a small network then ended.
RECORDS = [json.loads(line) for line in (ROOT / "tests/data/vitis_check.jsonl").read_text().splitlines()]
CPU: dict[str, Any] = {
    "bit_width": 8,
    "method": "maxmin",
    "round_mode": "half_even",
    "symmetry": True,
    "per_channel": False,
    "signed": True,
    "narrow_range": False,
    "scale_type": "float",
    "calib_statistic_method": "max",
}


def config(target: str | None = "CPU", overall: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    return {"target_device": target, "overall_quantize_config": (overall or {})} | sections


def entry(*kinds: str, layer_type: str | None = "Conv2d", **sections: Any) -> dict[str, Any]:
    return {"layer_type": layer_type, "quantizable_data_type": list(kinds or KINDS)} | sections


def read(document: dict[str, Any]) -> tuple[Config, list[Diagnostic]]:
    found: list[Diagnostic] = []
    read_ = formats.read(Source("c.json", json.dumps(document, indent=1)), found.append)
    assert read_ is not None
    return read_, found


def findings(
    folder: Path, document: dict[str, Any] | str, mode: str = "fixed", target: str | None = None
) -> list[Diagnostic]:
    path = folder / "c.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    return check(path, mode=mode, target=target)


def codes(found: Iterable[Diagnostic]) -> list[str]:
    return [d.code for d in found]


def lines(config_: Config) -> list[str]:
    return [show_rule(r.selector, c.roles, s) for r in config_.rules for c in r.clauses for s in c.settings]


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_every_key_becomes_one_setting() -> None:
    overall = CPU | {"datatype": "int", "method": "percentile", "percentage": 99.9, "round_mode": "std_round"}
    document = config(
        "GPU",
        overall,
        include_cle=False,
        onnx_opset_version=13,
        tensor_quantize_config={"activation": {"bit_width": 16}, "weights": {"scale_type": "poweroftwo"}},
    )
    read_, found = read(document)
    assert not found
    assert lines(read_) == [
        "*: bits=8",
        "*: calib=percentile",
        "*: round=std",
        "*: symmetric",
        "*: per_tensor",
        "*: signed",
        "*: full_range",
        "*: scale=float",
        "*: reduce=max",
        "*: type=int",
        "*: percentile=99.9",
        "*[output]: bits=16",
        "*[weight]: scale=pow2",
    ]
    assert [(o.name, o.value) for o in read_.options] == [("include_cle", False), ("onnx_opset_version", 13)]
    assert read_.target == "vitis-gpu"
    assert read_.target_span is not None
    assert read_.target_span.text == '"GPU"'


def test_an_entry_is_about_the_tensors_it_lists() -> None:
    block = {"tensor_quantize_config": {"weights": {"per_channel": True}}, "overall_quantize_config": {"bit_width": 6}}
    document = config(
        layer_quantize_config=[
            entry("weights", "bias", layer_type="torch.nn.Conv2d", **block),
            entry(
                "activation",
                layer_type=None,
                layer_name="N::N/Conv2d[a]/ret.3",
                overall_quantize_config={"signed": True},
            ),
        ]
    )
    assert lines(read(document)[0]) == [
        "torch.nn.Conv2d[weight, bias]: on",
        "torch.nn.Conv2d[weight, bias]: bits=6",
        "torch.nn.Conv2d[weight]: per_channel",
        '"N::N/Conv2d[a]/ret.3"[output]: on',
        '"N::N/Conv2d[a]/ret.3"[output]: signed',
    ]


def test_a_list_of_the_file_switches_the_others_off() -> None:
    assert lines(read(config(quantizable_data_type=["weights"]))[0]) == ["*[weight]: on", "*[input, bias, output]: off"]


def test_a_float_says_its_width_and_leaves_the_bits() -> None:
    document = config(tensor_quantize_config={"weights": {"datatype": "float16"}, "bias": {"datatype": "bfloat16"}})
    assert lines(read(document)[0]) == ["*[weight]: type=float16", "*[bias]: type=bfloat16"]


def test_a_setting_points_at_its_value() -> None:
    document = config(layer_quantize_config=[entry("weights", tensor_quantize_config={"weights": {"bit_width": 4}})])
    setting = read(document)[0].rules[-1].clauses[-1].settings[0]
    assert (setting.span.text, setting.pointer) == (
        "4",
        "/layer_quantize_config/0/tensor_quantize_config/weights/bit_width",
    )


def meaning(merged: Iterable[Level]) -> list[Any]:
    return [(level.selector, set(level.roles), level.facts()) for level in merged]


def as_qsim(read_: Config) -> str:
    target = f"target {read_.target}\n" if read_.target else ""
    options = "".join(f"option {o.name}={show_value(o.value)}\n" for o in read_.options)
    return f"dialect vitis\n{target}{options}" + "".join(f"{line}\n" for line in lines(read_))


def sayable() -> list[Any]:
    """Return the configurations that the program accepts and that hold no word without a meaning."""
    accepted = [r for r in RECORDS if r["verdict"] == "accepted" and "config" in r]
    clean = (r for r in accepted if all(d.severity is not Severity.ERROR for d in read(r["config"])[1]))
    return [pytest.param(r["config"], id=r["id"]) for r in clean]


@pytest.mark.parametrize("document", sayable())
def test_written_as_qsim_a_file_means_the_same(document: dict[str, Any]) -> None:
    read_, _ = read(document)
    problems: list[Diagnostic] = []
    again = formats.read(Source("c.qsim", as_qsim(read_)), problems.append)
    assert not problems
    assert again is not None
    assert (again.target, [(o.name, o.value) for o in again.options]) == (
        read_.target,
        [(o.name, o.value) for o in read_.options],
    )
    assert meaning(levels(again)) == meaning(levels(read_))


def test_a_strategy_of_the_sister_tool_is_recognised(tmp_path: Path) -> None:
    found = findings(tmp_path, {"quantize_registry_config": {"layer_quantize_config": []}})
    assert codes(found) == ["Q0109"]
    assert "vai_q_tensorflow2" in found[0].message


# ── vendor mode: the program's verdict ───────────────────────────────────────────────────────


def verdict(found: list[Diagnostic]) -> str:
    return "rejected" if any(d.severity is Severity.ERROR for d in found) else "accepted"


def said_first(found: list[Diagnostic]) -> str | None:
    first = first_complaint(found)
    assert first is None or found[0] is first
    return None if first is None or first.vendor is None else first.vendor.text


@pytest.mark.parametrize("record", [pytest.param(r, id=r["id"]) for r in RECORDS])
def test_vendor_mode_says_first_what_the_program_says(record: dict[str, Any], tmp_path: Path) -> None:
    found = findings(tmp_path, record["config_text"] if "config_text" in record else record["config"], "vendor")
    assert verdict(found) == ("accepted" if record["verdict"] == "accepted" else "rejected")
    assert said_first(found) == record.get("text")


def test_vendor_mode_agrees_on_every_public_record(tmp_path: Path) -> None:
    path = SHARED / "oracle/vitis/check.jsonl"
    if not path.exists():
        pytest.skip("the recorded verdicts are not here")
    wrong = []
    for record in map(json.loads, path.read_text().splitlines()):
        found = findings(tmp_path, record["config_text"] if "config_text" in record else record["config"], "vendor")
        text = record.get("error", {}).get("text") or record.get("exception", {}).get("message")
        if (verdict(found) == "accepted") != (record["verdict"] == "accepted") or said_first(found) != text:
            wrong.append(record["id"])
    assert not wrong


def test_the_first_of_many_mistakes_is_the_program_s() -> None:
    document = config(
        "DPU",
        {"symmetry": False, "bit_width": "8", "method": "kl"},
        tensor_quantize_config={"activation": {"bits": 4}},
        mix_bit=True,
    )
    read_, found = read(document)
    assert read_.target == "vitis-dpu"
    said = sorted((d.vendor for d in found if d.vendor is not None), key=lambda vendor: vendor.order)
    assert [vendor.text for vendor in said] == [
        "Unsupported keyword in quantization config: 'bits'.",
        "Unsupported keyword in quantization config: 'mix_bit'. ",
        "The bit_width type of input should be int, and in range of [0,32].",
        "The method of input should be in the list ['maxmin', 'entropy', 'mse', 'percentile', 'diffs']",
    ]


def test_a_complaint_names_the_first_tensor_that_an_entry_lists() -> None:
    block = entry("bias", "activation", overall_quantize_config={"calib_statistic_method": "modus", "signed": 1})
    _, found = read(config(layer_quantize_config=[block]))
    texts = {d.pointer.rpartition("/")[2]: d.vendor.text for d in found if d.vendor is not None}
    assert texts["signed"] == "The signed parameter of bias should be a boolean"
    assert texts["calib_statistic_method"].startswith("The calib_statistic_method of activation should be in the list")


# ── fixed mode: what the document means, and what the program then does ──────────────────────


def is_warned_of(found: list[Diagnostic]) -> bool:
    return any(d.severity is not Severity.INFO for d in found)


@pytest.mark.parametrize("record", [pytest.param(r, id=r["id"]) for r in RECORDS if "stops" in r])
@pytest.mark.parametrize("mode", Mode)
def test_what_is_accepted_and_then_stops_is_diagnosed(record: dict[str, Any], mode: Mode, tmp_path: Path) -> None:
    assert is_warned_of(findings(tmp_path, record["config"], mode))


PER_CHANNEL = {"tensor_quantize_config": {"weights": {"per_channel": True}}}


@pytest.mark.parametrize(
    ("document", "code", "name"),
    [
        (config("DPU", {"method": "maxmin"}), "Q0402", "dpu-method-ignored"),
        (config("DPU", {"signed": False}), "Q0402", "dpu-sign-ignored"),
        (config("DPU", {"bit_width": 4}), "Q0402", "dpu-eight-bits"),
        (config("CPU", CPU | {"bit_width": 32}), "Q0402", "width-overflow"),
        (config("GPU", CPU | {"method": "mse", "round_mode": "half_up"}), "Q0402", "mse-rounding"),
        (config("CPU", CPU | {"signed": False}), "Q0402", "unsigned-negative"),
        (config("CPU", CPU | {"symmetry": False}), "Q0402", "may-divide-by-zero"),
        (config("CPU", CPU, **PER_CHANNEL), "Q0402", "may-lose-channels"),
        (config("CPU", CPU | {"signed": False}, **PER_CHANNEL), "Q0402", "channel-unsigned"),
        (config("CPU", CPU | {"symmetry": False}, **PER_CHANNEL), "Q0402", "channel-asymmetric"),
        (config("CPU", CPU, tensor_quantize_config={"weights": {"bit_width": 4}}), "Q0402", "input-width"),
        (config("CPU", CPU, layer_quantize_config=[entry(layer_type="PReLU")]), "Q0402", "prelu-parameter"),
        (config("TPU"), "Q0212", None),
        (config(None), "Q0202", None),
        (config("CPU", {"bit_width": True}), "Q0202", None),
        (config("CPU", {"bit_width": 0}), "Q0211", None),
        (config("CPU", {"symmetry": None}), "Q0211", None),
        (config(include_cle="false"), "Q0202", None),
        (config(keep_add_layer_accuracy=True), "Q0313", None),
        (config(quantizable_data_type=["weights"]), "Q0313", None),
        (config("CPU", {"percentage": 99.0}), "Q0313", None),
        (config(tensor_quantize_config={"weights": {"calib_statistic_method": "max"}}), "Q0313", None),
        (config(layer_quantize_config=[entry(layer_type="BatchNorm2d")]), "Q0206", None),
    ],
)
def test_what_the_program_does_otherwise_is_said(
    document: dict[str, Any], code: str, name: str | None, tmp_path: Path
) -> None:
    found = findings(tmp_path, document)
    assert code in codes(found)
    assert name is None or any(note == f"known as `{name}`" for d in found for note in d.notes)
    assert verdict(findings(tmp_path, document, "vendor")) == "accepted"


def test_a_restriction_shows_the_setting_the_target_and_itself(tmp_path: Path) -> None:
    found = findings(tmp_path, config("DPU", {"scale_type": "float"}))
    assert [(d.code, d.name) for d in found] == [("Q0401", "dpu-pow2")]
    texts = [label.span.text for label in found[0].labels]
    assert texts == ['"float"', '"DPU"', "type == int => scale == pow2"]
    assert found[0].labels[-1].span.source.path == "specs/targets/vitis-dpu.qsim"
    assert found[0].helps == ('write `"scale_type": "poweroftwo"`',)
    assert found[0].pointer == "/overall_quantize_config/scale_type"
    assert found[0].vendor is not None
    assert found[0].vendor.text == "Only support poweroftwo scale type in DPU device if datatype is int"


def test_one_setting_that_breaks_a_restriction_for_every_tensor_is_one_finding(tmp_path: Path) -> None:
    found = findings(tmp_path, config("DPU", {"symmetry": False}))
    assert [d.name for d in found] == ["dpu-symmetric"]
    assert "input, weight, bias and output" in found[0].message


def test_a_default_that_a_setting_does_not_fit_is_named(tmp_path: Path) -> None:
    found = findings(tmp_path, config("CPU", {"symmetry": False}))
    assert [d.name for d in found if d.code == "Q0401"] == ["pow2-symmetric"]
    assert "`scale=pow2` is the default of input" in found[0].notes


def test_what_cannot_be_read_is_not_taken_for_the_default(tmp_path: Path) -> None:
    assert codes(findings(tmp_path, config("CPU", CPU | {"method": "kl"}))) == ["Q0202"]


def test_what_a_layer_inherits_is_reported_where_it_is_said(tmp_path: Path) -> None:
    document = config("DPU", {"symmetry": False}, layer_quantize_config=[entry()])
    assert codes(findings(tmp_path, document)) == ["Q0401"]


def test_a_layer_is_judged_on_what_it_inherits(tmp_path: Path) -> None:
    document = config(
        "CPU", CPU | {"method": "mse"}, layer_quantize_config=[entry(overall_quantize_config={"symmetry": False})]
    )
    found = [d for d in findings(tmp_path, document) if d.code == "Q0401"]
    assert [d.name for d in found] == ["float-symmetric"]
    assert found[0].pointer.startswith("/layer_quantize_config/0")


def test_a_lost_percentage_is_said_to_be_lost(tmp_path: Path) -> None:
    overall = CPU | {"method": "percentile", "percentage": 99.0}
    document = config("CPU", overall, tensor_quantize_config={"activation": {"round_mode": "half_up"}})
    assert codes(findings(tmp_path, document)) == ["Q0312"]


def test_the_later_of_two_entries_counts(tmp_path: Path) -> None:
    first = entry("weights", layer_type="torch.nn.Conv2d", overall_quantize_config={"narrow_range": True})
    document = config(layer_quantize_config=[first, entry("bias")])
    assert codes(findings(tmp_path, document)) == ["Q0309"]
    assert lines(read(document)[0]) == ["Conv2d[bias]: on"]


@pytest.mark.parametrize(
    ("key", "said", "help_"),
    [
        ("method", "half_up", "`half_up` is a `round_mode`: write it there"),
        ("round_mode", "percentile", "`percentile` is a `method`: write it there"),
        ("method", "minmax", "did you mean `maxmin`?"),
        ("round_mode", "std", "did you mean `std_round`?"),
        ("scale_type", "pow2", "did you mean `poweroftwo`?"),
        ("scale_type", "flaot", "did you mean `float`?"),
    ],
)
def test_a_word_in_the_wrong_place_is_sent_to_the_right_one(tmp_path: Path, key: str, said: str, help_: str) -> None:
    found = [d for d in findings(tmp_path, config("CPU", CPU | {key: said})) if d.code == "Q0202"]
    assert [d.helps for d in found] == [(help_,)]


# ── targets ──────────────────────────────────────────────────────────────────────────────────


def test_a_target_on_the_command_line_takes_the_place_of_the_file_s(tmp_path: Path) -> None:
    document = config("CPU", CPU)
    assert not findings(tmp_path, document)
    names = {d.name for d in findings(tmp_path, document, target="vitis-dpu")}
    assert {"dpu-pow2", "dpu-modal", "dpu-round-output", "dpu-round-params"} <= names


def test_what_a_file_of_no_vendor_leaves_open_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("*[output]: on\n*[param]: on symmetric per_tensor\n")
    assert not check(path, target="vitis-dpu")
    path.write_text("*[output]: on\n*[param]: on symmetric type=int per_channel\n")
    found = check(path, target="vitis-dpu")
    assert [(d.code, d.name) for d in found] == [("Q0401", "dpu-per-tensor")]
    assert "bias" in found[0].message


def test_what_another_tool_does_in_silence_counts(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("dialect aimet\n*[output]: on\n*[param]: on symmetric\n")
    found = check(path, target="vitis-dpu")
    assert [(d.code, d.name, d.file) for d in found] == [
        ("Q0401", "dpu-symmetric", str(path)),
        ("Q0401", "dpu-pow2", str(path)),
    ]
    assert "`asymmetric` is the default of input" in found[0].notes


def test_an_unknown_target_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="vitis-dpu"):
        findings(tmp_path, config(), target="vitis-tpu")


VITIS = [name for name in targets.hardware() if name.startswith("vitis-")]


@pytest.mark.parametrize("name", VITIS)
def test_a_target_accepts_its_own_defaults(name: str, tmp_path: Path) -> None:
    device = {target: device for device, target in keymap.load("vitis").devices.items()}[name]
    for mode in Mode:
        assert not findings(tmp_path, {"target_device": device}, mode)


@pytest.mark.parametrize("name", targets.hardware())
def test_every_restriction_of_a_target_has_a_name_and_a_reason(name: str) -> None:
    restrictions = targets.load(name).config.restrictions
    assert all(r.name and r.message for r in restrictions)
    assert len({r.name for r in restrictions}) == len(restrictions)


def test_every_conflict_is_about_signs() -> None:
    for restriction in targets.conflicts().restrictions:
        assert Ref(targets.CONFLICTING) in refs(restriction.predicate)


def test_every_quoted_restriction_exists() -> None:
    names = {r.name for name in VITIS for r in targets.load(name).config.restrictions}
    assert set(keymap.load("vitis").says) == names


# ── no text brings the checks down ───────────────────────────────────────────────────────────

_SCALARS = st.none() | st.booleans() | st.integers(-1, 33) | st.floats(0, 101) | st.sampled_from(
    ["", "x", "DPU", "maxmin", "percentile", "half_up", "int", "float16", "weights", "activation"]
)  # fmt: skip
_KEYS = st.sampled_from(
    [*keymap.load("vitis").root.literal, *KINDS, "layer_type", "layer_name", "bit_width", "method", "a/~b"]
)
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)
_BLOCKS = st.dictionaries(
    st.sampled_from(["datatype", "bit_width", "method", "round_mode", "symmetry", "per_channel", "percentage"]),
    _SCALARS,
)
_LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "target_device": st.sampled_from(["DPU", "CPU", "GPU", "FLEXML"]) | _ANYTHING,
        "quantizable_data_type": _ANYTHING,
        "overall_quantize_config": _BLOCKS | _ANYTHING,
        "tensor_quantize_config": st.dictionaries(st.sampled_from(KINDS), _BLOCKS | _ANYTHING) | _ANYTHING,
        "layer_quantize_config": st.lists(_ANYTHING, max_size=3) | _ANYTHING,
        "include_cle": _ANYTHING,
    },
)


@settings(max_examples=150)
@given(_LIKELY | _ANYTHING)
def test_no_document_brings_the_checks_down(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(document))
    for mode in Mode:
        examined(str(path), format="vitis", mode=mode)
    if verdict(check(path, mode="vendor", format="vitis")) == "rejected":
        assert first_complaint(check(path, mode="vendor", format="vitis")) is not None
