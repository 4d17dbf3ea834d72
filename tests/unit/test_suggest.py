"""The fewest edits that make a configuration legal: found, written in its own format, and checked again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qsimc import cli
from qsimc.diagnostics import Severity
from qsimc.pipeline.check import check_source
from qsimc.pipeline.edits import insert_member, insert_statement
from qsimc.pipeline.suggest import MAX_EDITS, Suggestion, suggest
from qsimc.source import Source

ROOT = Path(__file__).parents[2]
RECORDS = [json.loads(line) for line in (ROOT / "tests/data/vitis_check.jsonl").read_text().splitlines()]


def titles(found: Suggestion) -> list[str]:
    assert found.proposals is not None
    return [proposal.title for proposal in found.proposals]


def ask(text: str, target: str, path: str = "c.qsim") -> Suggestion:
    return suggest(Source(path, text), target=target)


def legal(text: str, target: str) -> bool:
    _, found = check_source(Source("c", text), target=target)
    return not [d for d in found if d.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("*: symmetric\n", "tensorrt-qdq", []),
        ("*: asymmetric\n", "tensorrt-qdq", ["write `symmetric` instead of `asymmetric`"]),
        ("*[weight]: bits=16\n", "tflite-int8", ["write `bits=8` instead of `bits=16`"]),
        ("*[act]: type=int bits=2\n", "htp-v73", ["write `bits=4` instead of `bits=2`"]),
        # One `let` is one edit.
        ("let a = calib=mse\nConv: @a\nGemm: @a\n", "htp-v73", ["write `calib=minmax` instead of `calib=mse`"]),
        # The same setting cannot be right for weights and biases: one of them gets a line of its own.
        (
            "*: on type=int bits=8 signed symmetric narrow_range\n",
            "tflite-int8",
            ["add `*[bias]: bits=32`"],
        ),
        # What a tensor is, and whether it is quantized, is left alone where the restriction only supposes it.
        ("*: type=int round=std\n", "tensorrt-qdq", ["write `round=half_even` instead of `round=std`"]),
        ("*: type=float16\n", "tflite-int8", ["write `type=int` instead of `type=float16`"]),
        ("*[bias]: on\n", "qnnpack", ["write `off` instead of `on`"]),
        ("Softmax[output]: range=0..1\n", "tflite-int8", ["write `range=0..0.99609375` instead of `range=0..1`"]),
    ],
)
def test_edits_of_qsim(text: str, target: str, expected: list[str]) -> None:
    found = ask(text, target)
    assert titles(found) == expected
    assert legal(found.after, target)


def test_edits_say_where() -> None:
    found = ask("*[output]: on\n*[output]: symmetric per_channel\n", "tensorrt-qdq")
    assert found.proposals == ()
    found = ask("*[output]: on\n*[output]: asymmetric unsigned\n", "tensorrt-qdq")
    assert found.proposals is not None
    assert [(p.span.line, p.span.column) for p in found.proposals] == [(2, 12), (2, 23)]
    assert found.after == "*[output]: on\n*[output]: symmetric signed\n"


def test_every_edit_is_needed() -> None:
    lines = ["*: asymmetric", "Conv[weight]: unsigned", "Gemm[output]: type=int bits=4"]
    found = ask("\n".join(lines) + "\n", "tensorrt-qdq")
    assert len(titles(found)) == 3
    after = found.after.splitlines()
    for left in range(3):
        mixed = [old if at == left else new for at, (old, new) in enumerate(zip(lines, after, strict=True))]
        assert not legal("\n".join(mixed) + "\n", "tensorrt-qdq")


def test_a_file_that_is_extended_is_not_edited(tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("*[output]: asymmetric\n")
    text = 'extends "base.qsim"\n'
    found = ask(text, "tensorrt-qdq", str(tmp_path / "c.qsim"))
    assert titles(found) == ["add `*[output]: symmetric`"]
    assert found.after == f"{text}*[output]: symmetric\n"


def aimet(**sections: Any) -> str:
    base: dict[str, Any] = {
        "defaults": {
            "ops": {"is_output_quantized": "True"},
            "params": {"is_quantized": "True", "is_symmetric": "True"},
        },
        "params": {"bias": {"is_quantized": "False"}},
        "op_type": {},
        "supergroups": [],
        "model_input": {"is_input_quantized": "True"},
        "model_output": {},
    }
    return json.dumps(base | sections, indent=2) + "\n"


def test_edits_of_aimet_json() -> None:
    text = aimet(op_type={"Tanh": {"encoding_constraints": {"min": -1, "max": 1}}})
    found = ask(text, "tflite-int8", "c.json")
    assert titles(found) == [
        'add `"strict_symmetric": "True"` to defaults: *: narrow_range',
        'write `"encoding_constraints": {"min": -1, "max": 0.9921875}` instead of `{ "min": -1, "max": 1 }`'
        ": Tanh[output]: range=-1..0.9921875",
    ]
    expected = json.loads(text)
    expected["defaults"]["strict_symmetric"] = "True"
    expected["op_type"]["Tanh"]["encoding_constraints"]["max"] = 0.9921875
    assert json.loads(found.after) == expected
    assert legal(found.after, "tflite-int8")


def test_what_a_format_cannot_say_is_named() -> None:
    found = ask(aimet(), "vitis-dpu", "c.json")
    assert found.proposals is None
    assert found.blocked == "dpu-pow2"


def test_edits_of_vitis_json_are_those_of_its_document() -> None:
    text = json.dumps({"target_device": "DPU", "overall_quantize_config": {"round_mode": "std_round"}}, indent=1)
    found = ask(text, "vitis-dpu", "c.json")
    assert titles(found) == [
        'add `"tensor_quantize_config": {"activation": {"round_mode": "half_up"}}` to the top level'
        ": *[output]: round=half_up"
    ]
    assert legal(found.after, "vitis-dpu")


def test_edits_of_an_entry_stay_in_it() -> None:
    entry = {
        "layer_type": "Conv2d",
        "quantizable_data_type": ["weights"],
        "overall_quantize_config": {"symmetry": False, "per_channel": True},
    }
    text = json.dumps({"target_device": "DPU", "layer_quantize_config": [entry]}, indent=1)
    found = ask(text, "vitis-dpu", "c.json")
    assert [p.span.text for p in found.proposals or ()] == ["false", "true"]
    (after,) = json.loads(found.after)["layer_quantize_config"]
    assert after["overall_quantize_config"] == {"symmetry": True, "per_channel": False}


@cache
def broken_records() -> list[tuple[str, str]]:
    """Return recorded configurations with a target whose restrictions they break."""
    texts = [json.dumps(record["config"], indent=1) for record in RECORDS if isinstance(record.get("config"), dict)]
    return [(text, target) for text in texts for target in ("vitis-dpu", "vitis-cpu") if "Q0401" in codes(text, target)]


def codes(text: str, target: str) -> list[str]:
    return [d.code for d in check_source(Source("c.json", text), target=target)[1]]


@cache
def suggested() -> list[tuple[str, str, Suggestion]]:
    return [(text, target, ask(text, target, "c.json")) for text, target in broken_records()]


def test_every_recorded_configuration_is_made_legal() -> None:
    assert len(suggested()) > 50
    for text, target, suggestion in suggested():
        assert suggestion.proposals, text
        assert "Q0401" not in codes(suggestion.after, target)
        assert len(suggestion.proposals) <= MAX_EDITS


def test_no_shorter_list_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    short = [(text, target, titles(found)) for text, target, found in suggested() if len(titles(found)) <= 2]
    assert len(short) > 20
    # Without a bound from below, every shorter list is tried before a longer one.
    monkeypatch.setattr("qsimc.pipeline.suggest._at_least", lambda broken, ways: 0)
    for text, target, edits in short:
        assert len(titles(ask(text, target, "c.json"))) == len(edits)


def test_a_large_file_ends_the_search() -> None:
    text = "".join(f"Op{n}: asymmetric unsigned\n" for n in range(500))
    assert ask(text, "tensorrt-qdq").proposals is None


@pytest.mark.parametrize(
    ("text", "keys", "expected"),
    [
        ("{}", ["a"], '{"a": 1}'),
        ('{"b": 2}', ["a"], '{"b": 2, "a": 1}'),
        ('{\n  "b": 2\n}', ["a"], '{\n  "b": 2,\n  "a": 1\n}'),
        ('{"b": {}}', ["b", "c", "a"], '{"b": {"c": {"a": 1}}}'),
        ('{"b": [{"x": 0}]}', ["b", "0", "a"], '{"b": [{"x": 0, "a": 1}]}'),
        ('{"b": []}', ["c", "a"], '{"b": [], "c": {"a": 1}}'),
    ],
)
def test_a_member_is_added(text: str, keys: Sequence[str], expected: str) -> None:
    assert insert_member(text, keys, "1")[2] == expected


@pytest.mark.parametrize(("text", "expected"), [("", "a\n"), ("b", "b\na\n"), ("b\n", "b\na\n")])
def test_a_statement_is_added(text: str, expected: str) -> None:
    assert insert_statement(text, "a") == expected


def test_the_command_lists_edits_and_says_so_in_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("*: asymmetric\n")
    assert cli.run(["check", str(path), "--target", "tensorrt-qdq", "--suggest"]) == 1
    out = capsys.readouterr().out
    assert out == (
        f"{path}: 1 edit makes it legal for `tensorrt-qdq`\n  {path}:1:4: write `symmetric` instead of `asymmetric`\n"
    )
    assert path.read_text() == "*: asymmetric\n"
    assert cli.run(["check", str(path), "--target", "htp-v73", "--suggest"]) == 0
    assert capsys.readouterr().out == f"{path}: legal for `htp-v73` as it is\n"
    assert cli.run(["check", str(path), "--target", "tensorrt-qdq", "--suggest", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["edits"] == [{"title": "write `symmetric` instead of `asymmetric`", "line": 1, "column": 4}]
    assert document["after"] == "*: symmetric\n"


@pytest.mark.parametrize("target", [(), ("--target", "all"), ("--target", "nothing")])
def test_a_suggestion_needs_a_target(target: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("*: asymmetric\n")
    assert cli.run(["check", str(path), "--suggest", *target]) == 2
