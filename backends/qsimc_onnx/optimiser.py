"""QDQ models that onnxruntime's optimiser refuses or gets wrong: 4 bits, and signed 8 bits in new operator sets.

Observed with onnxruntime 1.31 at `ORT_ENABLE_EXTENDED` and above; at `ORT_ENABLE_BASIC` all of these are right.
tests/backends/test_onnx_optimiser.py holds each rule to what the installed onnxruntime does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from onnx import TensorProto

from qsimc.calibrate.encoding import Encoding
from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.graph import Graph, Node
from qsimc.planning.plan import Plan
from qsimc_onnx.protos import ONNX_DOMAINS
from qsimc_onnx.qdq import Target
from qsimc_onnx.storage import PACKED, Storage

_REFUSED = "onnxruntime's optimiser may refuse the QDQ model: "
_FOUR_BITS = {
    "Clip": "it does not know the ends of 4 bits, with which it compares those of a Clip",
    "Conv": "it makes a QLinearConv of a Conv that reads and writes 4 bits and has weights of 8",
    "MaxPool": "it lets a MaxPool compute in 4 bits",
    "ReduceMax": "it lets a ReduceMax compute in 4 bits",
    "ReduceMin": "it lets a ReduceMin compute in 4 bits",
}

_PASSED = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that it moves a DequantizeLinear behind, with a QuantizeLinear between them that it makes."""

_STATES_TYPE_SINCE = 21
"""The operator set from which that QuantizeLinear states its type, which stays int8 when x86 makes int8 uint8."""

_FOUR_BITS_HELPS = ("load the QDQ model at `ORT_ENABLE_BASIC`", "give these tensors 8 bits")
_SIGNED_HELPS = (
    "load the QDQ model with `session.qdqisint8allowed` set to 1",
    "export the float model with operator set 20",
)

Targets: TypeAlias = "Mapping[str, Target]"
Integers: TypeAlias = "tuple[Encoding, Storage]"


def report_optimiser(plan: Plan, targets: Targets, version: int, report: Report, path: str) -> None:
    """Report the nodes of which onnxruntime's optimiser makes something that has no kernel, or something else (Q0714).

    Only a node and the quantizers beside it are looked at.

    Args:
        version: the operator set of the QDQ model.
    """
    wrong: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for node in plan.graph.nodes:
        if node.domain not in ONNX_DOMAINS:
            continue
        if version >= _STATES_TYPE_SINCE and _moves_signed(node, plan.graph, targets):
            message = f"{_REFUSED}on x86, from operator set 21 on, it cannot move signed 8 bits behind a {node.op}"
            wrong.setdefault((message, _SIGNED_HELPS), []).append(node.outputs[0])
        elif message := _message(node, plan.graph, targets):
            wrong.setdefault((message, _FOUR_BITS_HELPS), []).append(node.outputs[0])
    for (message, helps), tensors in wrong.items():
        more = f", and {len(tensors) - 1} more like it" if len(tensors) > 1 else ""
        report(
            Diagnostic(
                code="Q0714",
                name="qdq-optimiser-fails",
                severity=Severity.WARNING,
                message=f"{message}, at `{tensors[0]}`{more}",
                helps=helps,
                path=path,
            )
        )


def _moves_signed(node: Node, graph: Graph, targets: Targets) -> bool:
    """Return whether a node reads signed 8 bits that the model computes, and no quantizer stands behind it."""
    read = node.op in _PASSED and not graph.tensors[node.inputs[0]].constant
    quantizer = _integers(node.inputs[0], graph, targets) if read else None
    signed = quantizer is not None and quantizer[1].type == TensorProto.INT8
    return signed and _beside(node.outputs[0], graph, targets) is None


def _message(node: Node, graph: Graph, targets: Targets) -> str:
    """Return what goes wrong with 4 bits at a node, empty if nothing does."""
    if node.op == "Relu" and _loses_zero(node.outputs[0], graph, targets):
        return "onnxruntime's optimiser drops a Relu before 4 bits, below zero as well"
    refused = node.op in _FOUR_BITS and _is_refused(node, graph, targets)
    return f"{_REFUSED}{_FOUR_BITS[node.op]}" if refused else ""


def _loses_zero(tensor: str, graph: Graph, targets: Targets) -> bool:
    made = _beside(tensor, graph, targets)
    return made is not None and made[1].type in PACKED and bool((made[0].zero_point > made[1].low).any())


def _is_refused(node: Node, graph: Graph, targets: Targets) -> bool:
    first = node.inputs[0]
    read, made = _integers(first, graph, targets), _beside(node.outputs[0], graph, targets)
    if node.op == "MaxPool":
        # What is float on one side of it gets the quantizer of the other.
        found = read or made
        agree = read is None or made is None or _same(read, made)
        return agree and found is not None and found[1].type in PACKED
    if made is None or made[1].type not in PACKED:
        return False
    match node.op:
        case "Clip":
            constant = all(graph.tensors[bound].constant for bound in node.inputs[1:] if bound)
            return constant and (read is not None or first in graph.producer)
        case "Conv":
            weight = _integers(node.inputs[1], graph, targets)
            eight = weight is not None and weight[0].bits <= 8 and weight[1].type not in PACKED
            return eight and read is not None and read[1].type == made[1].type
    return read is not None and _same(read, made)


def _integers(tensor: str, graph: Graph, targets: Targets) -> Integers | None:
    """Return the quantizer of a tensor, None where it stays float or Casts stand around what quantizes it."""
    target = targets.get(tensor)
    return None if target is None or isinstance(target, int) or graph.tensors[tensor].dtype != "float32" else target


def _beside(tensor: str, graph: Graph, targets: Targets) -> Integers | None:
    """Return the quantizer whose QuantizeLinear reads what the node makes.

    Where the grid is smaller than its type, the nodes that cut values off to it come first.
    """
    found = _integers(tensor, graph, targets)
    whole = found is not None and (found[0].qmin, found[0].qmax) == (found[1].low, found[1].high)
    return found if whole else None


def _same(a: Integers, b: Integers) -> bool:
    """Return whether two tensors have the same integers for the same values."""
    pairs = ((a[0].scale.astype(np.float32), b[0].scale.astype(np.float32)), (a[0].zero_point, b[0].zero_point))
    return a[1].type == b[1].type and all(np.array_equal(x, y) for x, y in pairs)
