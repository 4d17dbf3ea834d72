"""One section of a config being applied: within it no quantizer may be told two things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qsimc.diagnostics import Vendor
from qsimc.graph import Node
from qsimc.ir.config import show_setting
from qsimc.planning.difference import TOOL, Difference, Differences, label
from qsimc.planning.plan import Decision, Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.rules import SYMMETRIC_RANGE

_SYMMETRIC = Decision(
    "symmetric", True, Reason(SYMMETRIC_RANGE, detail="the fixed range reaches as far below zero as above")
)
_CONFLICT = Vendor(TOOL, "AssertionError", "Conflicting tensor quantizer settings for symmetric encodings")


class Section:
    """Applies decisions; of two that disagree about one quantizer, the second is a conflict."""

    def __init__(self, differences: Differences) -> None:
        self._differences = differences
        self._said_at: dict[tuple[int, str], Node] = {}

    def apply(self, quantizers: Iterable[Quantizer], decisions: Sequence[Decision], node: Node) -> None:
        """Apply decisions that `node` asks for.

        Raises:
            AimetError: in vendor mode, at a conflict.
        """
        for quantizer in quantizers:
            for decision in decisions:
                key = id(quantizer), decision.field
                if key not in self._said_at:
                    self._said_at[key] = node
                    _obey(quantizer, decision)
                elif getattr(quantizer, decision.field) != decision.value:
                    self._conflict(quantizer, decision, node, self._said_at[key])

    def spoke_of(self, quantizer: Quantizer, name: str) -> bool:
        return (id(quantizer), name) in self._said_at

    def _conflict(self, quantizer: Quantizer, new: Decision, node: Node, before: Node) -> None:
        old = quantizer.last(new.field)
        winner = _stronger(old, new)
        difference = Difference(
            code="Q0520",
            name="conflicting-settings",
            message=f"`{quantizer.tensor}` cannot be both `{show_setting(old.field, old.value)}` "
            f"(`{old.reason.rule}`) and `{show_setting(new.field, new.value)}` (`{new.reason.rule}`)",
            labels=(
                *label(new, f"`{node.name}` ({node.op}) asks for this"),
                *label(old, f"`{before.name}` ({before.op}) asks for this"),
            ),
            aimet="AIMET keeps one quantizer per tensor and stops when two rules of one section disagree about it",
            instead=f"qsimc obeys `{winner.reason.rule}`: {_why(winner, old if winner is new else new)}",
            vendor=_CONFLICT,
        )
        self._differences.fails((old.reason.rule, new.reason.rule, new.field), difference)
        if winner is new:
            _obey(quantizer, new)
        else:  # the loser stays visible in the history
            quantizer.history += (new, old)


def _obey(quantizer: Quantizer, decision: Decision) -> None:
    quantizer.decide(decision)
    if decision.field == "range" and _mirrored(decision.value):
        quantizer.decide(_SYMMETRIC)


def _mirrored(value: object) -> bool:
    """Whether a range is symmetric about zero, to numpy.allclose's tolerances, which AIMET uses."""
    match value:
        case (int() | float() as low, int() | float() as high):
            return abs(low + high) <= 1e-8 + 1e-5 * abs(high)
        case _:
            return False


def _stronger(old: Decision, new: Decision) -> Decision:
    """Return the decision that fixed mode obeys: the config before a built-in rule, then the later line."""
    if new.reason.span is None:
        return old
    if old.reason.span is None or new.reason.span.start > old.reason.span.start:
        return new
    return old


def _why(winner: Decision, loser: Decision) -> str:
    return "the later of equal rules" if loser.reason.span else "the config outranks a built-in rule"
