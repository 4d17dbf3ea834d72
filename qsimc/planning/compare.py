"""Two plans of one model, tensor by tensor: what is decided differently, and who decided it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from qsimc.ir.config import Value
from qsimc.ir.quant import FIELDS
from qsimc.planning.plan import Plan, Reason, TensorPlan

_SILENT = Reason("default", detail="nothing decides it")


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field of one tensor that two plans decide differently, with both reasons."""

    field: str
    before: Value
    after: Value
    because_before: Reason
    because_after: Reason


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor that two plans treat differently.

    `at_before` and `at_after` name what was compared where it does not go by the tensor's own name: the
    port of a module.
    """

    tensor: str
    fields: tuple[FieldDifference, ...]
    at_before: str = ""
    at_after: str = ""


def compare_plans(before: Plan, after: Plan) -> tuple[TensorDifference, ...]:
    """Return the tensors of one model that two plans treat differently, in the order of the first."""
    found = []
    for tensor in dict.fromkeys((*before.tensors, *after.tensors)):
        old, new = (_planned(plan, tensor, like) for plan, like in ((before, after), (after, before)))
        fields = compare(old, new)
        if fields:
            found.append(TensorDifference(tensor, fields))
    return tuple(found)


def without_quantizer(like: TensorPlan, reason: Reason) -> TensorPlan:
    """Return the plan of a tensor that has no quantizer at all; in everything else it is as `like` says."""
    return replace(like, spec=replace(like.spec, enabled=False), because={"enabled": reason}, shares=None)


def _planned(plan: Plan, tensor: str, other: Plan) -> TensorPlan:
    """Return what a plan says of a tensor; a graph pass may have left it without a quantizer."""
    found = plan.tensors.get(tensor)
    return found or without_quantizer(other.tensors[tensor], plan.bare.get(tensor, _SILENT))


def compare(before: TensorPlan, after: TensorPlan, *, leave_out: Iterable[str] = ()) -> tuple[FieldDifference, ...]:
    """Return the fields in which two plans of one tensor differ; of one that is off only that it is."""
    if not (before.spec.enabled and after.spec.enabled):
        return tuple(_differing(before, after, ("enabled",)))
    names = (name for name in (*FIELDS, "axis", "shares") if name not in set(leave_out))
    found = tuple(_differing(before, after, names))
    # A grid's sign follows from its symmetry; to say both would be to say it twice.
    follows = "symmetric" in {f.field for f in found}
    return tuple(f for f in found if not (follows and f.field == "signed"))


def _differing(before: TensorPlan, after: TensorPlan, names: Iterable[str]) -> Iterator[FieldDifference]:
    for name in names:
        old, new = _value(before, name), _value(after, name)
        if old != new:
            yield FieldDifference(name, old, new, _because(before, name), _because(after, name))


def _value(planned: TensorPlan, name: str) -> Value:
    value: Value = getattr(planned if name in ("axis", "shares") else planned.spec, name)
    return value


def _because(planned: TensorPlan, name: str) -> Reason:
    # The axis follows from `per_channel`, sharing from whatever decided that the tensor is quantized at all.
    asked = {"axis": "per_channel", "shares": "enabled"}.get(name, name)
    return planned.because.get(asked, _SILENT)
