"""AIMET JSON and .qsim become the same rules; every mistake is found in one run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qsimc import formats, targets
from qsimc.diagnostics import Diagnostic
from qsimc.ir.config import Config, show_rule
from qsimc.source import Source

MINIMAL: dict[str, Any] = {
    "defaults": {"ops": {"is_output_quantized": "True"}, "params": {"is_quantized": "True", "is_symmetric": "True"}},
    "params": {"bias": {"is_quantized": "False"}},
    "op_type": {},
    "supergroups": [{"op_list": ["Conv", "Relu"]}],
    "model_input": {"is_input_quantized": "True"},
    "model_output": {},
}


def read(text: str, path: str = "c.json") -> tuple[Config | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return formats.read(Source(path, text), found.append), found


def changed(**sections: Any) -> str:
    return json.dumps(MINIMAL | sections, indent=1)


def lines(config: Config | None) -> list[str]:
    assert config is not None
    return [show_rule(r.selector, c.roles, s) for r in config.rules for c in r.clauses for s in c.settings]


def test_every_key_becomes_one_setting() -> None:
    text = changed(
        defaults={
            "ops": {"is_output_quantized": "True", "is_symmetric": "False"},
            "params": {"is_quantized": "True"},
            "strict_symmetric": "False",
            "unsigned_symmetric": "True",
            "per_channel_quantization": "True",
            "hw_version": "V73",
        },
        op_type={
            "Softmax": {"encoding_constraints": {"min": 0, "max": 1.0}},
            "LSTM": {"is_input_quantized": "True", "params": {"bias": {"is_symmetric": "True"}}},
            "Cast": {},
        },
        supergroup_pass_list=["MatmulAdd"],
    )
    config, found = read(text)
    assert not found
    assert lines(config) == [
        "*[output]: on",
        "*[act]: asymmetric",
        "*[param]: on",
        "*: full_range",
        "*: unsigned_symmetric=true",
        "*[param]: per_channel",
        "*[bias]: off",
        "Softmax[output]: range=0..1.0",
        "LSTM[input]: on",
        "LSTM[bias]: symmetric",
        "model[input]: on",
    ]
    assert config is not None
    assert [(o.name, o.value) for o in config.options] == [("hw_version", "V73"), ("supergroup_passes", ("MatmulAdd",))]
    assert len(config.fusions) == 1
    assert any(not rule.clauses and rule.span.text.startswith('"Cast"') for rule in config.rules)


def test_a_setting_points_at_its_value() -> None:
    config, _ = read(changed())
    assert config is not None
    setting = config.rules[0].clauses[0].settings[0]
    assert (setting.span.text, setting.pointer) == ('"True"', "/defaults/ops/is_output_quantized")


@pytest.mark.parametrize(
    ("sections", "code", "pointer", "vendor"),
    [
        ({"suppergroups": []}, "Q0201", "/suppergroups", "Additional properties"),
        ({"params": {"weight": {"is_quantised": "True"}}}, "Q0201", "/params/weight/is_quantised", "Additional"),
        ({"op_type": {"A/b": {"x": "True"}}}, "Q0201", "/op_type/A~1b/x", "Additional"),
        ({"model_input": {"is_input_quantized": True}}, "Q0202", "/model_input/is_input_quantized", "not of type"),
        ({"model_input": {"is_input_quantized": "true"}}, "Q0202", "/model_input/is_input_quantized", "does not match"),
        ({"model_input": {"is_input_quantized": 1}}, "Q0202", "/model_input/is_input_quantized", "1 is not of type"),
        ({"supergroups": [{"op_list": ["Conv"]}]}, "Q0202", "/supergroups/0/op_list", "is too short"),
        ({"supergroups": [{"op_list": ["Conv", 3]}]}, "Q0202", "/supergroups/0/op_list", "3 is not of type"),
        ({"op_type": []}, "Q0203", "/op_type", "is not of type 'object'"),
        ({"supergroups": {}}, "Q0203", "/supergroups", "is not of type 'array'"),
        ({"defaults": {"ops": {}}}, "Q0204", "/defaults", "'params' is a required property"),
        ({"model_input": {"is_input_quantized": "False"}}, "Q0205", "/model_input/is_input_quantized", "only be set"),
        (
            {"op_type": {"Relu": {"encoding_constraints": {"max": 6.0}}}},
            "Q0202",
            "/op_type/Relu/encoding_constraints",
            "'min' is a required property",
        ),
    ],
)
def test_a_mistake_has_a_code_a_pointer_and_the_vendor_s_words(
    sections: dict[str, Any], code: str, pointer: str, vendor: str
) -> None:
    _, found = read(changed(**sections))
    assert [(d.code, d.pointer) for d in found] == [(code, pointer)]
    assert found[0].vendor is not None
    assert vendor in found[0].vendor.text


def test_missing_sections_of_one_place_are_one_finding() -> None:
    _, found = read('{"defaults": {"ops": {}, "params": {}}, "op_type": {}}')
    assert [d.code for d in found] == ["Q0204"]
    assert all(word in found[0].message for word in ("params", "supergroups", "model_input", "model_output"))


def test_a_final_newline_slips_through_aimet_and_counts_as_true() -> None:
    config, found = read(changed(params={"bias": {"is_quantized": "False\n"}}))
    assert [(d.code, d.vendor) for d in found] == [("Q0202", None)]
    assert "*[bias]: on" in lines(config)


def test_of_equal_keys_the_last_one_counts() -> None:
    text = changed().replace('"op_type": {}', '"op_type": {"Conv": {"is_symmetric": "True"}, "Conv": {}}')
    config, found = read(text)
    assert [d.code for d in found] == ["Q0103"]
    assert "Conv[act]: symmetric" not in lines(config)


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', '{"some": "thing"}'])
def test_json_of_no_known_format_is_said_to_be_that(text: str) -> None:
    config, found = read(text)
    assert config is None
    assert [d.code for d in found] == ["Q0107"]


def test_a_named_format_is_taken_at_its_word() -> None:
    found: list[Diagnostic] = []
    formats.read(Source("c.json", "{}"), found.append, "aimet")
    assert [d.code for d in found] == ["Q0204"]


def test_the_builtin_default_reads_without_a_finding() -> None:
    found: list[Diagnostic] = []
    config = formats.read(targets.source("aimet:default"), found.append)
    assert not found
    assert "(Conv | ConvTranspose | Gemm | MatMul | PRelu)[param]: per_channel" in lines(config)


def test_qsim_says_what_json_says() -> None:
    text = """
dialect aimet
*[output]: on
*[param]: on symmetric
*[bias]: off   # accumulators are 32 bits wide
fuse Conv -> Relu
model[input]: on
"""
    mine, found = read(text, "c.qsim")
    theirs, _ = read(changed())
    assert not found
    assert lines(mine) == lines(theirs)


@pytest.mark.parametrize(
    ("line", "code", "column", "said"),
    [
        ("*[output] on", "Q0106", 11, "expected `:`"),
        ("Conv[weight: per_channel", "Q0106", 12, "expected `,` or `]`"),
        ("fuse Conv ->", "Q0106", 13, "found the end of the line"),
        ("*[param]: symetric", "Q0201", 11, "no setting is called `symetric`"),
        ("*[param]: bits=x", "Q0202", 16, "`bits` takes an integer"),
        ("*[param]: bits", "Q0202", 11, "`bits` needs a value"),
        ("*[param]: calib=best", "Q0202", 17, "`calib` takes `minmax`"),
        ("*[param]: @w4", "Q0201", 11, "no `let` above is called `w4`"),
        ("*[param]: bits=99", "Q0202", 16, "an integer from 2 to 32"),
        ("*[param]: percentile=200", "Q0202", 22, "a number from 0 to 100"),
        ("*[param]: kernels=foo", "Q0202", 19, "precisions such as"),
        ("dialect aimett", "Q0201", 9, "no dialect is called `aimett`"),
        ("fuse Conv", "Q0202", 1, "a fusion has at least two operators"),
    ],
)
def test_a_bad_line_costs_only_itself(line: str, code: str, column: int, said: str) -> None:
    config, found = read(f"*[output]: on\n{line}\nConv[weight]: bits=4\n", "c.qsim")
    assert [(d.code, d.labels[0].span.line, d.labels[0].span.column) for d in found] == [(code, 2, column)]
    assert said in found[0].message
    kept = lines(config)
    assert kept[0] == "*[output]: on"
    assert kept[-1] == "Conv[weight]: bits=4"


def test_an_option_that_a_dialect_does_not_have_is_reported() -> None:
    _, found = read("dialect aimet\noption hw=V73\n", "c.qsim")
    assert [(d.code, d.labels[0].span.text) for d in found] == [("Q0201", "hw")]
    # The neutral dialect carries the switches of whichever tool a file was translated from.
    assert read("option hw=V73\n", "c.qsim")[1] == []


def test_lets_blocks_and_sets_are_read() -> None:
    text = """
let w4 = bits=4 symmetric
(Conv | Gemm)[weight]: @w4 calib=mse
MatMul -> Add {
  *: bits=16
  [bias, weight]: off
}
~"*/attn/*"[output]: range=-1..1
"""
    config, found = read(text, "c.qsim")
    assert not found
    assert lines(config) == [
        "(Conv | Gemm)[weight]: bits=4",
        "(Conv | Gemm)[weight]: symmetric",
        "(Conv | Gemm)[weight]: calib=mse",
        "MatMul -> Add: bits=16",
        "MatMul -> Add[bias, weight]: off",
        '~"*/attn/*"[output]: range=-1..1',
    ]


QTYPES = """{
  "Conv": {"supported_qtypes": [
    {"X": "uint8|uint16", "W": "int8[channel_axis=0]|int4[channel_axis=0,block_axis=1,block_size=64]", "B": "int32"},
    {"*": "float"}
  ]},
  "Sigmoid": {"supported_qtypes": [{"X": "uint8", "Y": "uint8[min=0.0,max=1.0]"}]}
}
"""


def test_the_second_aimet_format_is_recognised_and_kept() -> None:
    config, found = read(QTYPES)
    assert not found
    assert config is not None
    assert (config.format, config.dialect) == ("aimet-qtypes", "aimet")
    setting = config.rules[1].clauses[0].settings[0]
    assert (setting.field, setting.value) == ("kernels", ((("X", ("uint8",)), ("Y", ("uint8[min=0.0,max=1.0]",))),))


@pytest.mark.parametrize(
    ("good", "bad", "code", "said"),
    [
        ("int32", "int33", "Q0202", "`int33` is no type"),
        ("block_size=64", "block_sise=64", "Q0202", "`block_sise=64` is no attribute"),
        ("channel_axis=0]|", "channel_axis=x]|", "Q0202", "`channel_axis` cannot be `x`"),
        ('"float"', "3", "Q0202", "found a number"),
        ('{"supported_qtypes": [{"X": "uint8"', '{"suported": [{"X": "uint8"', "Q0201", "no key is called `suported`"),
    ],
)
def test_a_mistake_in_the_second_aimet_format_is_named(good: str, bad: str, code: str, said: str) -> None:
    _, found = read(QTYPES.replace(good, bad, 1))
    assert [d.code for d in found] == [code]
    assert said in found[0].message
