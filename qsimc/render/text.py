"""Findings for people: source frames with underlines, or one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from qsimc.diagnostics import Diagnostic, Label, Severity
from qsimc.source import Span, line_starts

_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}
_WIDEST = 160  # columns of a source line that are shown


def printable(text: str) -> str:
    """Return text with control, bidirectional and unprintable characters escaped.

    Names come from other people's files: they must not move the cursor, recolour the terminal or
    reorder the line they stand in.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def full(findings: Sequence[Diagnostic], *, color: bool = False) -> str:
    """Return each finding with the lines it speaks of, and a summary line."""
    blocks = [_block(d, color) for d in findings]
    return "\n\n".join([*blocks, summary(findings)]) + "\n"


def short(findings: Sequence[Diagnostic]) -> str:
    """Return one line per finding: `path:line:column: severity[code] message`."""
    return "".join(f"{_place(d)}: {d.severity}[{d.code}] {printable(d.message)}\n" for d in findings)


def summary(findings: Iterable[Diagnostic]) -> str:
    """Return the numbers of findings in words."""
    count = Counter(d.severity for d in findings)
    words = [f"{n} {severity}{'s' if n > 1 else ''}" for severity in Severity if (n := count[severity])]
    return ", ".join(words) or "no findings"


def _place(d: Diagnostic) -> str:
    path = printable(d.file) or "qsimc"
    return f"{path}:{d.labels[0].span.line}:{d.labels[0].span.column}" if d.labels else path


def _block(d: Diagnostic, color: bool) -> str:
    head = f"{d.severity}[{d.code}]"
    lines = [f"{_paint(head, _COLORS[d.severity], color)}: {_paint(printable(d.message), '1', color)}"]
    width = max((len(str(label.span.end_line)) for label in d.labels), default=1)
    gutter = " " * width
    shown: str | None = None
    for label in d.labels:
        span = label.span
        arrow = "-->" if shown is None else ":::"
        if span.source.path != shown:
            lines.append(f"{gutter}{arrow} {printable(span.source.path)}:{span.line}:{span.column}")
            lines.append(f"{gutter} |")
            shown = span.source.path
        mark = "^" if label is d.labels[0] else "-"
        lines += _frame(label, width, mark, _COLORS[d.severity] if mark == "^" else "34", color)
    if not d.labels and d.file:
        lines.append(f"{gutter}--> {printable(d.file)}")
    lines += [f"{gutter} = note: {printable(note)}" for note in d.notes]
    lines += [f"{gutter} = help: {printable(help_)}" for help_ in d.helps]
    if d.vendor is not None:
        lines.append(f"{gutter} = {d.vendor.tool} says: {d.vendor.id}: {printable(d.vendor.text)}")
    return "\n".join(lines)


def _frame(label: Label, width: int, mark: str, code: str, color: bool) -> list[str]:
    """Return the first line of a span with its columns underlined."""
    span = label.span
    line, before = _line(span)
    length = min(span.end, span.start + len(line) - before) - span.start
    underline = mark * max(length, 1)
    if before > _WIDEST:  # a minified file: show what surrounds the span
        line, before = "..." + line[before - 40 :], 43
    line = line[: max(_WIDEST, before + len(underline))]
    # Tabs become one space each, so that the underline stays below what it marks.
    shown = printable(line.replace("\t", " "))
    pad = len(printable(line[:before].replace("\t", " ")))
    text = f" {printable(label.text)}" if label.text else ""
    return [
        f"{span.line:>{width}} | {shown}",
        f"{' ' * width} | {' ' * pad}{_paint(underline + text, code, color)}",
    ]


def _line(span: Span) -> tuple[str, int]:
    """Return the text of the span's first line and the span's offset in it."""
    start = line_starts(span.source.text)[span.line - 1]
    end = span.source.text.find("\n", start)
    return span.source.text[start : None if end < 0 else end].rstrip("\r"), span.start - start


def _paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text
