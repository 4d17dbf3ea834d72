"""Apply fixes to the user's text: what a fix does not mention stays as it is, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from qsimc.diagnostics import Diagnostic, Edit, Fix
from qsimc.source import Source

_ROUNDS = 20
"""Times that a text is looked at again: a comma that is gone may show the next mistake."""


def fix_text(source: Source, find: Callable[[Source], Sequence[Diagnostic]]) -> tuple[str, int]:
    """Apply safe fixes to a text until it needs no more, and return it with the number of those applied.

    Args:
        source: the text; its findings' edits must point into it.
        find: returns the findings of a source with this one's path.
    """
    applied = 0
    for _ in range(_ROUNDS):
        chosen = compatible(fix for d in find(source) for fix in d.fixes[:1] if fix.safe and _is_in(fix, source))
        if not chosen:
            break
        applied += len(chosen)
        source = Source(source.path, edited(source.text, [edit for fix in chosen for edit in fix.edits]))
    return source.text, applied


def compatible(fixes: Iterable[Fix]) -> list[Fix]:
    """Return those fixes, each once and in the given order, that touch no text which an earlier one changes."""
    chosen: list[Fix] = []
    taken: list[Edit] = []
    for fix in dict.fromkeys(fixes):
        if not any(_overlap(edit, other) for edit in fix.edits for other in taken):
            chosen.append(fix)
            taken += fix.edits
    return chosen


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with edits applied that do not overlap."""
    for edit in sorted(edits, key=lambda edit: edit.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


def _is_in(fix: Fix, source: Source) -> bool:
    return all(edit.span.source.path == source.path for edit in fix.edits)


def _overlap(a: Edit, b: Edit) -> bool:
    """Say whether two edits cannot both be made; two insertions at one place cannot, their order is unknown."""
    return a.span.start == b.span.start or (a.span.start < b.span.end and b.span.start < a.span.end)
