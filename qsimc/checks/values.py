"""Values that are well spelt and still cannot be meant, or do not do what they say."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config, Rule, Setting
from qsimc.ir.select import Everything


def check(config: Config, report: Report) -> None:
    """Report ranges without zero or without extent, and flags that exclude or ignore one another."""
    for rule, setting in _settings(config):
        if setting.field == "range":
            _range(setting, report)
            _clipped(rule, setting, config, report)
    _strict_and_unsigned(config, report)
    _kernels(config, report)


def _settings(config: Config) -> Iterator[tuple[Rule, Setting]]:
    for rule in config.rules:
        for clause in rule.clauses:
            yield from ((rule, setting) for setting in clause.settings)


def _range(setting: Setting, report: Report) -> None:
    assert isinstance(setting.value, tuple)
    low, high = setting.value
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return
    if low >= high:
        _say(
            report,
            "Q0301",
            "empty-range",
            Severity.ERROR,
            f"the range {low} to {high} is empty",
            setting,
            helps=("the lower bound must be below the upper one",),
        )
    elif low > 0 or high < 0:
        _say(
            report,
            "Q0302",
            "range-without-zero",
            Severity.WARNING,
            f"the range {low} to {high} does not hold zero, so it will be widened to zero",
            setting,
            notes=("an integer must stand for exactly 0.0: padding and ReLU depend on it",),
            helps=(f"let the range {'begin' if low > 0 else 'end'} at 0",),
        )


def _clipped(rule: Rule, setting: Setting, config: Config, report: Report) -> None:
    """A one-sided fixed range on a symmetric quantizer wastes half the grid, or clips, depending on the engine."""
    assert isinstance(setting.value, tuple)
    low, high = setting.value
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not _is_aimet(config):
        return
    symmetric = _symmetry(rule, config)
    if symmetric is None or not symmetric.value or low == -high or low >= high:
        return
    report(
        Diagnostic(
            code="Q0303",
            name="symmetric-range",
            severity=Severity.WARNING,
            message=f"the range {low} to {high} is fixed on a symmetric quantizer",
            labels=(Label(setting.span, "fixed here"), Label(symmetric.span, "made symmetric here")),
            notes=(
                "aimet_onnx widens the range to both sides of zero; aimet_torch centres a grid of the same"
                f" length on zero and clips values above {(high - low) / 2:g}",
            ),
            helps=("make the outputs of this operator asymmetric",),
            pointer=setting.pointer,
        )
    )


def _symmetry(rule: Rule, config: Config) -> Setting | None:
    """Return what decides the symmetry of a rule's outputs: its own setting, else that of every operator."""
    general = [other for other in config.rules if other.selector == Everything()]
    for candidates in ([rule], general):
        said = [
            s for r in candidates for c in r.clauses for s in c.settings if "act" in c.roles and s.field == "symmetric"
        ]
        if said:
            return said[-1]
    return None


def _strict_and_unsigned(config: Config, report: Report) -> None:
    found = {s.field: s for _, s in _settings(config) if s.field in ("narrow_range", "unsigned_symmetric") and s.value}
    if len(found) < 2:
        return
    strict, unsigned = found["narrow_range"], found["unsigned_symmetric"]
    report(
        Diagnostic(
            code="Q0304",
            name="strict-and-unsigned",
            severity=Severity.WARNING,
            message="a grid cannot be both strict symmetric and unsigned",
            labels=(Label(unsigned.span, "unsigned here"), Label(strict.span, "strict here")),
            notes=("aimet_onnx takes the number of steps from the one and the offset from the other",),
            helps=("set one of them to `False`",),
            pointer=unsigned.pointer,
        )
    )


def _kernels(config: Config, report: Report) -> None:
    for _, setting in _settings(config):
        if setting.field == "kernels" and _is_aimet(config):
            _say(
                report,
                "Q0305",
                "kernels-without-effect",
                Severity.INFO,
                "supported precisions choose nothing: AIMET records them and quantizes as it was told",
                setting,
                helps=("leave the list out, and give precisions where they count: `--act` and `--param`",),
            )


def _is_aimet(config: Config) -> bool:
    """Say whether either half of AIMET is meant."""
    return config.dialect.startswith("aimet")


def _say(
    report: Report,
    code: str,
    name: str,
    severity: Severity,
    message: str,
    setting: Setting,
    notes: tuple[str, ...] = (),
    helps: tuple[str, ...] = (),
) -> None:
    report(
        Diagnostic(
            code=code,
            name=name,
            severity=severity,
            message=message,
            labels=(Label(setting.span),),
            notes=notes,
            helps=helps,
            pointer=setting.pointer,
        )
    )
