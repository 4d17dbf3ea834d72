"""Vitis AI configurations: judged as vai_q_pytorch judges them, and warned about where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qsimc.diagnostics import Diagnostic, Severity, first_complaint
from qsimc.planning.plan import Mode
from tests.unit.vitis_documents import CPU, RECORDS, ROOT, codes, config, entry, findings, lines, read, verdict

SHARED = ROOT.parent / "shared"


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
