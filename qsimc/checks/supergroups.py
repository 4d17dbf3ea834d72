"""Supergroups that can never match, because another one takes every match first.

Longer chains are tried first, then earlier ones, and a node belongs to one match (planning/chains.py).  A shorter chain
inside a longer one still matches where the longer one does not, so only an equal chain shadows.
"""

from __future__ import annotations

from math import prod

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config, Fusion
from qsimc.ir.select import AnyOf, Chain, OpType, Selector, chains, show

_MOST = 1000
"""Chains of one fusion that are looked at: sets multiply."""


def check(config: Config, report: Report) -> None:
    """Report fusions of which every chain has been named before."""
    if config.dialect == "vitis":
        return
    first: dict[tuple[str, ...], Fusion] = {}
    for fusion in config.fusions:
        before = [first.setdefault(names, fusion) for names in _named(fusion.chain)]
        here = fusion.span.source is config.source and all(f.span.source is config.source for f in before)
        if before and here and not any(f is fusion for f in before):
            report(_shadowed(fusion, before[0]))


def _named(fused: Chain) -> list[tuple[str, ...]]:
    """Return the chains of operator names that a fusion means, nothing if they are too many to look at."""
    plain = tuple(step.name for step in fused.steps if isinstance(step, OpType))
    if len(plain) == len(fused.steps):
        return [plain]
    return list(chains(fused)) if _count(fused) <= _MOST else []


def _count(selector: Selector) -> int:
    match selector:
        case AnyOf(choices):
            return sum(map(_count, choices))
        case Chain(steps):
            return prod(map(_count, steps))
        case _:
            return 1


def _shadowed(fusion: Fusion, winner: Fusion) -> Diagnostic:
    return Diagnostic(
        code="Q0317",
        name="shadowed-supergroup",
        severity=Severity.WARNING,
        message=f"the supergroup `{show(fusion.chain)}` never matches: an equal one comes first",
        labels=(Label(fusion.span, "this never matches"), Label(winner.span, "this takes every match")),
        notes=("longer supergroups are tried first, then earlier ones, and a node belongs to one match",),
        helps=("remove it, or name the operators that were meant",),
    )
