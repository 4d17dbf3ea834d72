"""Selectors that nothing applies: saying so beats a rule that is silently missed."""

from __future__ import annotations

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config
from qsimc.ir.select import AnyOf, Chain, Selector, show


def check(config: Config, report: Report) -> None:
    """Report rules about chains of operators in a dialect whose layers are matched one by one."""
    for rule in config.rules if config.dialect == "vitis" else ():
        if _has_chain(rule.selector):
            report(
                Diagnostic(
                    code="Q0306",
                    name="rule-on-chain",
                    severity=Severity.ERROR,
                    message=f"a rule cannot speak of the chain `{show(rule.selector)}`",
                    labels=(Label(rule.span),),
                    notes=("to Vitis AI rules are about layers by type or by name; no tensor would be changed",),
                    helps=("speak of the last operator, or of nodes by name",),
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
