"""A plan as JSON, in the shape of the command-line contract, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from qsimc.graph import Graph
from qsimc.ir.quant import FIELDS, Calib, Numeric, QuantSpec, Round, ScaleKind
from qsimc.planning.plan import Kind, Mode, Plan, Reason, TensorPlan

FORMAT_VERSION = "1.0"


def plan_text(plan: Plan, *, config: Mapping[str, Any], model: str) -> Iterator[str]:
    """Yield a plan as JSON text in pieces: one line per tensor that has or could have a quantizer, in graph order.

    A diff of two plans then reads tensor by tensor, and a large plan is never in memory twice.
    """
    head = {
        "format_version": FORMAT_VERSION,
        "config": dict(config),
        "model": {"path": model},
        "target": plan.target,
        "dialect": plan.dialect,
        "mode": str(plan.mode),
    }
    yield json.dumps(head)[:-1] + ',\n "tensors": ['
    shared = _Shared()
    separator = "\n  "
    for t in plan.tensors.values():
        yield separator + shared.line(t)
        separator = ",\n  "
    yield "\n ]}\n"


class _Shared:
    """Entries of tensors as JSON.  Tensors share specs, tables of reasons and reasons; each is encoded once.

    All are known by identity, which holds while the plan keeps them alive.
    """

    def __init__(self) -> None:
        self._specs: dict[int, str] = {}
        self._tables: dict[int, str] = {}
        self._reasons: dict[int, str] = {}

    def line(self, t: TensorPlan) -> str:
        """Return one tensor's entry."""
        return (
            f'{{"tensor": {_quoted(t.tensor)}, "kind": "{t.kind}", "role": {_quoted(t.role)},'
            f' "node": {_quoted(t.node)}, "op_type": {_quoted(t.op)}, {self._spec(t.spec)},'
            f' "axis": {"null" if t.axis is None else t.axis}, "shares": {_quoted(t.shares)},'
            f' "because": {self._table(t.because)}}}'
        )

    def _spec(self, spec: QuantSpec) -> str:
        if id(spec) not in self._specs:
            self._specs[id(spec)] = json.dumps({field: getattr(spec, field) for field in FIELDS})[1:-1]
        return self._specs[id(spec)]

    def _table(self, because: Mapping[str, Reason]) -> str:
        if id(because) not in self._tables:
            fields = (f'"{field}": {self._reason(reason)}' for field, reason in because.items())
            self._tables[id(because)] = f"{{{', '.join(fields)}}}"
        return self._tables[id(because)]

    def _reason(self, reason: Reason) -> str:
        if id(reason) not in self._reasons:
            self._reasons[id(reason)] = json.dumps(_reason(reason))
        return self._reasons[id(reason)]


def _quoted(text: str | None) -> str:
    return "null" if text is None else encode_basestring_ascii(text)


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
