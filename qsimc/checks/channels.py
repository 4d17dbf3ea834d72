"""Scales per channel where there are no channels, as AIMET counts them."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.ir.config import Config, Setting
from qsimc.ir.select import OpType, alternatives
from qsimc.spec import operators
from qsimc.spec.ops import operators as operators_with_facts

_IN_TORCH = ("PRelu", "Gather")
"""Operators whose modules have parameters in AIMET's torch half; its other half takes them for constants."""

_VECTORS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization")
"""Norms whose parameters have one dimension by ONNX's definition."""

_ACTIVATIONS = frozenset({"input", "output", "act"})


def check(config: Config, report: Report) -> None:
    """Report operator types that are made per channel and have no parameters, or only vectors."""
    if config.dialect == "vitis":
        return
    for name, setting in _per_channel(config):
        if setting.span.source is not config.source:
            continue
        if name in _VECTORS:
            report(_vectors(name, setting))
        elif name in operators.names("onnx") and name not in _IN_TORCH and not operators_with_facts()[name].params:
            report(_nothing(name, setting))


def _per_channel(config: Config) -> Iterator[tuple[str, Setting]]:
    """Yield operator types whose parameters are made per channel by name."""
    for rule in config.rules:
        for clause in rule.clauses:
            for setting in clause.settings:
                if (
                    setting.field == "per_channel"
                    and setting.value
                    and not _ACTIVATIONS.issuperset(clause.roles or "*")
                ):
                    yield from ((s.name, setting) for s in alternatives(rule.selector) if isinstance(s, OpType))


def _nothing(name: str, setting: Setting) -> Diagnostic:
    with_weights = [f"`{op}`" for op, row in operators_with_facts().op.items() if row.channel_axis is not None]
    return Diagnostic(
        code="Q0318",
        name="per-channel-without-weight",
        severity=Severity.WARNING,
        message=f"`{name}` has no parameters, so nothing of it is quantized per channel",
        labels=(Label(setting.span),),
        notes=("AIMET quantizes activations per tensor, and ignores this without a word",),
        helps=(f"leave it out, or name an operator with a weight: {', '.join(with_weights[:4])}",),
        pointer=setting.pointer,
    )


def _vectors(name: str, setting: Setting) -> Diagnostic:
    return Diagnostic(
        code="Q0319",
        name="per-channel-vectors",
        severity=Severity.INFO,
        message=f"per channel, each single number in the parameters of `{name}` has a scale of its own",
        labels=(Label(setting.span),),
        notes=("they have one dimension; with as many scales as numbers, quantizing them costs nothing on paper",),
        helps=(f"leave `per_channel` out for `{name}`, and fold norms that follow a convolution before quantizing",),
        pointer=setting.pointer,
    )
