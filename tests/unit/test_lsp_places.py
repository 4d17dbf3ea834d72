"""Where the language server finds things: definitions, keys under the mouse, offsets."""

from __future__ import annotations

import pytest
from lsprotocol.types import Position, PositionEncodingKind

from qsimc.lsp.cursor import locate
from qsimc.lsp.definition import definition
from qsimc.lsp.hover import hover
from qsimc.lsp.positions import View, offset, position
from tests.unit.editor import AIMET, span_of

VITIS = """{
  "target_device": "DPU",
  "quantizable_data_type": ["input"],
  "overall_quantize_config": {"method": "diffs"},
  "layer_quantize_config": []
}
"""


@pytest.mark.parametrize(
    ("text", "part", "said"),
    [
        (AIMET, "is_output_quantized", ("whether the tensor is quantized", "tensors: `output`", 'values: `"True"`')),
        (AIMET, "model_input", ("a section of the AIMET", "keys: `is_input_quantized`")),
        (VITIS, "method", ("how the range is estimated", 'values: `"maxmin"`')),
        (VITIS, "target_device", ("the hardware", '`"FLEXML"`')),
        (VITIS, "layer_quantize_config", ("an array of the Vitis AI configuration",)),
        ('{"op_type": {"Conv": {}}', "Conv", ("the rules of one operator type",)),
    ],
)
def test_a_description_says_what_a_key_means(text: str, part: str, said: tuple[str, ...]) -> None:
    found = hover(View("", "", text), span_of(text, part).start)
    assert found is not None
    assert found.range == span_of(text, f'"{part}"')
    assert all(words in str(found.contents) for words in said)


@pytest.mark.parametrize(("text", "part"), [(AIMET, "True"), ("[1]", "1"), ('{"target_device": "DPU", "x" 1', "DPU")])
def test_what_is_no_key_is_not_described(text: str, part: str) -> None:
    assert hover(View("", "", text), span_of(text, part).start) is None


# ── definition ───────────────────────────────────────────────────────────────────────────────


def decided(marked: str, path: str = "config.qsim") -> list[str]:
    """Return the texts that an editor goes to from the `¦` of a text."""
    text = marked.replace("¦", "")
    view = View("file:///config", path, text)
    found = definition(view, position(view, marked.index("¦")))
    assert {location.uri for location in found} <= {view.uri}
    return [text[offset(view, found.range.start) : offset(view, found.range.end)] for found in found]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Conv: b¦its=8\nConv: bits=4", ["bits=4"]),  # the later
        ("Conv: bits=8\nConv: b¦its=4", ["bits=4"]),  # it wins already
        ("*: b¦its=8\nConv: bits=4\nGemm: bits=2", ["bits=8", "bits=4", "bits=2"]),  # the more specific
        ("Conv[weight]: bits=4\nConv: b¦its=8", ["bits=8", "bits=4"]),
        ("Conv[weight]: b¦its=4\nConv: bits=8", ["bits=4"]),
        ("Conv[act]: b¦its=8\nConv[input]: bits=4\nConv[output]: bits=2", ["bits=4", "bits=2"]),
        ("(Conv | Gemm): b¦its=8\n(Gemm | Relu): bits=4", ["bits=8", "bits=4"]),
        ("Conv: b¦its=8\nConv: type=float16", ["type=float16"]),  # which says its width
        ("model[input]: o¦n\nmodel[input]: off", ["off"]),
        ("C¦onv: on bits=8\nConv: bits=4", ["Conv: on bits=8", "bits=4"]),  # a rule that wins in part
        ("Co¦nv { *: bits=8\n [weight]: bits=4\n }", ["Conv { *: bits=8\n [weight]: bits=4\n }"]),
        ("Conv { *: b¦its=8\n [weight]: bits=4\n }", ["bits=8", "bits=4"]),
        ("Conv { [we¦ight]: bits=4\n }\nConv[weight]: bits=8", ["bits=8"]),
        ("let a = bits=4\nConv: b¦its=8\nConv: @a", ["Conv: @a"]),
        ("let a = b¦its=4\nConv: @a\nConv: bits=8", ["bits=8"]),
        ("let a = on bits=4\nConv: @¦a", ["let a = on bits=4"]),
        ("let a = on\nlet a = off\nConv: @a¦", ["let a = off"]),
        ("Conv: @¦a", []),
        ("dialect vitis\noption include_cle=tr¦ue\noption include_cle=false", ["false"]),
        ("dialect vitis\noption include_cle=tr¦ue", ["true"]),
        ("# Con¦v: on", []),
        ("dia¦lect onnx", []),
    ],
)
def test_the_definition_of_a_setting_is_what_wins_over_it(text: str, places: list[str]) -> None:
    assert decided(text) == places


OVERRULED = """{
  "defaults": {"ops": {"is_output_quantized": "True"}, "params": {"is_symmetric": "True"}},
  "params": {"bias": {"is_symmetric": "False"}},
  "op_type": {"Conv": {"is_output_quantized": "False"}},
  "supergroups": [],
  "model_input": {"is_input_quantized": "True"},
  "model_output": {}
}
"""


@pytest.mark.parametrize(
    ("text", "part", "places"),
    [
        (OVERRULED, "is_output_quantized", ['"True"', '"False"']),
        (OVERRULED, "is_symmetric", ['"True"', '"False"']),
        (OVERRULED, "is_input_quantized", ['"True"']),
        (OVERRULED, "Conv", ['"Conv"']),
        (OVERRULED, "supergroups", []),
        (
            '{"overall_quantize_config": {"bit_width": 8},\n "tensor_quantize_config": {"weights": {"bit_width": 4}}}',
            "bit_width",
            ["8", "4"],
        ),
        ('{"op_type": ', "op_type", []),
    ],
)
def test_the_definition_of_a_key_is_what_wins_over_its_value(text: str, part: str, places: list[str]) -> None:
    at = text.index(part)
    assert decided(f"{text[:at]}¦{text[at:]}", "config.json") == places


@pytest.mark.parametrize("text", ['extends "mis¦sing.qsim"', "target ac¦me", "extends target ac¦me", 'extends "bas¦e'])
def test_what_is_not_there_has_no_place(text: str) -> None:
    assert decided(text) == []


# ── the pieces ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "a", "a\n", "é😀\r\n\r\nb", "a\rb\n😀"])
@pytest.mark.parametrize("encoding", PositionEncodingKind)
def test_offsets_survive_the_way_to_the_editor(text: str, encoding: PositionEncodingKind) -> None:
    view = View("", "", text, encoding)
    inside = [at for at in range(len(text) + 1) if text[at - 1 : at + 1] != "\r\n"]
    assert [offset(view, position(view, at)) for at in inside] == inside


def test_a_place_behind_the_text_is_its_end() -> None:
    view = View("", "", "ab\ncd")
    assert [offset(view, place) for place in (Position(0, 9), Position(1, 9), Position(9, 0))] == [2, 5, 5]


def test_every_place_of_a_broken_text_can_be_located() -> None:
    for text in (AIMET, VITIS, '{"a": [{"b": "x, "c": [}]]}} /* {', "{// x\n", '{"a\\"b": 1'):
        for end in range(len(text) + 1):
            for at in range(end + 1):
                found = locate(text[:end], at)
                assert found is None or 0 <= found.start <= at <= found.end <= end
