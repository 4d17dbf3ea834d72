"""What is exported loads in onnxruntime as people use it: optimised, whatever operator set the float model had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.helper import make_graph, make_node, make_opsetid
from qsimc_onnx.build import build
from qsimc_onnx.export import export
from qsimc_onnx.opsets import raised
from qsimc_onnx.protos import graphs, opset
from qsimc_onnx.session import run

from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.ir.quant import QuantSpec
from tests.backends.onnx_models import BFLOAT16, INT8, data, encoding, model_of, opened, plan_of, small_net, value
from tests.backends.test_onnx_equality import GRIDS

OPSETS = (7, 8, 9, 10, 11, 12, 13, 17, 21)
LOADS = 13
"""The operator set that exported models are raised to."""


@dataclass(frozen=True)
class Case:
    """Nodes from `x` to `y` in the form that operators had in versions `first` to `last`."""

    nodes: Sequence[NodeProto]
    first: int
    last: int
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    shape: tuple[int, ...] = (2, 3, 4, 4)
    declared: tuple[int | None, ...] | None = None

    def model(self, version: int, dtype: int = TensorProto.FLOAT) -> ModelProto:
        inputs = [value("x", self.declared or self.shape, dtype)]
        output = helper.make_tensor_value_info("y", dtype, None)
        proto = model_of(self.nodes, inputs, [output], self.constants, version)
        return onnx.shape_inference.infer_shapes(proto)


def node(op: str, *inputs: str, **attributes: Any) -> NodeProto:
    """Return a node from `x` and others to `y`; it has no name, as in many old models."""
    return make_node(op, ["x", *inputs], ["y"], **attributes)


def _channels() -> dict[str, NDArray[Any]]:
    return {
        name: np.abs(data((3,), seed)) + np.float32(0.5) for seed, name in enumerate(("gain", "bias", "mean", "var"))
    }


def scales(height: float, width: float) -> dict[str, NDArray[Any]]:
    return {"s": np.array([1, 1, height, width], np.float32), "none": np.zeros(0, np.float32)}


WHERE: Mapping[str, NDArray[Any]] = {"where": np.zeros((2, 1, 4, 4), np.int64), "what": data((2, 1, 4, 4))}
SIZES: Mapping[str, NDArray[Any]] = {"none": np.zeros(0, np.float32), "sizes": np.array([2, 3, 5, 9])}

CASES: Mapping[str, Case] = {
    "batch norm": Case([node("BatchNormalization", "gain", "bias", "mean", "var", spatial=1)], 7, 8, _channels()),
    "clip": Case([node("Clip", min=-0.5, max=0.75)], 7, 10),
    "clip below": Case([node("Clip", min=0.0)], 7, 10),
    "clip nothing": Case([node("Clip")], 7, 10),
    "dropout": Case([make_node("Dropout", ["x"], ["y", "mask"], ratio=0.4)], 7, 11),
    "dropout by default": Case([node("Dropout")], 7, 11),
    "log softmax": Case([node("LogSoftmax", axis=1)], 7, 12),
    "max pool": Case([node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])], 7, 12),
    "pad": Case([node("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=1.5)], 7, 10),
    "pad by reflection": Case([node("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")], 7, 10),
    "reduce sum": Case([node("ReduceSum", axes=[1, 2], keepdims=0)], 7, 12),
    "reduce sum of all": Case([node("ReduceSum")], 7, 12),
    "scatter": Case([node("Scatter", "where", "what", axis=1)], 9, 10, WHERE),
    "slice": Case([node("Slice", starts=[1, -3], ends=[3, -1], axes=[1, 3])], 7, 9),
    "slice of the first axes": Case([node("Slice", starts=[0, 1], ends=[1, 3])], 7, 9),
    "softmax by default": Case([node("Softmax")], 7, 12),
    "softmax of one axis": Case([node("Softmax", axis=3)], 7, 12),
    "softmax from the end": Case([node("Softmax", axis=-1)], 11, 12),
    "softmax of two axes": Case([node("Softmax", axis=2)], 7, 12),
    "hardmax": Case([node("Hardmax", axis=1)], 7, 12),
    "softmax of unknown shape": Case([node("Softmax", axis=1)], 7, 12, declared=(None, None, None, None)),
    "split": Case([make_node("Split", ["x"], ["a", "y"], split=[1, 2], axis=1)], 7, 12),
    "split in halves": Case([make_node("Split", ["x"], ["a", "y"], axis=2)], 7, 12),
    "squeeze": Case([node("Squeeze", axes=[1])], 7, 12, shape=(2, 1, 4)),
    "squeeze all": Case([node("Squeeze")], 7, 12, shape=(2, 1, 4)),
    "top k": Case([make_node("TopK", ["x"], ["y", "where"], k=2, axis=1)], 7, 9),
    "unsqueeze": Case([node("Unsqueeze", axes=[0, 2])], 7, 12),
    "upsample": Case([node("Upsample", mode="nearest", scales=[1.0, 1.0, 2.0, 2.5])], 7, 8),
    "linear upsample": Case([node("Upsample", mode="linear", scales=[1.0, 1.0, 2.0, 2.5])], 7, 8),
    "upsample by input": Case([node("Upsample", "s", mode="nearest")], 9, 9, scales(3, 2)),
    "linear upsample by input": Case([node("Upsample", "s", mode="linear")], 9, 9, scales(1.7, 2)),
    "resize up": Case([node("Resize", "s")], 10, 10, scales(1.5, 3), (1, 2, 7, 9)),
    "resize down": Case([node("Resize", "s")], 10, 10, scales(0.4, 0.7), (1, 2, 7, 9)),
    "linear resize": Case([node("Resize", "s", mode="linear")], 10, 10, scales(0.6, 1.5)),
    "resize to half pixels": Case([node("Resize", "none", "s", mode="linear")], 11, 12, scales(2, 1.5)),
    "resize to sizes": Case([node("Resize", "none", "none", "sizes", mode="nearest")], 11, 12, SIZES),
}

PAIRS = [(name, version) for name, case in CASES.items() for version in range(case.first, case.last + 1)]


def shared(names: Sequence[str], *, scale: float = 0.02) -> dict[str, Encoding]:
    return {name: encoding(scale * (1 + 0.1 * i), 3) for i, name in enumerate(names)}


def check(
    proto: ModelProto,
    folder: Path,
    encodings: Mapping[str, Encoding],
    batch: Mapping[str, NDArray[Any]],
    casts: Mapping[str, QuantSpec] | None = None,
) -> tuple[ModelProto, list[Diagnostic]]:
    """Demand equality as written, and that both load optimised and run; return the QDQ model and the findings."""
    model = opened(proto, folder)
    plan = plan_of(model, dict.fromkeys(encodings, INT8) | dict(casts or {}))
    findings: list[Diagnostic] = []
    simulation = build(model, plan, folder, encodings)[0]
    deployed = export(model, plan, encodings, folder, findings.append)[0]
    onnx.checker.check_model(str(deployed))
    ((simulated,), (quantized,)) = (tuple(run(path, [dict(batch)], optimise=False)) for path in (simulation, deployed))
    assert list(simulated) == list(quantized)
    for name, values in simulated.items():
        assert values.tobytes() == quantized[name].tobytes(), name
        assert values.shape == quantized[name].shape
    for path in (simulation, deployed):
        (optimised,) = run(path, [dict(batch)])
        assert {n: v.shape for n, v in optimised.items()} == {n: v.shape for n, v in simulated.items()}
    return onnx.load(deployed), findings


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


# ── what cannot be raised ────────────────────────────────────────────────────────────────────

MASK = make_node("Dropout", ["x"], ["m", "y"])

REFUSED: Mapping[str, tuple[Case, str]] = {
    "mask": (Case([MASK], 10, 10), "the mask of `Dropout` changed in operator set 12"),
    "mixed scales": (Case([node("Resize", "s")], 10, 10, scales(0.5, 2)), "not known to be all above or below 1"),
    "gone word": (
        Case([node("Resize", "", "s", coordinate_transformation_mode="tf_half_pixel_for_nn")], 11, 11, scales(0.5, 2)),
        "`tf_half_pixel_for_nn` ended with operator set 12",
    ),
    "one mean per pixel": (
        Case([node("BatchNormalization", "g", "g", "g", "g", spatial=0)], 8, 8, {"g": np.ones((3, 4, 4), np.float32)}),
        "not spatial ended with operator set 8",
    ),
    "unknown operator": (Case([node("ImageScaler", scale=2.0)], 9, 9), "`ImageScaler` is not an operator of ONNX"),
    "unknown attribute": (Case([node("Relu", mystery=1)], 9, 9), "`Relu` changed before operator set 13"),
    "too old": (Case([node("Relu")], 6, 6), "operator set 6 is older than 7"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_raised_stays_and_is_said(name: str) -> None:
    case, reason = REFUSED[name]
    proto = case.model(case.first)
    copy, obstacle = raised(proto, LOADS)
    assert copy == proto
    assert reason in (obstacle or "")


def test_a_function_that_passes_its_attribute_on_is_refused() -> None:
    squeeze = make_node("Squeeze", ["a"], ["b"])
    squeeze.attribute.add(name="axes", ref_attr_name="axes", type=onnx.AttributeProto.INTS)
    proto = model_of([node("F", domain="mine", axes=[1])], [value("x", [2, 1])], [value("y", [2])], opset=12)
    imports = [make_opsetid("", 12)]
    proto.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [squeeze], imports, ["axes"]))
    proto.opset_import.append(make_opsetid("mine", 1))
    copy, obstacle = raised(proto, LOADS)
    assert copy == proto
    assert obstacle == "`axes` of `Squeeze` is an attribute of a function"


def test_bodies_stay_as_well_when_a_model_cannot_be_raised() -> None:
    then = make_graph([make_node("Squeeze", ["x"], ["a"], axes=[1])], "then", [], [value("a", [2])])
    nodes = [
        make_node("If", ["which"], ["t"], then_branch=then, else_branch=then),
        make_node("Dropout", ["t"], ["y", "mask"]),
    ]
    inputs = [value("x", [2, 1]), value("which", [], TensorProto.BOOL)]
    outputs = [value("y", [2]), value("mask", [2], TensorProto.BOOL)]
    proto = model_of(nodes, inputs, outputs, opset=11)
    copy, obstacle = raised(proto, LOADS)
    assert obstacle is not None
    assert [len(graph.node) for graph in graphs(copy)] == [2, 1, 1]


def test_an_old_model_that_stays_is_exported_with_a_warning(tmp_path: Path) -> None:
    case = CASES["resize up"]
    mixed = Case(case.nodes, 10, 10, scales(0.5, 2), case.shape)
    deployed, (finding,) = check(mixed.model(10), tmp_path, shared(["x", "y"]), {"x": data(case.shape)})
    assert opset(deployed) == 10
    assert (finding.code, finding.name, finding.severity) == ("Q0712", "qdq-old-opset", Severity.WARNING)
    assert finding.message.startswith("the QDQ model stays at operator set 10")
