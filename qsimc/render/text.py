"""Findings for people: source frames with underlines, or one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from textwrap import wrap

from qsimc.diagnostics import Diagnostic, Label, Severity
from qsimc.source import Span, line_starts

_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}
_WIDEST = 160
"""Columns of a source line that are shown where nothing says how many there are."""
_NARROWEST = 40
_MOST_ALIKE = 20
"""Findings of one code in one file that are shown in full."""


def printable(text: str) -> str:
    """Return text with control, bidirectional and unprintable characters escaped.

    Names come from other people's files: they must not move the cursor, recolour the terminal or
    reorder the line they stand in.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def full(findings: Sequence[Diagnostic], *, color: bool = False, width: int | None = None) -> str:
    """Return each finding with the lines it speaks of, and a summary line.

    Of many alike in one file the first are shown, and the others counted.

    Args:
        findings: what to show, in this order.
        color: mark it up for a terminal.
        width: columns of the terminal; None wraps nothing, and shows the beginnings of long source lines.
    """
    columns = None if width is None else max(width, _NARROWEST)
    alike: Counter[tuple[str, str]] = Counter()
    blocks: list[str] = []
    for d in findings:
        alike[d.file, d.code] += 1
        if alike[d.file, d.code] <= _MOST_ALIKE:
            blocks.append(_block(d, color, columns))
    more = [
        f"{printable(file)}: {count - _MOST_ALIKE} more of {code}; `--format short` lists them"
        for (file, code), count in alike.items()
        if count > _MOST_ALIKE
    ]
    return "\n\n".join([*blocks, *more, summary(findings)]) + "\n"


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


def _block(d: Diagnostic, color: bool, columns: int | None) -> str:
    head = f"{d.severity}[{d.code}]: "
    first, *more = _wrapped(head, printable(d.message), columns)
    lines = [_paint(head[:-2], _COLORS[d.severity], color) + ": " + _paint(first[len(head) :], "1", color)]
    lines += [_paint(line, "1", color) for line in more]
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
        lines += _frame(label, width, mark, _COLORS[d.severity] if mark == "^" else "34", color, columns or _WIDEST)
    if not d.labels and d.file:
        lines.append(f"{gutter}--> {printable(d.file)}")
    remarks = [("note", note) for note in d.notes] + [("help", help_) for help_ in d.helps]
    if d.vendor is not None:
        remarks.append((f"{d.vendor.tool} says", f"{d.vendor.id}: {d.vendor.text}"))
    for title, said in remarks:
        lines += _wrapped(f"{gutter} = {title}: ", printable(said), columns)
    return "\n".join(lines)


def _wrapped(head: str, said: str, columns: int | None) -> list[str]:
    """Return lines no longer than a terminal's, those after the first as far in as what follows the head."""
    if columns is None or len(head) + len(said) <= columns:
        return [head + said]
    indent = " " * min(len(head), columns // 3)
    return wrap(
        said, columns, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _frame(label: Label, gutter: int, mark: str, code: str, color: bool, columns: int) -> list[str]:
    """Return the first line of a span with its columns underlined, and of a long line what surrounds them."""
    span = label.span
    line, before = _line(span)
    length = max(min(span.end, span.start + len(line) - before) - span.start, 1)
    room = max(columns - gutter - len(" | "), _NARROWEST // 2)
    if before + length > room and len(line) > room:
        skipped = max(before - room // 4, 0)
        line, before = (f"...{line[skipped:]}", before - skipped + 3) if skipped else (line, before)
    length = max(min(length, room - before), 1)
    # Tabs become one space each, so that the underline stays below what it marks.
    shown = printable(line[:room].replace("\t", " "))
    pad = " " * len(printable(line[:before].replace("\t", " ")))
    text = f" {printable(label.text)}" if label.text else ""
    frame = [f"{span.line:>{gutter}} | {shown}"]
    margin = f"{' ' * gutter} | "
    if text and len(margin) + len(pad) + length + len(text) > columns and len(text) < len(pad):
        # No room to the right: say it below, ending where the underline does.
        below = " " * max(len(pad) + length - len(text), 0) + text
        return [*frame, f"{margin}{pad}{_paint(mark * length, code, color)}", f"{margin}{_paint(below, code, color)}"]
    return [*frame, f"{margin}{pad}{_paint(mark * length + text, code, color)}"]


def _line(span: Span) -> tuple[str, int]:
    """Return the text of the span's first line and the span's offset in it."""
    start = line_starts(span.source.text)[span.line - 1]
    end = span.source.text.find("\n", start)
    return span.source.text[start : None if end < 0 else end].rstrip("\r"), span.start - start


def _paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text
