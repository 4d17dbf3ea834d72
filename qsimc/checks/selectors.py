"""Selectors that nothing applies yet: saying so beats a rule that is silently missed."""

from __future__ import annotations

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config
from qsimc.ir.select import AnyOf, Chain, Selector, show


def check(config: Config, report: Report) -> None:
    """Report rules about chains of operators: only `fuse` matches chains."""
    for rule in config.rules:
        if _has_chain(rule.selector):
            report(
                Diagnostic(
                    code="Q0306",
                    name="rule-on-chain",
                    severity=Severity.ERROR,
                    message=f"a rule cannot speak of the chain `{show(rule.selector)}`",
                    labels=(Label(rule.span),),
                    notes=("AIMET has no such rules, and no tensor would be changed by this one",),
                    helps=("speak of the last operator, or of nodes by name; `fuse` takes chains",),
                )
            )


def _has_chain(selector: Selector) -> bool:
    match selector:
        case Chain(steps):
            return len(steps) > 1 or any(map(_has_chain, steps))
        case AnyOf(choices):
            return any(map(_has_chain, choices))
        case _:
            return False
