"""How a report writes names and numbers."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""Stands where a number does not apply or was not measured."""


def visible(text: str) -> str:
    """Return `text` with every character that cannot be seen written as an escape: `\\u{202e}`, `\\n`.

    Control characters, bidirectional overrides, exotic spaces, private and unassigned characters: names come
    from models, and a name must not be able to look like another or to rearrange the page.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\u{{{ord(character):x}}}")


def number(value: float, digits: int = 4) -> str:
    """Return `value` with a true minus sign: an integer in full, a float with so many significant digits."""
    if isinstance(value, int):
        return f"{value}".replace("-", MINUS)
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}\N{INFINITY}"
    return f"{value + 0.0:.{digits}g}".replace("-", MINUS)


def extent(low: float, high: float) -> str:
    """Return `low … high`, or one number when both read the same."""
    first, last = number(low), number(high)
    return first if first == last else f"{first} \N{HORIZONTAL ELLIPSIS} {last}"


def decibels(value: float | None) -> str:
    """Return dB with one decimal, without the unit."""
    if value is None:
        return NOTHING
    return number(value) if math.isinf(value) else f"{value:.1f}".replace("-", MINUS)


def share(value: float) -> str:
    """Return a share (0 to 1) in percent: `0 %`, `< 0.01 %`, `3.2 %`."""
    percent = 100.0 * value
    if 0.0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.2g} %" if percent < 10.0 else f"{percent:.0f} %"


def size(count: int) -> str:
    """Return bytes in the largest decimal unit that keeps the number at 1 or more."""
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def counted(count: int, noun: str) -> str:
    """Return `1 tensor`, `2 tensors`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
