"""One section of a config being applied to ports: within it no quantizer may be told two things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qsimc.diagnostics import Vendor
from qsimc.ir.config import show_setting
from qsimc.planning.difference import Difference, Differences, label
from qsimc.planning.plan import Decision
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.around import Reach
from qsimc.planning.torch.state import TOOL
from qsimc.planning.words import Words

# What AIMET's error calls a setting; `enabled` goes by the port.
_KEYS = {"symmetric": "is_symmetric", "range": "encoding_constraints"}


class PortSection:
    """Applies decisions; of two that disagree about one quantizer, the second is a conflict."""

    def __init__(self, differences: Differences) -> None:
        self._differences = differences
        self._said_at: dict[tuple[int, str], str] = {}

    def apply(self, reach: Reach, words: Words, subject: str) -> None:
        """Apply what is said of a call's inputs and outputs; `subject` names the call or its module.

        Raises:
            AimetError: in vendor mode, at a conflict or an empty range.
        """
        for decision in words.inputs:
            own = decision.field == "enabled" and decision.value is True
            self._tell(reach.inputs if own else reach.near_inputs, decision, subject, "input")
        self.apply_outputs(reach, words.outputs, subject)

    def apply_outputs(self, reach: Reach, decisions: Iterable[Decision], subject: str) -> None:
        """Apply what is said of a call's outputs only."""
        for decision in decisions:
            own = decision.field == "range" or (decision.field == "enabled" and decision.value is True)
            self._tell(reach.outputs if own else reach.near_outputs, decision, subject, "output")

    def spoke_of(self, quantizer: Quantizer, name: str) -> bool:
        return (id(quantizer), name) in self._said_at

    def _tell(self, quantizers: Sequence[Quantizer], decision: Decision, subject: str, side: str) -> None:
        if decision.field == "range" and self._is_empty(decision, subject):
            return
        for quantizer in quantizers:
            key = id(quantizer), decision.field
            if key not in self._said_at:
                self._said_at[key] = subject
                quantizer.decide(decision)
            elif getattr(quantizer, decision.field) != decision.value:
                self._conflict(quantizer, decision, subject, side)

    def _is_empty(self, decision: Decision, subject: str) -> bool:
        match decision.value:
            case (int() | float() as low, int() | float() as high) if low >= high:
                self._empty_range(decision, low, high, subject)
                return True
            case _:
                return False

    def _empty_range(self, decision: Decision, low: float, high: float, subject: str) -> None:
        difference = Difference(
            code="Q0531",
            name="empty-range",
            message=f"`{decision.reason.rule}` leaves no room: {low:g} is not below {high:g}",
            labels=label(decision, f"`{subject}` asks for this"),
            aimet="AIMET's torch half stops at a range whose minimum is not below its maximum",
            instead="qsimc leaves the range to calibration",
            vendor=Vendor(TOOL, "AssertionError", f"Min value {low} is not less than max val {high}"),
        )
        self._differences.fails(("Q0531", decision.reason.rule), difference)

    def _conflict(self, quantizer: Quantizer, new: Decision, subject: str, side: str) -> None:
        old = quantizer.last(new.field)
        winner = _stronger(old, new)
        loser = old if winner is new else new
        why = "the later of equal rules" if loser.reason.span else "the config outranks a built-in rule"
        key = _KEYS.get(new.field, f"is_{side}_quantized" if new.field == "enabled" else new.field)
        difference = Difference(
            code="Q0530",
            name="conflicting-port-settings",
            message=f"`{quantizer.tensor}` cannot be both `{show_setting(old.field, old.value)}` "
            f"(`{old.reason.rule}`) and `{show_setting(new.field, new.value)}` (`{new.reason.rule}`)",
            labels=(
                *label(new, f"`{subject}` asks for this"),
                *label(old, f"`{self._said_at[id(quantizer), new.field]}` asks for this"),
            ),
            aimet="AIMET's torch half lets a rule reach the neighbours' ports as well, "
            "and stops when two rules of one section disagree about one port",
            instead=f"qsimc obeys `{winner.reason.rule}`: {why}",
            vendor=Vendor(TOOL, "AssertionError", f"Conflicting tensor quantizer settings for {key}"),
        )
        self._differences.fails((old.reason.rule, new.reason.rule, new.field), difference)
        if winner is new:
            quantizer.decide(new)
        else:  # the loser stays visible in the history
            quantizer.history += (new, old)


def _stronger(old: Decision, new: Decision) -> Decision:
    """Return the decision that fixed mode obeys: the config before a built-in rule, then the later line."""
    if new.reason.span is None:
        return old
    if old.reason.span is None or new.reason.span.start > old.reason.span.start:
        return new
    return old


def obey_all(quantizers: Iterable[Quantizer], decisions: Iterable[Decision]) -> None:
    """Let every quantizer obey every decision."""
    told = tuple(decisions)
    for quantizer in quantizers:
        quantizer.obey(told)
