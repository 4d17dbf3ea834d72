"""What selectors find in a model, and what is said of those that find nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from qsimc.diagnostics import Diagnostic
from qsimc.pipeline.check import check

MODEL = """
<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
{
  [conv_a] a = Relu(x)
  [conv_b] b = Sigmoid(a)
  [last] y = Relu(b)
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


def found(tmp_path: Path, model: Path, rules: str) -> list[Diagnostic]:
    config = tmp_path / "c.qsim"
    config.write_text(f"*: on\n{rules}\n", encoding="utf-8")
    return [d for d in check(config, model=str(model)) if d.code in ("Q0549", "Q0550")]


def test_rules_that_find_their_nodes_need_no_word(tmp_path: Path, model: Path) -> None:
    assert found(tmp_path, model, 'Relu: bits=4\n"last": bits=8\n~"conv_*": bits=16') == []


def test_a_name_that_no_node_has_is_a_warning_with_the_nearest(tmp_path: Path, model: Path) -> None:
    (d,) = found(tmp_path, model, '"conv_aa": bits=4')
    assert (d.code, d.severity, d.helps) == ("Q0550", "warning", ("did you mean `conv_a`?",))
    span = d.labels[0].span
    assert (span.line, span.column, span.text) == (2, 2, "conv_aa")
    assert d.fixes[0].edits[0].text == "conv_a"


def test_a_pattern_that_no_name_is_like_is_a_warning(tmp_path: Path, model: Path) -> None:
    (d,) = found(tmp_path, model, '~"block*/conv": bits=4')
    assert "a name like `block*/conv`" in d.message


def test_operators_that_the_model_lacks_are_counted_once(tmp_path: Path, model: Path) -> None:
    (d,) = found(tmp_path, model, "Relu: bits=4\nConv: bits=4\n(Gemm | Sigmoid): bits=4\nMatMul[weight]: bits=4")
    assert d.code == "Q0549"
    assert d.message == "2 of 4 selectors find nothing in this model"
    assert [label.text for label in d.labels] == ["finds no `Conv`", "finds no `MatMul`"]
    assert d.notes == ("nodes found: `Relu` 2, `(Gemm | Sigmoid)` 1",)


def test_what_a_target_says_is_not_counted(tmp_path: Path, model: Path) -> None:
    config = tmp_path / "t.qsim"
    config.write_text("extends target aimet-default\n", encoding="utf-8")
    assert [d for d in check(config, model=str(model)) if d.code == "Q0549"] == []
