"""Notes for those who come from an older AIMET: the same file, another plan."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config, Fusion
from qsimc.ir.select import OpType, Selector, alternatives

_LABELS = 3


def check(config: Config, report: Report) -> None:
    """Report what AIMET 2.42 reads otherwise than its version of October 2024 did."""
    if config.format != "aimet":
        return
    changes = [*_open_ranges(config), *_sharing(config)]
    if changes:
        more = len(changes) - _LABELS
        report(
            Diagnostic(
                code="Q0320",
                name="version-dependent",
                severity=Severity.INFO,
                message="AIMET 2.42 reads this otherwise than AIMET of October 2024 did",
                labels=tuple(changes[:_LABELS]),
                notes=(f"and {more} more places",) if more > 0 else (),
                helps=("compare results only with those of the same version",),
            )
        )


def _open_ranges(config: Config) -> Iterator[Label]:
    for rule in config.rules:
        for clause in rule.clauses:
            for setting in clause.settings:
                if setting.field == "range" and isinstance(setting.value, tuple) and setting.value[1] is None:
                    yield Label(setting.span, "was refused: `max` had to be there")


def _sharing(config: Config) -> Iterator[Label]:
    """Yield a label per supergroup that may begin with the operators that another one ends with."""
    for later in config.fusions:
        if any(_may_share(earlier, later) for earlier in config.fusions if earlier is not later):
            yield Label(later.span, "shared operators with another; now the longest match keeps them")


def _may_share(ending: Fusion, beginning: Fusion) -> bool:
    ends, begins = ending.chain.steps, beginning.chain.steps
    lengths = range(1, min(len(ends), len(begins)))
    return any(all(map(_meet, ends[-length:], begins[:length])) for length in lengths)


def _meet(one: Selector, other: Selector) -> bool:
    """Say whether some operator is held by both selectors."""
    return bool(_names(one) & _names(other))


def _names(selector: Selector) -> set[str]:
    return {subject.name for subject in alternatives(selector) if isinstance(subject, OpType)}
