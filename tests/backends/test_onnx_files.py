"""What the instrumented and the QDQ model look like to a reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from onnx.helper import make_node
from qsimc_onnx import BACKEND
from qsimc_onnx.export import export
from qsimc_onnx.model import OnnxModel, open_model
from qsimc_onnx.session import run, size

from qsimc.diagnostics import Diagnostic, Severity
from qsimc.ir.quant import Numeric, QuantSpec
from tests.backends.onnx_models import FLOAT16, INT8, data, encoding, model_of, opened, plan_of, small_net, value

TENSORS = ("x", "relu", "y", "conv.weight", "shared")
ENCODINGS = dict.fromkeys(TENSORS, encoding(0.05))


def built(model: OnnxModel, out: Path, *, calibrated: bool) -> ModelProto:
    """Return the instrumented model, checked by ONNX's own checker."""
    plan = plan_of(model, dict.fromkeys(TENSORS, INT8))
    (path,) = BACKEND.build(model, plan, out, ENCODINGS if calibrated else None)
    onnx.checker.check_model(str(path))
    return onnx.load(path)


def exported(model: OnnxModel, out: Path) -> ModelProto:
    plan = plan_of(model, dict.fromkeys(TENSORS, INT8))
    (path,) = BACKEND.export(model, plan, ENCODINGS, out, lambda finding: pytest.fail(str(finding)))
    onnx.checker.check_model(str(path))
    return onnx.load(path)


@pytest.mark.parametrize("opset", [9, 11, 17, 21])
def test_an_uncalibrated_build_computes_what_the_model_computes(opset: int, tmp_path: Path) -> None:
    model = opened(small_net(opset), tmp_path)
    proto = built(model, tmp_path, calibrated=False)
    batch = {"x": data((2, 3, 4, 4))}
    (plain,) = run(model.path, [batch], optimise=False)
    (instrumented,) = run(proto.SerializeToString(), [batch], optimise=False)
    assert plain["y"].tobytes() == instrumented["y"].tobytes()
    assert [f.name for f in proto.functions] == ["Uncalibrated"]


def test_each_quantizer_is_one_named_node_next_to_its_tensor(tmp_path: Path) -> None:
    proto = built(opened(small_net(), tmp_path), tmp_path, calibrated=True)
    names = [node.name for node in proto.graph.node]
    assert [name for name in names if name.startswith("quantize/")] == [
        "quantize/x",
        "quantize/conv.weight",
        "quantize/relu",
        "quantize/shared",
        "quantize/y",
    ]
    assert names.index("quantize/relu") == names.index("relu") + 1
    assert names.index("quantize/shared") == names.index("add") - 1
    assert {f.name for f in proto.functions} == {"FakeQuantize"}


def test_tensors_keep_the_names_that_encodings_are_filed_under(tmp_path: Path) -> None:
    proto = built(opened(small_net(), tmp_path), tmp_path, calibrated=True)
    nodes = {node.name: node for node in proto.graph.node}
    assert list(nodes["relu"].output) == ["relu"]
    assert list(nodes["add"].input) == ["relu_dq", "shared_dq"]
    assert list(nodes["mul"].input) == ["add", "shared_dq"]
    assert list(nodes["concat"].output) == ["y_raw"]
    assert list(nodes["quantize/y"].output) == ["y"]
    quantized = BACKEND.quantized(tmp_path / "m.sim.onnx")
    assert quantized == {
        "x": "x_dq",
        "relu": "relu_dq",
        "y": "y",
        "conv.weight": "conv.weight_dq",
        "shared": "shared_dq",
    }


def test_generated_names_avoid_those_of_the_model(tmp_path: Path) -> None:
    nodes = [
        make_node("Relu", ["x"], ["x_dq"], "quantize/x"),
        make_node("Add", ["x", "x_dq"], ["x_scale"], "x_QuantizeLinear"),
    ]
    model = opened(model_of(nodes, [value("x", [3])], [value("x_scale", [3])]), tmp_path)
    plan = plan_of(model, dict.fromkeys(("x", "x_dq", "x_scale"), INT8))
    encodings = dict.fromkeys(plan.tensors, encoding(0.1))
    batch = {"x": data((3,))}
    simulation = BACKEND.build(model, plan, tmp_path, encodings)[0]
    deployed = BACKEND.export(model, plan, encodings, tmp_path, lambda finding: None)[0]
    (simulated,) = run(simulation, [batch], optimise=False)
    (quantized,) = run(deployed, [batch], optimise=False)
    assert simulated["x_scale"].tobytes() == quantized["x_scale"].tobytes()
    assert BACKEND.quantized(simulation).keys() == {"x", "x_dq", "x_scale"}


def test_constants_are_stored_as_integers_only(tmp_path: Path) -> None:
    proto = exported(opened(small_net(), tmp_path), tmp_path)
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    for tensor in ("conv.weight", "shared"):
        assert stored[f"{tensor}_quantized"].data_type == TensorProto.INT8
        assert tensor not in stored
    assert stored["conv.bias"].data_type == TensorProto.FLOAT
    quantized = [node.input[0] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    assert quantized == ["x", "relu", "y_raw"]


def test_nothing_unread_is_left(tmp_path: Path) -> None:
    nodes = [
        make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(data((3,)))),
        make_node("Add", ["x", "c"], ["y"]),
    ]
    proto = model_of(nodes, [value("x", [3])], [value("y", [3])], {"idle": data((1000,))})
    model = opened(proto, tmp_path)
    export(model, plan_of(model, {"c": INT8}), {"c": encoding(0.1)}, tmp_path, lambda finding: None)
    graph = onnx.load(tmp_path / "m.qdq.onnx").graph
    assert [node.op_type for node in graph.node] == ["DequantizeLinear", "Add"]
    assert {tensor.name for tensor in graph.initializer} == {"c_quantized", "c_scale", "c_zero_point"}


def test_initializers_that_old_models_list_as_inputs_are_replaced_too(tmp_path: Path) -> None:
    proto = small_net(9)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(value(tensor.name, list(tensor.dims)))
    graph = exported(opened(proto, tmp_path), tmp_path).graph
    listed = {i.name for i in graph.input}
    assert "x" in listed
    assert listed.isdisjoint({"conv.weight", "shared"})


@pytest.mark.parametrize(
    ("opset", "bits", "axis", "domain"),
    [
        (9, 8, None, ""),
        (12, 8, 0, ""),
        (13, 8, 0, ""),
        (20, 16, None, "com.microsoft"),
        (20, 4, 1, "com.microsoft"),
        (21, 16, None, ""),
        (21, 4, 1, ""),
    ],
)
def test_standard_operators_are_preferred(opset: int, bits: int, axis: int | None, domain: str, tmp_path: Path) -> None:
    model = opened(small_net(opset), tmp_path)
    grid = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    shape = (64, 5)
    scale = [0.1] * (1 if axis is None else shape[axis])
    encodings = {"matmul.weight": encoding(scale, grid=grid, bits=bits, axis=axis)}
    plan = plan_of(model, {"matmul.weight": INT8})
    export(model, plan, encodings, tmp_path, lambda finding: pytest.fail(str(finding)))
    proto = onnx.load(tmp_path / "m.qdq.onnx")
    assert [node.domain for node in proto.graph.node if node.op_type == "DequantizeLinear"] == [domain]
    assert (domain in {entry.domain for entry in proto.opset_import}) or not domain


def losses(model: OnnxModel, spec: QuantSpec, out: Path, **chosen: object) -> list[Diagnostic]:
    findings: list[Diagnostic] = []
    encodings = {"relu": encoding(0.1, **chosen)} if chosen else {}  # type: ignore[arg-type]
    export(model, plan_of(model, {"relu": spec}), encodings, out, findings.append)
    return findings


def test_what_onnx_cannot_say_stays_float_and_is_reported(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    wide = QuantSpec(enabled=True, type=Numeric.INT, bits=32)
    tiny = QuantSpec(enabled=True, type=Numeric.FLOAT, bits=8)
    for findings in (
        losses(model, wide, tmp_path, grid=(-(2**31), 2**31 - 1), bits=32),
        losses(model, tiny, tmp_path),
        losses(model, INT8, tmp_path),
    ):
        assert [(f.code, f.severity) for f in findings] == [("Q0710", Severity.WARNING)]
        assert "`relu` stays float" in findings[0].message
    assert all(n.op_type != "QuantizeLinear" for n in onnx.load(tmp_path / "m.qdq.onnx").graph.node)


def test_rounding_that_onnx_does_not_have_is_mentioned_once(tmp_path: Path) -> None:
    findings = losses(opened(small_net(), tmp_path), INT8, tmp_path, numerics="aimet")
    assert [(f.code, f.severity) for f in findings] == [("Q0711", Severity.INFO)]


def test_float16_constants_are_stored_in_half_the_space(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    export(model, plan_of(model, {"gemm.weight": FLOAT16}), {}, tmp_path, lambda finding: pytest.fail(str(finding)))
    graph = onnx.load(tmp_path / "m.qdq.onnx").graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert stored["gemm.weight_float16"] == TensorProto.FLOAT16
    assert "gemm.weight" not in stored


def test_models_with_external_data_keep_it_external(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    onnx.save(small_net(), source / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = open_model(str(source / "m.onnx"), lambda finding: pytest.fail(str(finding)))
    assert model is not None
    plan = plan_of(model, dict.fromkeys(TENSORS, INT8))
    simulation = BACKEND.build(model, plan, out, ENCODINGS)
    deployed = BACKEND.export(model, plan, ENCODINGS, out, lambda finding: None)
    assert [path.name for path in simulation] == ["m.sim.onnx", "m.sim.onnx.data"]
    assert [path.name for path in deployed] == ["m.qdq.onnx", "m.qdq.onnx.data"]
    assert size(deployed[0]) == sum(path.stat().st_size for path in deployed)
    batch = {"x": data((2, 3, 4, 4))}
    (simulated,) = run(simulation[0], [batch], optimise=False)
    (quantized,) = run(deployed[0], [batch], optimise=False)
    assert simulated["y"].tobytes() == quantized["y"].tobytes()
    assert open_model(str(simulation[0]), lambda finding: pytest.fail(str(finding))) is not None


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "m.sim.onnx").symlink_to(precious)
    built(opened(small_net(), tmp_path), out, calibrated=True)
    assert precious.read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["m.sim.onnx"]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    first = [built(model, tmp_path, calibrated=True), exported(model, tmp_path)]
    second = [built(model, tmp_path, calibrated=True), exported(model, tmp_path)]
    assert [p.SerializeToString() for p in first] == [p.SerializeToString() for p in second]


def test_shared_encodings_are_those_of_the_owner(tmp_path: Path) -> None:
    model = opened(small_net(), tmp_path)
    plan = plan_of(model, {"matmul": INT8, "y": INT8}, shares={"matmul": "y"})
    path = BACKEND.build(model, plan, tmp_path, {"y": encoding(0.5)})[0]
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert stored["matmul_scale"] == stored["y_scale"] == np.float32(0.5)


@pytest.mark.parametrize(("high", "warned"), [(0.3, True), (1.0, False)])
def test_a_softmax_that_the_optimiser_gets_wrong_is_reported(high: float, warned: bool, tmp_path: Path) -> None:
    proto = model_of([make_node("Softmax", ["x"], ["y"])], [value("x", ["n", 4])], [value("y", ["n", 4])])
    model = opened(proto, tmp_path)
    encodings = {"x": encoding(0.1), "y": encoding(high / 255, grid=(0, 255))}
    found: list[Diagnostic] = []
    BACKEND.export(model, plan_of(model, dict.fromkeys(("x", "y"), INT8)), encodings, tmp_path, found.append)
    assert [d.code for d in found] == (["Q0713"] if warned else [])
