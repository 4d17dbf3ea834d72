"""A plan as JSON, in the shape of the command-line contract, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsimc.graph import Graph
from qsimc.ir.quant import FIELDS, Calib, Numeric, QuantSpec, Round, ScaleKind
from qsimc.plan.plan import Kind, Mode, Plan, Reason, TensorPlan

FORMAT_VERSION = "1.0"


def plan_document(plan: Plan, *, config: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return a plan as plain data: one entry per tensor that has or could have a quantizer, in graph order."""
    return {
        "format_version": FORMAT_VERSION,
        "config": dict(config),
        "model": {"path": model},
        "target": plan.target,
        "dialect": plan.dialect,
        "mode": str(plan.mode),
        "tensors": [_entry(t) for t in plan.tensors.values()],
    }


def _entry(t: TensorPlan) -> dict[str, Any]:
    spec = {name: getattr(t.spec, name) for name in FIELDS}
    return {
        "tensor": t.tensor,
        "kind": str(t.kind),
        "role": t.role,
        "node": t.node,
        "op_type": t.op,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in spec.items()},
        "axis": t.axis,
        "shares": t.shares,
        "because": {name: _reason(reason) for name, reason in t.because.items()},
    }


def _reason(reason: Reason) -> dict[str, Any]:
    span = reason.span
    return {
        "path": span and span.source.path,
        "line": span and span.line,
        "column": span and span.column,
        "rule": reason.rule,
        "detail": reason.detail,
    }


def read_plan(document: Mapping[str, Any], graph: Graph) -> Plan:
    """Return the plan that a document describes, without its reasons: enough to build, calibrate and export.

    Raises:
        KeyError, ValueError, TypeError: the document is no plan.
    """
    tensors = {entry["tensor"]: _tensor(entry) for entry in document["tensors"]}
    return Plan(
        graph=graph,
        tensors=tensors,
        dialect=document["dialect"],
        mode=Mode(document["mode"]),
        target=document["target"],
    )


def _tensor(entry: Mapping[str, Any]) -> TensorPlan:
    fixed = entry["range"]
    spec = QuantSpec(
        enabled=entry["enabled"],
        type=_maybe(Numeric, entry["type"]),
        bits=entry["bits"],
        signed=entry["signed"],
        symmetric=entry["symmetric"],
        narrow_range=entry["narrow_range"],
        unsigned_symmetric=entry["unsigned_symmetric"],
        per_channel=entry["per_channel"],
        scale=_maybe(ScaleKind, entry["scale"]),
        round=_maybe(Round, entry["round"]),
        calib=_maybe(Calib, entry["calib"]),
        percentile=entry["percentile"],
        reduce=entry["reduce"],
        range=None if fixed is None else (fixed[0], fixed[1]),
    )
    return TensorPlan(
        tensor=entry["tensor"],
        kind=Kind(entry["kind"]),
        role=entry["role"],
        node=entry["node"],
        op=entry["op_type"],
        spec=spec,
        axis=entry["axis"],
        shares=entry["shares"],
    )


def _maybe(enum: Any, word: str | None) -> Any:
    return None if word is None else enum(word)
