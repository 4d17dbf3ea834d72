"""Opening ONNX files: what is refused, with which code, and that weights stay where they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from onnx.helper import make_function, make_node, make_opsetid
from qsimc_onnx.model import OnnxModel, open_model

from qsimc.diagnostics import Diagnostic, Severity
from tests.backends.onnx_models import data, model_of, opened, small_net, value


def reported(path: Path) -> list[str]:
    """Return the codes reported of a file that does not open."""
    findings: list[Diagnostic] = []
    assert open_model(str(path), findings.append) is None
    assert all(finding.path == str(path) and finding.severity is Severity.ERROR for finding in findings)
    return [finding.code for finding in findings]


def with_external(folder: Path, **entries: str) -> Path:
    """Write a model whose 4 x 4 float weights lie in `w.bin`, with the external data's entries overridden."""
    (folder / "w.bin").write_bytes(data((4, 4)).tobytes())
    proto = model_of(
        [make_node("MatMul", ["x", "w"], ["y"])], [value("x", [2, 4])], [value("y", [2, 4])], {"w": data((4, 4))}
    )
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=text)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_what_cannot_be_read_is_q0501(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent.onnx", tmp_path, tmp_path / "pipe", tmp_path / "a" / "b.onnx"):
        assert reported(path) == ["Q0501"]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100, small_net().SerializeToString()[:-50]])
def test_what_is_not_onnx_is_q0502(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert reported(path) == ["Q0502"]


def test_a_missing_data_file_is_q0503_once(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    (tmp_path / "w.bin").unlink()
    assert reported(path) == ["Q0503"]


@pytest.mark.parametrize(
    "entries",
    [
        {"location": ""},
        {"location": "/etc/passwd"},
        {"location": "../w.bin"},
        {"location": "a/../../w.bin"},
        {"location": "a\\w.bin"},
        {"location": "w.bin\0../x"},
        {"location": "C:w.bin"},
        {"location": "outside"},
        {"location": "folder"},
        {"location": "pipe"},
        {"location": "linked/secret"},
        {"offset": "4"},
        {"offset": "-4"},
        {"offset": "1_0"},
        {"offset": "9" * 30},
        {"length": "1000000000000000"},
        {"length": "16"},
        {"length": "0x40"},
    ],
    ids=repr,
)
def test_unsafe_external_data_is_q0504(entries: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "outside").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    assert reported(with_external(folder, **entries)) == ["Q0504"]


def test_huge_promises_about_external_data_are_q0504(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    proto = onnx.load_model(path, load_external_data=False)
    proto.graph.initializer[0].dims[:] = [2**40, 2**40]
    path.write_bytes(proto.SerializeToString())
    assert reported(path) == ["Q0504"]


def test_external_data_is_checked_wherever_it_hides(tmp_path: Path) -> None:
    bad = TensorProto(name="bad", dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    bad.external_data.add(key="location", value="../secret")
    proto = small_net()
    function = make_function("f", "F", [], ["o"], [make_node("Constant", [], ["o"], value=bad)], [make_opsetid("", 17)])
    proto.functions.append(function)
    proto.graph.node.append(make_node("Constant", [], ["o"], value=bad))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert reported(path) == ["Q0504", "Q0504"]


def _no_graph(proto: ModelProto) -> None:
    proto.ClearField("graph")


def _no_inputs(proto: ModelProto) -> None:
    del proto.graph.input[:]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(data((2, 3, 4, 4)), "x"))


def _undefined(proto: ModelProto) -> None:
    proto.graph.node[1].input[0] = "nobody"


def _cycle(proto: ModelProto) -> None:
    proto.graph.node[0].input[0] = "mul"


def _two_producers(proto: ModelProto) -> None:
    proto.graph.node.append(make_node("Relu", ["x"], ["conv"]))


def _no_output(proto: ModelProto) -> None:
    proto.graph.output[0].name = "nobody"


def _short(proto: ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = 10**6


def _twice(proto: ModelProto) -> None:
    proto.graph.initializer[0].float_data.append(1.0)


def _negative(proto: ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = -4


def _unknown_type(proto: ModelProto) -> None:
    proto.graph.initializer[0].data_type = 99


def _recursive(proto: ModelProto) -> None:
    call = make_node("F", ["a"], ["b"], domain="f")
    proto.functions.append(make_function("f", "F", ["a"], ["b"], [call], [make_opsetid("f", 1)]))


BREAKAGES = (
    _no_graph,
    _no_inputs,
    _undefined,
    _cycle,
    _two_producers,
    _no_output,
    _short,
    _twice,
    _negative,
    _unknown_type,
    _recursive,
)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_nonsense_is_q0505(breakage: Callable[[ModelProto], None], tmp_path: Path) -> None:
    proto = small_net()
    breakage(proto)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert set(reported(path)) == {"Q0505"}


def test_a_quantized_model_opens_with_a_warning(tmp_path: Path) -> None:
    proto = model_of(
        [make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), make_node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        [value("x", [2])],
        [value("y", [2])],
        {"s": np.array(1, np.float32), "z": np.array(0, np.uint8)},
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    findings: list[Diagnostic] = []
    assert open_model(str(path), findings.append) is not None
    assert [(finding.code, finding.severity) for finding in findings] == [("Q0506", Severity.WARNING)]


def external_model(folder: Path) -> OnnxModel:
    model = open_model(str(with_external(folder)), lambda finding: pytest.fail(str(finding)))
    assert model is not None
    return model


def test_external_constants_are_mapped_and_read_only(tmp_path: Path) -> None:
    value = external_model(tmp_path).constant("w")
    np.testing.assert_array_equal(value, data((4, 4)))
    assert isinstance(value, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        value[0, 0] = 1


def test_a_file_swapped_after_opening_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    model = external_model(folder)
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "w.bin").unlink()
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="out of the model's folder"):
        model.constant("w")


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    (tmp_path / "w.bin").rename(tmp_path / "blob")
    (tmp_path / "w.bin").symlink_to("blob")
    assert open_model(str(path), lambda finding: pytest.fail(str(finding))) is not None


def test_opening_reads_no_external_weights(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    proto = onnx.load_model(path, load_external_data=False)
    proto.graph.initializer[0].dims[:] = [4, 10**9]
    path.write_bytes(proto.SerializeToString())
    with (tmp_path / "w.bin").open("r+b") as file:
        file.truncate(16 * 10**9)  # a hole: 16 GB that occupy nothing
    model = open_model(str(path), lambda finding: pytest.fail(str(finding)))
    assert model is not None
    assert model.constant("w")[3, -1] == 0


def test_constants_come_from_initializers_and_constant_nodes(tmp_path: Path) -> None:
    nodes = [
        make_node("Constant", [], ["one"], value_float=1.5),
        make_node("Constant", [], ["many"], value_ints=[1, 2]),
        make_node("Constant", [], ["tensor"], value=onnx.numpy_helper.from_array(data((2,)))),
        make_node("Add", ["x", "one"], ["y"]),
    ]
    proto = model_of(nodes, [value("x", [2])], [value("y", [2])], {"w": data((2, 2))})
    model = opened(proto, tmp_path)
    assert model.constant("one") == np.float32(1.5)
    np.testing.assert_array_equal(model.constant("many"), [1, 2])
    np.testing.assert_array_equal(model.constant("tensor"), data((2,)))
    np.testing.assert_array_equal(model.constant("w"), data((2, 2)))
    assert not model.stores("y")
    with pytest.raises(KeyError):
        model.constant("y")
    assert list(model.inputs) == ["x"]
