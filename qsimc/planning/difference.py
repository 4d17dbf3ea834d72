"""Where AIMET fails or errs: an error in vendor mode; in fixed mode a warning, and the work goes on."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor
from qsimc.planning.plan import Decision, Mode

TOOL = "aimet_onnx 2.42"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that AIMET and qsimc do differently.

    `aimet` says what AIMET does, `instead` what qsimc does in fixed mode.
    """

    code: str
    name: str
    message: str
    aimet: str
    instead: str
    labels: tuple[Label, ...] = ()
    vendor: Vendor | None = None
    helps: tuple[str, ...] = ()

    def diagnostic(self, mode: Mode, more: int = 0) -> Diagnostic:
        """Return the finding; `more` counts the further places that it would name."""
        notes = [self.aimet] if mode is Mode.VENDOR else [f"{self.aimet}; {self.instead}"]
        if more:
            notes.append(f"and {more} more like this")
        return Diagnostic(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if mode is Mode.VENDOR else Severity.WARNING,
            message=self.message,
            labels=self.labels,
            notes=tuple(notes),
            helps=self.helps,
            vendor=self.vendor,
        )


class AimetError(Exception):
    """Vendor mode has come to where AIMET raises an exception."""

    def __init__(self, difference: Difference) -> None:
        self.diagnostic = difference.diagnostic(Mode.VENDOR)
        super().__init__(self.diagnostic.message)


@dataclass(slots=True)
class Differences:
    """Collects differences, one per `key`: a config line is at fault once, however many nodes it meets."""

    mode: Mode
    _found: dict[Hashable, tuple[Difference, int]] = field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        return self.mode is Mode.FIXED

    def fails(self, key: Hashable, difference: Difference) -> None:
        """AIMET raises an exception here.

        Raises:
            AimetError: in vendor mode.
        """
        if not self.fixed:
            raise AimetError(difference)
        self.differs(key, difference)

    def differs(self, key: Hashable, difference: Difference) -> None:
        """AIMET goes on in silence here; only fixed mode, which does otherwise, comes here."""
        first, count = self._found.get(key, (difference, 0))
        self._found[key] = first, count + 1

    def flush(self, report: Report) -> None:
        for difference, count in self._found.values():
            report(difference.diagnostic(self.mode, count - 1))


def label(decision: Decision, text: str = "") -> tuple[Label, ...]:
    """Return the place of a decision, nothing for a built-in rule."""
    return (Label(decision.reason.span, text),) if decision.reason.span else ()
