"""How good is a signal-to-quantization-noise ratio?  Three bands, by the share of the signal's power that is noise."""

from __future__ import annotations

from collections.abc import Iterable

from qsimc.report.data import Row

POOR = 10.0
"""dB; below, the noise has more than a tenth of the signal's power."""

FAIR = 20.0
"""dB; below, the noise has more than a hundredth of the signal's power."""


def band(sqnr: float | None) -> str:
    """Return `poor`, `fair`, `good`, or `unknown` when nothing was measured."""
    if sqnr is None:
        return "unknown"
    if sqnr < POOR:
        return "poor"
    return "fair" if sqnr < FAIR else "good"


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """Return rows by SQNR, lowest first, those without one last; equals keep their order."""
    return sorted(rows, key=lambda row: (row.sqnr is None, row.sqnr or 0.0))
