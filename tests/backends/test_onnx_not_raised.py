"""Models of old operator sets that cannot be raised: they stay as they are, and it is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.helper import make_graph, make_node, make_opsetid
from qsimc_onnx.opsets import raised
from qsimc_onnx.protos import graphs, opset

from qsimc.diagnostics import Severity
from tests.backends.onnx_models import data, model_of, value
from tests.backends.opset_cases import CASES, LOADS, Case, check, node, scales, shared

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
