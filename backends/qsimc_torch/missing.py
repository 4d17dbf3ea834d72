"""What to say of operators that have no expression: all of them, with their nodes, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsimc.diagnostics import Diagnostic, InputError, Severity

_NAMED = 5
"""Nodes of one operator that are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A node without an expression; `reason` is empty where its operator has none at all."""

    operator: str
    node: str
    reason: str


def refuse(missing: Sequence[Missing], path: str) -> None:
    """Raise InputError with one Q0552 per operator and reason, if there are any."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        kinds.setdefault((one.operator, one.reason), []).append(one.node)
    if kinds:
        raise InputError([_finding(op, reason, nodes, path) for (op, reason), nodes in kinds.items()])


def _finding(operator: str, reason: str, nodes: Sequence[str], path: str) -> Diagnostic:
    named = ", ".join(f"`{name}`" for name in nodes[:_NAMED])
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return Diagnostic(
        code="Q0552",
        name="operator-without-expression",
        severity=Severity.ERROR,
        message=f"`{operator}` has no PyTorch expression{f' here: {reason}' if reason else ''}",
        notes=(f"{'node' if len(nodes) == 1 else 'nodes'} {named}{more}",),
        helps=("build for the ONNX backend: `--backend onnx`",),
        path=path,
    )
