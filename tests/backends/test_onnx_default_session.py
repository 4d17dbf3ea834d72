"""What is exported loads in onnxruntime as people use it: optimised, whatever operator set the float model had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.helper import make_graph, make_node, make_opsetid
from qsimc_onnx.build import build
from qsimc_onnx.opsets import raised
from qsimc_onnx.protos import opset
from qsimc_onnx.session import run

from qsimc.calibrate.encoding import Numerics
from tests.backends.onnx_models import BFLOAT16, INT8, data, encoding, model_of, opened, plan_of, small_net, value
from tests.backends.opset_cases import CASES, LOADS, check, node, shared
from tests.backends.test_onnx_equality import GRIDS

OPSETS = (7, 8, 9, 10, 11, 12, 13, 17, 21)

"""The operator set that exported models are raised to."""

PAIRS = [(name, version) for name, case in CASES.items() for version in range(case.first, case.last + 1)]


# ── what onnxruntime's optimiser does to QDQ models ──────────────────────────────────────────


@pytest.mark.parametrize("version", OPSETS)
@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_loads_at_every_operator_set(grid: str, version: int, tmp_path: Path) -> None:
    low, high, bits = GRIDS[grid]
    middle = 0 if low < 0 else (low + high + 1) // 2
    step = 6 / (high - low)
    # Biases stay float: it is they that the optimiser quantizes with nodes of its own.
    tensors = ("x", "relu", "add", "flat", "gemm.weight", "gemm", "y", "shared")
    encodings = {t: encoding(step * (1 + 0.1 * i), middle, grid=(low, high), bits=bits) for i, t in enumerate(tensors)}
    encodings["conv.weight"] = encoding([step, 2 * step, step / 3, step], middle, grid=(low, high), bits=bits, axis=0)
    deployed, findings = check(small_net(version), tmp_path, encodings, {"x": data((2, 3, 4, 4))})
    assert [d.code for d in findings] == (["Q0714"] if grid in ("int4", "uint4") else [])  # the Relu is dropped
    assert opset(deployed) == max(version, LOADS)


@pytest.mark.parametrize("numerics", ["onnx", "aimet", "aimet-torch"])
@pytest.mark.parametrize("version", OPSETS)
def test_every_simulation_loads_at_every_operator_set(version: int, numerics: Numerics, tmp_path: Path) -> None:
    model = opened(small_net(version), tmp_path)
    encodings = {t: encoding(0.03, 5, numerics=numerics) for t in ("x", "conv.weight", "relu", "y")}
    path = build(model, plan_of(model, dict.fromkeys(encodings, INT8)), tmp_path, encodings)[0]
    (found,) = run(path, [{"x": data((2, 3, 4, 4))}])
    assert np.isfinite(found["y"]).all()


@pytest.mark.parametrize("version", [7, 9, 12])
def test_a_cast_that_the_simulation_cannot_make_is_not_made(version: int, tmp_path: Path) -> None:
    found = check(small_net(version), tmp_path, shared(["x"]), {"x": data((2, 3, 4, 4))}, {"relu": BFLOAT16})
    assert [finding.code for finding in found[1]] == ["Q0710"]


# ── operators that changed ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "version"), PAIRS)
@pytest.mark.parametrize("target", [9, LOADS])
def test_a_raised_model_computes_the_same(name: str, version: int, target: int) -> None:
    case = CASES[name]
    proto = case.model(version)
    copy, obstacle = raised(proto, target)
    assert obstacle is None
    assert opset(copy) == max(version, target)
    onnx.checker.check_model(copy, full_check=True)
    (before,), (after,) = (
        tuple(run(m.SerializeToString(), [{"x": data(case.shape)}], optimise=False)) for m in (proto, copy)
    )
    assert before["y"].shape == after["y"].shape
    assert before["y"].tobytes() == after["y"].tobytes()


@pytest.mark.parametrize(("name", "version"), PAIRS)
def test_changed_operators_load_and_are_equal(name: str, version: int, tmp_path: Path) -> None:
    case = CASES[name]
    _, findings = check(case.model(version), tmp_path, shared(["x", "y"]), {"x": data(case.shape)})
    assert findings == []


@pytest.mark.parametrize("name", ["clip", "clip below", "pad", "softmax of two axes", "reduce sum", "squeeze"])
def test_half_precision_is_raised_in_its_own_type(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    proto = case.model(case.last, TensorProto.FLOAT16)
    copy, obstacle = raised(proto, LOADS)
    assert obstacle is None
    onnx.checker.check_model(copy, full_check=True)
    if name != "pad":  # onnxruntime has no Pad-2 of 16 bits
        check(proto, tmp_path, shared(["x", "y"]), {"x": data(case.shape).astype(np.float16)})


# ── where nodes hide ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("version", [7, 9, 11, 12])
def test_bodies_are_raised(version: int, taken: bool, tmp_path: Path) -> None:
    clip: dict[str, Any] = {"min": 0.0} if version < 11 else {}
    then = make_graph(
        [make_node("Unsqueeze", ["t"], ["u"], axes=[0]), make_node("Squeeze", ["u"], ["a"], axes=[0])],
        "then",
        [],
        [value("a", [2, 3])],
    )
    other = make_graph(
        [make_node("Neg", ["t"], ["n"]), make_node("Clip", ["n"], ["b"], **clip)], "else", [], [value("b", [2, 3])]
    )
    nodes = [make_node("Relu", ["x"], ["t"]), make_node("If", ["which"], ["y"], then_branch=then, else_branch=other)]
    inputs = [value("x", [2, 3]), value("which", [], TensorProto.BOOL)]
    proto = model_of(nodes, inputs, [value("y", [2, 3])], opset=version)
    batch = {"x": data((2, 3)), "which": np.array(taken)}
    _, findings = check(proto, tmp_path, shared(["x", "t", "y"]), batch)
    assert findings == []


def test_bodies_of_loops_are_raised(tmp_path: Path) -> None:
    body = make_graph(
        [
            make_node("Identity", ["go"], ["on"]),
            make_node("Softmax", ["state"], ["s"], axis=0),
            make_node("Add", ["s", "t"], ["next"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", [2, 3])],
        [value("on", [], TensorProto.BOOL), value("next", [2, 3])],
    )
    nodes = [make_node("Relu", ["x"], ["t"]), make_node("Loop", ["n", "", "t"], ["y"], body=body)]
    proto = model_of(nodes, [value("x", [2, 3])], [value("y", [2, 3])], {"n": np.array(3)}, opset=11)
    _, findings = check(proto, tmp_path, shared(["x", "t", "y"]), {"x": data((2, 3))})
    assert findings == []


def test_functions_are_raised(tmp_path: Path) -> None:
    imports = [make_opsetid("", 12)]
    nodes = [make_node("Unsqueeze", ["a"], ["u"], axes=[0]), make_node("Softmax", ["u"], ["b"], axis=2)]
    proto = model_of([node("Twice", domain="mine")], [value("x", [2, 3])], [value("y", [1, 2, 3])], opset=12)
    proto.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], nodes, imports))
    proto.opset_import.append(make_opsetid("mine", 1))
    deployed, findings = check(proto, tmp_path, shared(["x", "y"]), {"x": data((2, 3))})
    assert findings == []
    assert [entry.version for entry in deployed.functions[0].opset_import] == [LOADS]


def test_other_domains_stay_as_they_are(tmp_path: Path) -> None:
    nodes = [
        make_node("Gelu", ["x"], ["t"], domain="com.microsoft"),
        make_node("Unsqueeze", ["t"], ["y"], axes=[0]),
    ]
    proto = model_of(nodes, [value("x", [2, 3])], [value("y", [1, 2, 3])], opset=11)
    proto.opset_import.append(make_opsetid("com.microsoft", 1))
    deployed, findings = check(proto, tmp_path, shared(["x", "t", "y"]), {"x": data((2, 3))})
    assert findings == []
    assert ("com.microsoft", 1) in {(entry.domain, entry.version) for entry in deployed.opset_import}


def test_both_spellings_of_the_standard_domain_are_raised() -> None:
    proto = model_of([node("Squeeze", axes=[1], domain="ai.onnx")], [value("x", [2, 1])], [value("y", [2])], opset=11)
    proto.opset_import[0].domain = "ai.onnx"
    copy, obstacle = raised(proto, LOADS)
    assert obstacle is None
    assert [n.op_type for n in copy.graph.node] == ["Constant", "Squeeze"]
    assert opset(copy) == LOADS


# ── what survives ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "version"), PAIRS)
def test_every_tensor_in_use_keeps_its_name(name: str, version: int) -> None:
    proto = CASES[name].model(version)
    copy, _ = raised(proto, LOADS)
    before = {n for one in proto.graph.node for n in (*one.input, *one.output)} - {"mask"}
    after = {n for one in copy.graph.node for n in (*one.input, *one.output)}
    assert before <= after
    made = [n for one in copy.graph.node for n in one.output]
    assert len(made) == len(set(made))


def test_new_names_avoid_those_in_use() -> None:
    nodes = [make_node("Relu", ["x"], ["y_axes"]), make_node("Squeeze", ["y_axes"], ["y"], axes=[1])]
    copy, _ = raised(model_of(nodes, [value("x", [2, 1])], [value("y", [2])], opset=11), LOADS)
    assert [list(one.output) for one in copy.graph.node] == [["y_axes"], ["y_axes_2"], ["y"]]


def test_a_node_keeps_its_name_and_metadata() -> None:
    squeeze = node("Squeeze", axes=[1], name="here", doc_string="why")
    squeeze.metadata_props.add(key="k", value="v")
    copy, _ = raised(model_of([squeeze], [value("x", [2, 1])], [value("y", [2])], opset=11), LOADS)
    kept = copy.graph.node[-1]
    assert (kept.name, kept.doc_string, kept.metadata_props[0].value) == ("here", "why", "v")


def test_external_data_is_not_read(tmp_path: Path) -> None:
    proto = model_of([node("Add", "w")], [value("x", [4])], [value("y", [4])], {"w": data((4,))}, opset=11)
    (stored,) = proto.graph.initializer
    (tmp_path / "w.bin").write_bytes(stored.raw_data)
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="w.bin")
    copy, _ = raised(proto, LOADS)
    assert copy.graph.initializer[0] == stored
    _, findings = check(proto, tmp_path, shared(["x", "y"]), {"x": data((4,))})
    assert findings == []


def test_a_model_is_left_as_it_is_when_it_is_new_enough() -> None:
    proto = small_net(17)
    assert raised(proto, LOADS) == (proto, None)


def test_initializers_among_the_inputs_become_constants(tmp_path: Path) -> None:
    proto = small_net(9)
    proto.ir_version = 3
    proto.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in proto.graph.initializer
    )
    deployed, findings = check(proto, tmp_path, shared(["x", "conv.weight", "y"]), {"x": data((2, 3, 4, 4))})
    assert findings == []
    assert [entry.name for entry in deployed.graph.input] == ["x"]
