"""Q0714 is said of QDQ models that onnxruntime's optimiser spoils, and of no other."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto
from onnx.helper import make_attribute, make_node, make_tensor_value_info

from qsimc.backend import load_backend
from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic
from tests.backends.onnx_models import INT8, data, encoding, model_of, opened, plan_of, value

SIGNED, UNSIGNED, NARROW, WIDE = (-8, 7), (0, 15), (-7, 7), (-128, 127)
FAILURES = onnxruntime.capi.onnxruntime_pybind11_state
X86 = platform.machine() in ("x86_64", "AMD64")
LEVELS = onnxruntime.GraphOptimizationLevel


def four(zero_point: int = 0, grid: tuple[int, int] = SIGNED, scale: float = 0.4) -> Encoding:
    return encoding(scale, zero_point, grid=grid, bits=4)


@dataclass(frozen=True)
class Case:
    """Nodes from `x` to `y`, some of whose tensors are quantized, and whether the optimiser spoils them."""

    name: str
    nodes: Sequence[NodeProto]
    encodings: Mapping[str, Encoding]
    spoiled: bool
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    opset: int = 17

    def __str__(self) -> str:
        return self.name


def relu(name: str, quantizer: Encoding, *, spoiled: bool) -> Case:
    return Case(f"relu, {name}", [make_node("Relu", ["x"], ["y"])], {"y": quantizer}, spoiled)


def clip(name: str, *, source: Encoding | None, before: bool, to: Encoding, spoiled: bool) -> Case:
    nodes = [make_node("Tanh", ["x"], ["a"])] if before else []
    bounds = {"low": np.array(-0.5, np.float32), "high": np.array(0.75, np.float32)}
    read = "a" if before else "x"
    encodings = {"y": to} if source is None else {read: source, "y": to}
    return Case(f"clip, {name}", [*nodes, make_node("Clip", [read, "low", "high"], ["y"])], encodings, spoiled, bounds)


def reduced(op: str, name: str, encodings: Mapping[str, Encoding], *, spoiled: bool) -> Case:
    attribute, sizes = ("kernel_shape", [2, 2]) if op == "MaxPool" else ("axes", [2, 3])
    node = make_node(op, ["x"], ["y"])
    node.attribute.append(make_attribute(attribute, sizes))
    return Case(f"{op}, {name}", [node], encodings, spoiled)


def conv(name: str, source: Encoding, to: Encoding, bits: int, *, spoiled: bool) -> Case:
    weight = encoding([0.1, 0.2, 0.3, 0.4], grid=WIDE if bits == 8 else SIGNED, bits=bits, axis=0)
    node = make_node("Conv", ["x", "w"], ["y"])
    return Case(f"conv, {name}", [node], {"x": source, "w": weight, "y": to}, spoiled, {"w": data((4, 4, 3, 3), 1)})


def moved(
    name: str, encodings: Mapping[str, Encoding], *, spoiled: bool, opset: int = 21, op: str = "Transpose"
) -> Case:
    """Return a Neg, the operator and a Neg, with a quantizer where `encodings` have one: at `a`, `b` or `y`."""
    extra = {"Reshape": [1, -1], "Squeeze": [0], "Unsqueeze": [0]}.get(op)
    constants = {} if extra is None else {"extra": np.array(extra, np.int64)}
    if op == "Slice":
        constants = {name: np.array([at], np.int64) for name, at in (("start", 0), ("end", 2), ("axis", 2))}
    node = make_node(op, ["a", *constants], ["b"])
    if op == "MaxPool":
        node.attribute.append(make_attribute("kernel_shape", [2, 2]))
    nodes = [make_node("Neg", ["x"], ["a"]), node, make_node("Neg", ["b"], ["y"])]
    return Case(f"{op}, {name}", nodes, encodings, spoiled, constants, opset)


SIGNED_8 = encoding(0.03, 3)
UNSIGNED_8 = encoding(0.03, 3, grid=(0, 255))
MOVED = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")

CASES = [
    *(moved("float behind", {"a": SIGNED_8}, spoiled=True, op=op) for op in MOVED),
    moved("float behind, others of it later", {"a": SIGNED_8, "y": SIGNED_8}, spoiled=True),
    moved("narrow", {"a": encoding(0.03, 0, grid=(-127, 127))}, spoiled=True),
    moved("operator set 23", {"a": SIGNED_8}, spoiled=True, opset=23),
    moved("operator set 20", {"a": SIGNED_8}, spoiled=False, opset=20),
    moved("unsigned", {"a": UNSIGNED_8}, spoiled=False),
    moved("16 bits", {"a": encoding(0.01, grid=(-(2**15), 2**15 - 1), bits=16)}, spoiled=False),
    moved("4 bits", {"a": four()}, spoiled=False),
    moved("another behind", {"a": SIGNED_8, "b": encoding(0.05)}, spoiled=False),
    moved("float before", {"b": SIGNED_8}, spoiled=False),
    *(moved("not moved", {"a": SIGNED_8}, spoiled=False, op=op) for op in ("Flatten", "Identity", "Relu")),
    relu("zero in the middle", four(), spoiled=True),
    relu("zero above the lowest", four(1, UNSIGNED), spoiled=True),
    relu("zero lowest", four(0, UNSIGNED), spoiled=False),
    relu("zero lowest of signed", four(-8), spoiled=False),
    relu("narrow", four(0, NARROW), spoiled=False),
    relu("8 bits", encoding(0.03), spoiled=False),
    clip("after a node", source=None, before=True, to=four(), spoiled=True),
    clip("after 8 bits", source=encoding(0.03), before=False, to=four(), spoiled=True),
    clip("of what comes in", source=None, before=False, to=four(), spoiled=False),
    clip("narrow", source=None, before=True, to=four(0, NARROW), spoiled=False),
    clip("to 8 bits", source=four(), before=True, to=encoding(0.03), spoiled=False),
    reduced("MaxPool", "float before", {"y": four()}, spoiled=True),
    reduced("MaxPool", "the same before", {"x": four(), "y": four()}, spoiled=True),
    reduced("MaxPool", "another scale before", {"x": four(scale=0.3), "y": four()}, spoiled=False),
    reduced("MaxPool", "8 bits before", {"x": encoding(0.4), "y": four()}, spoiled=False),
    reduced("MaxPool", "float behind", {"x": four()}, spoiled=True),
    reduced("MaxPool", "narrow", {"x": four(0, NARROW), "y": four(0, NARROW)}, spoiled=True),
    reduced("MaxPool", "narrow behind", {"y": four(0, NARROW)}, spoiled=False),
    reduced("MaxPool", "8 bits behind", {"x": four(), "y": encoding(0.4)}, spoiled=False),
    *(
        reduced(op, name, encodings, spoiled=name == "the same before")
        for op in ("ReduceMax", "ReduceMin")
        for name, encodings in (("the same before", {"x": four(), "y": four()}), ("float before", {"y": four()}))
    ),
    conv("weights of 8 bits", four(), four(scale=2.0), 8, spoiled=True),
    conv("weights of 8 bits, all unsigned", four(8, UNSIGNED), four(8, UNSIGNED, 2.0), 8, spoiled=True),
    conv("weights of 4 bits", four(), four(scale=2.0), 4, spoiled=False),
    conv("unsigned to signed", four(8, UNSIGNED), four(scale=2.0), 8, spoiled=False),
    conv("to 8 bits", four(), encoding(0.1), 8, spoiled=False),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_optimiser_spoils_is_reported(case: Case, tmp_path: Path) -> None:
    shape = [1, 4, 6, 6]
    output = make_tensor_value_info("y", TensorProto.FLOAT, None)
    proto = model_of(case.nodes, [value("x", shape)], [output], case.constants, case.opset, 10)
    model = opened(proto, tmp_path)
    plan = plan_of(model, dict.fromkeys(case.encodings, INT8))
    findings: list[Diagnostic] = []
    path = load_backend("onnx").export(model, plan, case.encodings, tmp_path, findings.append)[0]
    assert [finding.code for finding in findings] == (["Q0714"] if case.spoiled else [])
    x = 2 * data(tuple(shape))
    plain = ran(path, x, LEVELS.ORT_DISABLE_ALL)
    np.testing.assert_array_equal(ran(path, x, LEVELS.ORT_ENABLE_BASIC), plain)
    if X86 or case.opset < 21:
        assert is_spoiled(path, x, plain) == case.spoiled


def is_spoiled(path: Path, x: NDArray[np.float32], plain: NDArray[np.float32]) -> bool:
    """Return whether a default session refuses a model, or makes something else."""
    try:
        return not np.allclose(ran(path, x, LEVELS.ORT_ENABLE_ALL), plain, rtol=0, atol=0.1)
    except (FAILURES.InvalidGraph, FAILURES.Fail):
        return True


def ran(path: Path, x: NDArray[np.float32], level: Any) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    made: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return made


def test_more_of_the_same_are_counted(tmp_path: Path) -> None:
    nodes = [make_node("Relu", ["x"], ["a"]), make_node("Neg", ["a"], ["b"]), make_node("Relu", ["b"], ["y"])]
    model = opened(model_of(nodes, [value("x", [4])], [value("y", [4])]), tmp_path)
    findings: list[Diagnostic] = []
    encodings = {"a": four(), "y": four()}
    load_backend("onnx").export(
        model, plan_of(model, dict.fromkeys(encodings, INT8)), encodings, tmp_path, findings.append
    )
    (finding,) = findings
    assert finding.message == (
        "onnxruntime's optimiser drops a Relu before 4 bits, below zero as well, at `a`, and 1 more like it"
    )
