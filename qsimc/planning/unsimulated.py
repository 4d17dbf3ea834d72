"""What a configuration says that no backend simulates."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config, Setting, show_setting
from qsimc.ir.quant import UNSIMULATED


def report_unsimulated(config: Config, report: Report) -> bool:
    """Report settings that no backend simulates, each once; say whether there are any."""
    found = list(_unsimulated(config))
    for setting in found:
        said = show_setting(setting.field, setting.value)
        report(
            Diagnostic(
                code="Q0551",
                name="not-simulated",
                severity=Severity.ERROR,
                message=f"`{said}` cannot be simulated",
                labels=(Label(setting.span),),
                helps=("translate the configuration for the tool that runs it: `qsimc translate`",),
                pointer=setting.pointer,
            )
        )
    return bool(found)


def _unsimulated(config: Config) -> Iterator[Setting]:
    seen = set()
    for rule in config.rules:
        for clause in rule.clauses:
            for setting in clause.settings:
                values = UNSIMULATED.get(setting.field)
                if values is None or setting.span in seen or (values and setting.value not in values):
                    continue
                seen.add(setting.span)
                yield setting
