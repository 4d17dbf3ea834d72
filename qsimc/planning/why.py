"""Why a tensor is quantized as it is, or not at all: the winner and the losers of every field."""

from __future__ import annotations

from dataclasses import dataclass

from qsimc import resources
from qsimc.diagnostics import did_you_mean
from qsimc.ir.config import show_setting, show_value
from qsimc.ir.quant import FIELDS, Numeric
from qsimc.planning.plan import Decision, Kind, Plan, Reason, TensorPlan
from qsimc.planning.rules import IDS, TIES


@dataclass(frozen=True, slots=True)
class FieldAnswer:
    """Who decided one field: the winner, and whom it overruled, first to last.

    `through` is set where the tensor uses another one's quantizer: that tensor, and who decided there.
    """

    field: str
    winner: Decision
    losers: tuple[Decision, ...] = ()
    through: tuple[str, Decision] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything there is to say about one tensor, or about one field of it."""

    tensor: str
    quantized: bool
    sentence: str
    fields: tuple[FieldAnswer, ...]


def why(plan: Plan, tensor: str, field: str | None = None) -> Answer:
    """Return why a tensor of the model is quantized as it is, or not quantized.

    Raises:
        LookupError: no such tensor or field; the message names the nearest one.
    """
    wanted = _wanted(field)
    planned = plan.tensors.get(tensor)
    if planned is not None:
        fields = tuple(_field(plan, planned, name) for name in wanted)
        return Answer(tensor, bool(planned.spec.enabled), _sentence(planned), fields)
    reason = plan.bare.get(tensor)
    if reason is None:
        known = (*plan.tensors, *plan.bare)
        raise LookupError(f"the model has no tensor `{tensor}`{_hint(tensor, known)}")
    never = FieldAnswer("enabled", Decision("enabled", False, reason))
    return Answer(tensor, False, f"`{tensor}` has no quantizer{explain(reason)}", (never,))


def explain(reason: Reason) -> str:
    """Return a reason as the end of the sentence that it explains."""
    if reason.rule == "default":
        return ": no rule asks for it"
    detail = f" ({reason.detail})" if reason.detail else ""
    place = f" at {_place(reason)}" if reason.span else ""
    page = f". {summary(reason.rule)}" if reason.rule in IDS else ""
    return f", by `{reason.rule}`{place}{detail}{page}"


def summary(rule: str) -> str:
    """Return the sentence that opens the page of a built-in rule, without its full stop."""
    page = resources.read("specs", f"rules/{rule}.md")
    return page.split("\n\n", 2)[1].replace("\n", " ").rstrip(".")


def render(answer: Answer) -> str:
    """Return an answer as plain text: one block per field, the winner first, each rule with its place."""
    lines = [answer.sentence]
    for one in answer.fields:
        lines += ["", f"{one.field} = {_value(one.winner)}", f"  by    {_line(one.winner.reason)}"]
        if one.through is not None:
            tensor, decision = one.through
            lines.append(f"  from  `{tensor}`: {_line(decision.reason)}")
        lines += [f"  over  {_line(loser.reason)}, which says {_value(loser)}" for loser in reversed(one.losers)]
    return "\n".join(lines) + "\n"


def _line(reason: Reason) -> str:
    place = f"  at {_place(reason)}" if reason.span else ""
    detail = f"  ({reason.detail})" if reason.detail else ""
    return f"{reason.rule}{place}{detail}"


def _place(reason: Reason) -> str:
    span = reason.span
    return f"{span.source.path}:{span.line}:{span.column}" if span is not None else ""


def _value(decision: Decision) -> str:
    if decision.value is None:
        return "none"
    if decision.field == "range":
        return show_setting("range", decision.value).removeprefix("range=")
    return show_value(decision.value)


def _wanted(field: str | None) -> tuple[str, ...]:
    # The axis follows from `per_channel` and the operator; nobody decides it separately.
    names = {name: name for name in FIELDS} | {"axis": "per_channel"}
    if field is None:
        return FIELDS
    if field not in names:
        raise LookupError(f"a plan has no field `{field}`{_hint(field, tuple(names))}")
    return (names[field],)


def _hint(word: str, known: tuple[str, ...]) -> str:
    near = did_you_mean(word, known)
    return f"; did you mean `{near}`?" if near else ""


def _field(plan: Plan, planned: TensorPlan, name: str) -> FieldAnswer:
    decisions = [decision for decision in planned.history if decision.field == name]
    winner = decisions[-1]
    through = _owner(plan, planned, name) if winner.reason.rule in TIES else None
    return FieldAnswer(name, winner, tuple(decisions[:-1]), through)


def _owner(plan: Plan, planned: TensorPlan, name: str) -> tuple[str, Decision] | None:
    """Return the tensor whose own quantizer this one uses, and who decided the field there."""
    root = planned.owner
    for other in plan.tensors.values():
        shared = other.tensor != planned.tensor and root in (other.tensor, other.shares)
        if shared and other.because["enabled"].rule not in TIES:
            return other.tensor, next(d for d in reversed(other.history) if d.field == name)
    return None


def _sentence(planned: TensorPlan) -> str:
    if not planned.spec.enabled:
        return f"`{planned.tensor}` is not quantized{explain(planned.because['enabled'])}"
    spec = planned.spec
    words = [f"{spec.type}{spec.bits}"]
    if spec.type is Numeric.INT:
        words += [show_setting("symmetric", spec.symmetric), show_setting("per_channel", spec.per_channel)]
    shared = f", with the quantizer of `{planned.shares}`" if planned.shares else ""
    what = {Kind.INPUT: "model input", Kind.CONSTANT: "constant"}.get(planned.kind, planned.role)
    node = f" of `{planned.node}` ({planned.op})" if planned.node else ""
    return f"`{planned.tensor}`, {what}{node}, is quantized: {' '.join(words)}{shared}"
