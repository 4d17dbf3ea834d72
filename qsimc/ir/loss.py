"""What a translation cannot carry over: every loss is a value with a code and a place in the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from qsimc.diagnostics import Diagnostic, Label, Severity
from qsimc.source import Span


class LossKind(Enum):
    """What is lost: a diagnostic's code, its name, and how grave it is.

    A warning changes what happens to some tensor, or may; information is kept, or put in another way.
    """

    ROUNDING = ("Q0740", "rounding-not-expressible", Severity.WARNING)
    SCALE = ("Q0741", "scale-domain", Severity.WARNING)
    STATISTIC = ("Q0742", "statistic-not-expressible", Severity.WARNING)
    ESTIMATOR = ("Q0743", "estimator-substituted", Severity.WARNING)
    PLACEMENT = ("Q0744", "placement-dropped", Severity.WARNING)
    SUPERGROUP = ("Q0745", "supergroup-unrolled", Severity.WARNING)
    CONSTRAINT = ("Q0746", "constraint-dropped", Severity.WARNING)
    MATERIALISED = ("Q0747", "selector-materialised", Severity.INFO)
    SELECTOR = ("Q0748", "selector-changed", Severity.WARNING)
    PRECEDENCE = ("Q0749", "precedence-changed", Severity.WARNING)
    SIGNEDNESS = ("Q0750", "signedness-changed", Severity.WARNING)
    NARROW_RANGE = ("Q0751", "narrow-range-lost", Severity.WARNING)
    BIAS = ("Q0752", "bias-policy-changed", Severity.WARNING)
    AXIS = ("Q0753", "axis-inferred", Severity.INFO)
    DROPPED = ("Q0755", "unknown-field-dropped", Severity.WARNING)
    DTYPE = ("Q0756", "dtype-substituted", Severity.WARNING)
    DYNAMIC = ("Q0757", "dynamic-to-static", Severity.WARNING)
    GRANULARITY = ("Q0758", "granularity-changed", Severity.WARNING)
    SYMMETRY = ("Q0759", "symmetry-changed", Severity.WARNING)
    OPTION = ("Q0760", "option-dropped", Severity.WARNING)
    DEFAULTED = ("Q0761", "value-defaulted", Severity.INFO)
    RESTRICTION = ("Q0762", "restriction-dropped", Severity.WARNING)


OF_FIELD = {
    "enabled": LossKind.PLACEMENT,
    "type": LossKind.DTYPE,
    "bits": LossKind.DTYPE,
    "signed": LossKind.SIGNEDNESS,
    "symmetric": LossKind.SYMMETRY,
    "narrow_range": LossKind.NARROW_RANGE,
    "unsigned_symmetric": LossKind.SIGNEDNESS,
    "per_channel": LossKind.GRANULARITY,
    "per_group": LossKind.GRANULARITY,
    "axis": LossKind.GRANULARITY,
    "dynamic": LossKind.DYNAMIC,
    "scale": LossKind.SCALE,
    "round": LossKind.ROUNDING,
    "calib": LossKind.ESTIMATOR,
    "percentile": LossKind.ESTIMATOR,
    "reduce": LossKind.STATISTIC,
    "range": LossKind.CONSTRAINT,
    "kernels": LossKind.CONSTRAINT,
    "shares": LossKind.PLACEMENT,
}
"""The loss there is when a field of a tensor cannot be said."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that the translated configuration says otherwise, or not at all.

    `message` says what and why; `span` is where the source said it, None where nobody did; `tensors` are those of a
    model that it changes, empty without a model; `fields` are the fields of a tensor that it is about.
    """

    kind: LossKind
    message: str
    span: Span | None = None
    tensors: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    pointer: str = ""

    @property
    def code(self) -> str:
        return self.kind.value[0]

    @property
    def name(self) -> str:
        return self.kind.value[1]

    def diagnostic(self, path: str = "") -> Diagnostic:
        """Return the loss as a finding; `path` names the source where there is no place in it."""
        return Diagnostic(
            code=self.code,
            name=self.name,
            severity=self.kind.value[2],
            message=self.message,
            labels=() if self.span is None else (Label(self.span),),
            notes=_changed(self.tensors),
            pointer=self.pointer,
            path=path if self.span is None else "",
        )


Lose: TypeAlias = Callable[[Loss], None]
"""How a writer says what it cannot carry over."""

_NAMED = 5


def _changed(tensors: tuple[str, ...]) -> tuple[str, ...]:
    if not tensors:
        return ()
    named = ", ".join(f"`{name}`" for name in tensors[:_NAMED])
    more = f" and {len(tensors) - _NAMED} more" if len(tensors) > _NAMED else ""
    return (f"changes {named}{more}",)
