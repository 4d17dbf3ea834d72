"""Names that mean nothing: operators, parameters, hardware versions and graph passes.

AIMET and vai_q_pytorch accept every such name in silence, and the rule then never applies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, Vendor, did_you_mean
from qsimc.ir.config import Config
from qsimc.ir.select import NO_TENSOR, AnyOf, Chain, OpType, Selector
from qsimc.source import Span
from qsimc.spec import operators
from qsimc.spec.ops import operators as operators_with_facts

PARAMS = ("weight", "bias", "weight_r", "running_mean", "running_var")
ROLES = ("input", "output", "act", "param", *NO_TENSOR, *PARAMS)
HARDWARE = ("V66", "V68", "V69", "V73", "V75", "V79", "V81", "V85")

_SUGGESTED = 100
"""Unknown operators for which the nearest one is looked up; a file with more of them is no slip of the pen."""


def check(config: Config, report: Report) -> None:
    """Report names that no operator, parameter, chip or pass has."""
    vitis = config.dialect == "vitis"
    known = known_operators(config.dialect)
    # vai_q_pytorch looks at what follows the last dot: `torch.nn.Conv2d` is `Conv2d`.
    names = set(known)
    unknown = [(n, span) for n, span in _operators(config) if (n.rpartition(".")[2] if vitis else n) not in names]
    for place, (name, span) in enumerate(unknown):
        among = known if place < _SUGGESTED else ()
        report(_unknown("Q0206", "unknown-operator", f"no operator is called `{name}`", name, span, among))
    for rule in config.rules:
        for clause in rule.clauses:
            for role in clause.roles:
                if role not in ROLES:
                    message = f"`{role}` is neither a role nor a parameter: the rule never applies"
                    report(_unknown("Q0207", "unknown-parameter", message, role, _quoted(role, clause.span), PARAMS))
    if config.dialect.startswith("aimet"):
        _hardware(config, report)
        _passes(config, report)


def known_operators(dialect: str) -> tuple[str, ...]:
    """Return the operator types that a dialect has words for."""
    if dialect == "vitis":
        return operators.names("vitis")
    return (*operators.names("onnx"), *operators.names("aimet_torch"))


def _operators(config: Config) -> Iterator[tuple[str, Span]]:
    for rule in config.rules:
        yield from ((name, _quoted(name, rule.span)) for name in _named(rule.selector))
    for fusion in config.fusions:
        yield from ((name, _quoted(name, fusion.span)) for name in _named(fusion.chain))


def _named(selector: Selector) -> Iterator[str]:
    match selector:
        case OpType(name):
            yield name
        case AnyOf(parts) | Chain(parts):
            for part in parts:
                yield from _named(part)


def _quoted(name: str, span: Span) -> Span:
    """Return the place of a name within a rule: without quotes, so that a fix keeps them."""
    at = span.text.find(name)
    return span if at < 0 else Span(span.source, span.start + at, span.start + at + len(name))


def _unknown(code: str, slug: str, message: str, name: str, span: Span, known: Sequence[str]) -> Diagnostic:
    near = did_you_mean(name, known)
    spelled = span.text == name and near is not None
    return Diagnostic(
        code=code,
        name=slug,
        severity=Severity.WARNING,
        message=message,
        labels=(Label(span),),
        helps=(f"did you mean `{near}`?",) if near else (),
        fixes=(Fix(f"write `{near}`", (Edit(span, near),)),) if spelled and near else (),
    )


def _hardware(config: Config, report: Report) -> None:
    option = config.option("hw_version")
    if option is None or option.value in HARDWARE:
        return
    spelled = "".join(filter(str.isalnum, str(option.value)))
    near = did_you_mean(spelled, HARDWARE)
    report(
        Diagnostic(
            code="Q0208",
            name="unknown-hardware",
            severity=Severity.WARNING,
            message=f"no hardware version is called `{option.value}`; AIMET applies the rules of the newest",
            labels=(Label(option.span),),
            notes=(f"known: {', '.join(HARDWARE)}; upper case counts",),
            helps=(f"did you mean `{near}`?",) if near else ("write one of those known, or leave it out",),
            fixes=(Fix(f"write `{near}`", (Edit(option.span, f'"{near}"'),)),) if near else (),
        )
    )


def _passes(config: Config, report: Report) -> None:
    option = config.option("supergroup_passes")
    known = operators_with_facts().graph_passes
    if option is None or not isinstance(option.value, tuple):
        return
    unknown = [str(name) for name in option.value if name not in known]
    for name in unknown:
        message = f"no graph pass is called `{name}`"
        found = _unknown("Q0209", "unknown-pass", message, name, _quoted(name, option.span), known)
        said = Vendor("aimet_onnx 2.42", "ValueError", f"Graph pass requested but not found: {unknown}.")
        helps = found.helps or (f"passes: {', '.join(known)}",)
        report(replace(found, severity=Severity.ERROR, helps=helps, vendor=said))
