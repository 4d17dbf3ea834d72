"""Vitis AI configurations, read to rules."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from qsimc import formats
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.ir.config import Config, show_value
from qsimc.ir.levels import Level, levels
from qsimc.source import Source
from tests.unit.vitis_documents import CPU, RECORDS, codes, config, entry, findings, lines, read

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
