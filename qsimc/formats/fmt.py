"""Lay out .qsim: one spelling of every statement, sections in order, comments where they were.

What a text means does not change: neither the rules nor the settings in a rule change places, since their order is
part of a `Config`, and neither is one merged with another.  Brackets that hold a comment are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from qsimc.diagnostics import Diagnostic, Report
from qsimc.formats import pretty
from qsimc.formats.comments import Comment, Item, take_title, with_comments
from qsimc.formats.sections import in_order, section
from qsimc.source import Source
from qsimc.syntax import qsim, quick
from qsimc.syntax.tree import Token, Tree, trees

_INDENT = 2  # of the entries of a block


def fmt(source: Source, report: Report) -> str | None:
    """Return a text in canonical layout, or None after reporting why it cannot be parsed."""
    findings: list[Diagnostic] = []
    tree = qsim.parse(source, findings.append)
    if findings:
        for finding in findings:
            report(finding)
        return None
    items, rest = with_comments(source.text, list(trees(tree.children)), list(quick.comments(source.text)))
    title = take_title(items)
    laid_out = [*_own_lines(title), *_sections(source.text, in_order(items)), *_own_lines(rest)]
    return "".join(f"{line}\n" for line in _squeezed(laid_out))


def _sections(text: str, items: Iterable[Item]) -> Iterator[str]:
    """Yield the lines of statements: a blank one between sections, and around blocks."""
    before, after_block = -1, False
    for item in items:
        here, lines = section(item.tree), _lines(text, item)
        is_block = lines[-1].startswith("}")
        if here != before or is_block or after_block:
            yield ""
        yield from lines
        before, after_block = here, is_block


def _squeezed(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without blank ones at the beginning and after another."""
    before = ""
    for line in lines:
        if line or before:
            yield line
        before = line


def _own_lines(comments: Iterable[Comment], indent: str = "") -> Iterator[str]:
    """Yield comments, each on its own line, with the blank lines above them."""
    for comment in comments:
        if comment.parted:
            yield ""
        yield indent + comment.text


# ── statements ───────────────────────────────────────────────────────────────────────────────


def _lines(text: str, item: Item, indent: int = 0) -> list[str]:
    """Return a statement or an entry with the comments above and behind it."""
    own = [*_own_lines(item.above, " " * indent), *([""] if item.above and item.parted else [])]
    above, body = _beside(_body(text, item, indent), item.behind, " " * indent)
    return [*own, *above, *body]


def _beside(lines: list[str], comment: str, indent: str) -> tuple[list[str], list[str]]:
    """Return a comment as a line of its own, if it is too long to stand behind the last of some lines; and these."""
    if not comment:
        return [], lines
    *others, last = lines
    behind = f"{last}  {comment}"
    return ([], [*others, behind]) if len(behind) <= pretty.WIDTH else ([indent + comment], lines)


def _body(text: str, item: Item, indent: int) -> list[str]:
    tree = item.tree
    if tree.data == "block":
        return _block(text, item)
    if item.within:
        return _verbatim(text, tree, indent)
    return pretty.lines(pretty.block_entry(tree) if tree.data == "entry" else pretty.statement(tree), indent)


def _verbatim(text: str, tree: Tree, indent: int = 0) -> list[str]:
    """Return what is written as it is, but for what is blank at the ends of its lines."""
    first, *others = text[tree.start : tree.end].split("\n")
    return [" " * indent + first.rstrip(), *(line.rstrip() for line in others)]


def _block(text: str, item: Item) -> list[str]:
    """Return a block, on one line if it has one entry that says something, and nobody explains it."""
    subject, *entries = trees(item.tree.children)
    if len(entries) == 1 and len(entries[0].children) > 1 and not item.within:
        return pretty.lines(pretty.statement(item.tree))
    opening = text.index("{", subject.end)
    head = _head(text, subject, [comment for comment in item.within if comment.start_pos < opening])
    inside = [comment for comment in item.within if comment.start_pos > opening]
    if not entries and not inside:
        return [*head[:-1], f"{head[-1]} }}"]
    first = min([tree.start for tree in entries] + [item.tree.end])
    opened = [c for c in inside[:1] if c.start_pos < first and "\n" not in text[opening : c.start_pos]]
    items, below = with_comments(text, entries, inside[len(opened) :])
    above, head = _beside(head, "".join(opened), " " * _INDENT)
    body = [*(line for entry in items for line in _lines(text, entry, _INDENT)), *_own_lines(below, " " * _INDENT)]
    return [*head, *above, *_squeezed(body), "}"]


def _head(text: str, subject: Tree, comments: Sequence[Token]) -> list[str]:
    if not comments:
        return pretty.lines([*pretty.selector(subject), " {"])
    *others, last = _verbatim(text, subject)
    return [*others, f"{last} {{"]
