"""What the language server offers while one types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lsprotocol import types

from qsimc import resources
from qsimc.formats.qsim import DIALECTS
from qsimc.lsp import choices, statements
from qsimc.lsp.completion import completions
from qsimc.lsp.definition import definition
from qsimc.lsp.positions import View, position
from tests.unit.editor import edited


def chosen(marked: str, path: str = "") -> dict[str, str]:
    """Return what a text becomes by each completion offered at its `¦`, by label."""
    text = marked.replace("¦", "")
    view = View("", path, text)
    found = completions(view, position(view, marked.index("¦")))
    return {item.label: edited(text, [edit]) for item in found if isinstance(edit := item.text_edit, types.TextEdit)}


@pytest.mark.parametrize(
    ("before", "label", "after"),
    [
        ('{"model_input": {¦}}', "is_input_quantized", '{"model_input": {"is_input_quantized": }}'),
        ('{"model_input": {"¦"}}', "is_input_quantized", '{"model_input": {"is_input_quantized": }}'),
        ('{"model_input": {"is_¦": "True"}}', "is_input_quantized", '{"model_input": {"is_input_quantized": "True"}}'),
        ('{"model_input": {"is_¦, "x": 1}}', "is_input_quantized", '{"model_input": {"is_input_quantized": , "x": 1}}'),
        ('{"model_input": {"is_input_quantized": "¦"}}', "True", '{"model_input": {"is_input_quantized": "True"}}'),
        ('{"op_type": {"¦', "Conv", '{"op_type": {"Conv": '),
        ('{"op_type": {"Conv": {"is_¦', "is_symmetric", '{"op_type": {"Conv": {"is_symmetric": '),
        ('{"op_type": {}, "params": {"¦"}}', "weight", '{"op_type": {}, "params": {"weight": }}'),
        ('{"supergroups": [{"op_list": ["Conv", "¦"]}]}', "Relu", '{"supergroups": [{"op_list": ["Conv", "Relu"]}]}'),
        ('{"defaults": {"hw_version": ¦}}', "V73", '{"defaults": {"hw_version": "V73"}}'),
        ('{"defaults": {"supported_kernels": [{¦}]}}', "param", '{"defaults": {"supported_kernels": [{"param": }]}}'),
        ('{"target_device": "¦"}', "DPU", '{"target_device": "DPU"}'),
        (
            '{"overall_quantize_config": {"method": "d¦", "bit_width": 8}}',
            "diffs",
            '{"overall_quantize_config": {"method": "diffs", "bit_width": 8}}',
        ),
        ('{"overall_quantize_config": {"symmetry": t¦}}', "true", '{"overall_quantize_config": {"symmetry": true}}'),
        (
            '{"layer_quantize_config": [{"layer_type": "¦"}]}',
            "Conv2d",
            '{"layer_quantize_config": [{"layer_type": "Conv2d"}]}',
        ),
        ('{"quantizable_data_type": ["input", ¦]}', "weights", '{"quantizable_data_type": ["input", "weights"]}'),
    ],
)
def test_what_is_chosen_takes_the_place_of_what_is_typed(before: str, label: str, after: str) -> None:
    assert chosen(before)[label] == after


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"defaults": {"ops": {¦}}}', {"is_input_quantized", "is_output_quantized", "is_symmetric"}),
        ('{"defaults": {"ops": {"is_symmetric": "True", ¦}}}', {"is_input_quantized", "is_output_quantized"}),
        ('{"defaults": {"ops": {"is_symmetric": ¦}}}', {"True", "False"}),
        ('{"defaults": {"ops": {"is_output_quantized": ¦}}}', {"True"}),  # AIMET refuses the other
        ('{"quantizable_data_type": [¦]}', {"input", "weights", "bias", "activation"}),
        ('{"defaults": {"nonsense": {¦}}}', set()),
        ('{"nonsense": ¦}', set()),
        ("Conv: ¦", set()),
        ("¦", set()),
    ],
)
def test_only_what_is_legal_is_offered(text: str, labels: set[str]) -> None:
    assert chosen(text).keys() == labels


def test_an_empty_file_may_become_any_vendor_s() -> None:
    assert {"defaults", "op_type", "target_device"} <= chosen("{¦}").keys()


# ── completion in .qsim ──────────────────────────────────────────────────────────────────────


def offered(marked: str) -> dict[str, str]:
    return chosen(marked, "config.qsim")


@pytest.mark.parametrize(
    ("before", "label", "after"),
    [
        ("¦", "require", "require"),
        ("op¦\nConv: on", "option", "option\nConv: on"),
        ("Co¦: bits=8", "Conv", "Conv: bits=8"),
        ("dialect ¦", "vitis", "dialect vitis"),
        ("dialect vitis\nCo¦", "Conv2d", "dialect vitis\nConv2d"),
        ("target vitis-¦", "vitis-dpu", "target vitis-dpu"),
        ("extends ta¦", "target", "extends target"),
        ("extends target ¦", "vitis-default", "extends target vitis-default"),
        ("dialect vitis\noption include_¦", "include_cle", "dialect vitis\noption include_cle="),
        ("extends target vitis-dpu\noption include_cle=¦", "true", "extends target vitis-dpu\noption include_cle=true"),
        (
            "dialect aimet\noption supergroup_passes=(MatmulAdd | ¦)",
            "MaskedSoftmax",
            "dialect aimet\noption supergroup_passes=(MatmulAdd | MaskedSoftmax)",
        ),
        ("Conv[¦]: on", "weight", "Conv[weight]: on"),
        ("Conv[\n  input,\n  ¦", "output", "Conv[\n  input,\n  output"),
        ("Conv -> ¦", "Relu", "Conv -> Relu"),
        ("(Conv | ¦): on", "Gemm", "(Conv | Gemm): on"),
        ("Conv: ¦", "symmetric", "Conv: symmetric"),
        ("Conv: bi¦", "bits", "Conv: bits="),
        ("Conv: bi¦=8", "bits", "Conv: bits=8"),
        ("Conv: on calib=m¦ bits=8", "mse", "Conv: on calib=mse bits=8"),
        ("let a = bits=8\nConv: @¦", "@a", "let a = bits=8\nConv: @a"),
        ("let a = sym¦", "symmetric", "let a = symmetric"),
        ("Conv {\n  ¦\n}", "[weight]", "Conv {\n  [weight]: \n}"),
        ("Conv {\n  we¦: on\n}", "[weight]", "Conv {\n  [weight]: on\n}"),
        ("Conv {\n  [weight]: on\n  [¦", "bias", "Conv {\n  [weight]: on\n  [bias"),
        ("Conv {\n  [weight]: on\n}\nfu¦", "fuse", "Conv {\n  [weight]: on\n}\nfuse"),
        ("fuse Conv -> ¦", "Relu", "fuse Conv -> Relu"),
        ("require mo¦", "model", "require model"),
        ("require *: type == ¦", "int", "require *: type == int"),
        ("require *: type == int => calib in (mse | ¦)", "diffs", "require *: type == int => calib in (mse | diffs)"),
        ("require *: type == int => output.¦", "output.bits", "require *: type == int => output.bits"),
        ("require *: symmetric ¦", "and", "require *: symmetric and"),
        # brackets that nobody closed
        ("Conv[weight: on\nGemm: sym¦", "symmetric", "Conv[weight: on\nGemm: symmetric"),
        ("(Conv\nGemm: sym¦", "symmetric", "(Conv\nGemm: symmetric"),
        ("Conv {\n  [weight]: on\nGemm: on\nRe¦", "Relu", "Conv {\n  [weight]: on\nGemm: on\nRelu"),
    ],
)
def test_a_word_takes_the_place_of_what_is_typed(before: str, label: str, after: str) -> None:
    assert offered(before)[label] == after


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("dialect ¦", {*DIALECTS}),
        ("Conv: unsigned_symmetric=¦", {"true", "false"}),
        ("Conv: reduce=¦", {"modal", "max", "mean", "median"}),
        ("Conv[weight]: @¦", set()),
        ("let a = on\nConv: @¦\nlet b = off", {"@a"}),
        ("dialect aimet\noption hw_version=V73 ¦", {"supergroup_passes"}),
        ("option ¦", set()),  # ONNX has none
        ("let ¦", set()),  # any name will do
        ("let a ¦", set()),
        ("Conv ¦", set()),
        ("Conv: range=0..¦", set()),
        ("Conv: per_group=¦", set()),  # there are too many
        ("# tar¦", set()),
        ('extends "b¦', set()),
        ('"conv¦', set()),
    ],
)
def test_only_what_may_be_said_is_offered(text: str, labels: set[str]) -> None:
    assert offered(text).keys() == labels


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("Conv: symmetric ¦", {"symmetric", "asymmetric"}),
        ("Conv: bits=8 ¦", {"bits"}),
        ("Conv[weight, ¦", {"weight"}),
        ("target ¦", {"vitis-default"}),  # a configuration, which may be extended only
        ("Conv: on\n¦", {"bits", "@a"}),
    ],
)
def test_what_is_said_already_or_has_no_place_is_not_offered(text: str, absent: set[str]) -> None:
    labels = offered(text).keys()
    assert labels
    assert not labels & absent


def test_the_dialect_is_that_of_the_file_that_is_extended(tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("dialect vitis\n")
    found = chosen('extends "base.qsim"\noption ¦', str(tmp_path / "config.qsim"))
    assert "include_cle" in found


def test_the_keywords_are_those_of_the_grammar() -> None:
    grammar = resources.read("grammar", "qsim.lark")
    (named,) = re.findall(r"^_statement:((?:.*\n)+?)\n", grammar, re.M)
    assert set(choices.KEYWORDS) == set(re.findall(r"\w+", named)) - {"rule", "block"} | {"model"}


def test_every_place_of_broken_qsim_offers_something_or_nothing() -> None:
    text = 'extends target vitis-dpu\nlet a=on\nConv[weight\n(Conv | "x: @a { [input]: kernels=(a/b\n}: range=..1 ~ `c`'
    for end in range(0, len(text) + 1, 9):
        view = View("", "config.qsim", text[:end])
        for at in range(end + 1):
            found = statements.locate(view.text, at)
            assert found is None or 0 <= found.word.start <= at <= found.word.end <= end
            completions(view, position(view, at))
            definition(view, position(view, at))
