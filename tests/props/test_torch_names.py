"""Whatever a model calls its tensors: the generated module is the same code with other words in it."""

from __future__ import annotations

import ast
import keyword

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import OnnxModel
from qsimc_torch.build import filled, generated_of
from qsimc_torch.names import attribute_paths, identifier, local, printable, reference, string

from qsimc.ir.quant import Numeric, QuantSpec
from qsimc.planning.plan import Kind, Mode, Plan, Reason, TensorPlan

PAYLOADS = [
    '"); boom("', "'); boom('", '"""', "\\", "\n    boom()", "\r\nboom()", "\u2028boom()", "\x85boom()", "\x00",
    "{{ boom() }}", "{% boom %}", "{boom}", "# noqa", "def", "self", "torch", "F", "__class__", "None", "print",
    "a.b", "0", "0.weight", "a..b", ".a", "a.", "forward", "training", "q_x", "A", "a", "\u0430", "x" * 500, "1e5",
    "a.b.c", "\u202eboom", "\ud800",
]  # fmt: skip

texts = st.text(max_size=30) | st.sampled_from(PAYLOADS) | st.builds(str.__add__, st.sampled_from(PAYLOADS), st.text())


@given(texts)
def test_a_string_literal_is_the_text_and_nothing_else(text: str) -> None:
    assert ast.literal_eval(string(text)) == text
    assert string(text).isascii()


@given(texts)
def test_a_comment_stays_on_its_line(text: str) -> None:
    source = f"x = 1  # {printable(text)}\ny = 2\n"
    assert ast.dump(ast.parse(source)) == ast.dump(ast.parse("x = 1\ny = 2\n"))


@given(texts)
def test_identifiers_are_short_and_plain(text: str) -> None:
    for name in (identifier(text), local(text, "Conv")):
        assert name.isidentifier()
        assert name.isascii()
        assert len(name) <= 40


@given(st.lists(texts, unique=True, max_size=12))
def test_paths_are_kept_apart_and_valid(names: list[str]) -> None:
    paths = attribute_paths(names)
    assert len({*paths.values()}) == len(names)
    for path in paths.values():
        ast.parse(reference(path), mode="eval")
        assert not any(keyword.iskeyword(part) for part in path.split("."))
        assert not any(other.startswith(f"{path}.") for other in paths.values())


@pytest.mark.parametrize(
    ("tensor", "op", "name"),
    [
        ("/layer1/layer1.0/relu/Relu_1_output_0", "Relu", "layer1_0_relu_1"),
        ("/layer1.0.conv1/Conv_output_0", "Conv", "layer1_0_conv1"),
        ("onnx::Conv_123", None, "onnx_conv_123"),
        ("12", "Add", "value_12"),
        ("", None, "value"),
    ],
)
def test_locals_read_like_the_modules_they_come_from(tensor: str, op: str | None, name: str) -> None:
    assert local(tensor, op) == name


INT8 = QuantSpec(enabled=True, type=Numeric.INT, bits=8)


@pytest.mark.slow
@settings(max_examples=1700)  # of six names each
@given(st.lists(texts.filter(lambda t: t and "\ud800" not in t and _is_utf8(t)), min_size=6, max_size=6, unique=True))
def test_hostile_names_are_never_code(names: list[str]) -> None:
    fed, weight, bias, product, total, result = names
    nodes = [
        onnx.helper.make_node("MatMul", [fed, weight], [product], name=total),
        onnx.helper.make_node("Add", [product, bias], [total], name=fed),
        onnx.helper.make_node("Relu", [total], [result], name="\n".join(names)),
    ]
    stored = [onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), n) for n in (weight, bias)]
    ends = [onnx.helper.make_tensor_value_info(n, 1, [3, 3]) for n in (fed, result)]
    proto = onnx.helper.make_model(onnx.helper.make_graph(nodes, fed, ends[:1], ends[1:], stored))
    model = OnnxModel(f"{weight}.onnx", read_graph(proto), proto)
    generated = generated_of(model, everything(model, Reason(bias)), {})
    plain = OnnxModel("plain.onnx", model.graph, proto)
    expected = kinds(generated_of(plain, everything(plain, Reason("rule")), {}).text)
    assert kinds(generated.text) - {ast.Subscript} == expected - {ast.Subscript}  # a parameter may be `self[0].weight`
    module = filled(generated, model)
    values = torch.randn(3, 3)
    assert torch.equal(module(values), torch.relu(values + torch.eye(3)))
    assert {tensor for q in module.quantizers() for tensor in q.tensors} == {*names}


def everything(model: OnnxModel, reason: Reason) -> Plan:
    """Return a plan that quantizes every tensor."""
    tensors = {
        t: TensorPlan(
            tensor=t, kind=Kind.ACTIVATION, role="output", node=None, op=None, spec=INT8, because={"enabled": reason}
        )
        for t in model.graph.tensors
    }
    return Plan(graph=model.graph, tensors=tensors, dialect="aimet", mode=Mode.FIXED)


def kinds(source: str) -> set[type[ast.AST]]:
    """Return what kinds of nodes the syntax tree of a module has, and check what it calls."""
    tree = ast.parse(source)
    assert source.isascii()
    assert "boom" not in {node.func.id for node in ast.walk(tree) if _calls_a_name(node)}  # type: ignore[attr-defined]
    return {type(node) for node in ast.walk(tree)}


def _calls_a_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def _is_utf8(text: str) -> bool:
    return all(not 0xD800 <= ord(char) < 0xE000 for char in text)
