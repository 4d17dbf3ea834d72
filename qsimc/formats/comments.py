"""Which comment belongs to which statement of a .qsim text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from qsimc.syntax.tree import Token, Tree


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a line of its own; `parted` if a blank line is above it."""

    text: str
    parted: bool


@dataclass(slots=True)
class Item:
    """A statement or an entry with its comments: those above it, those within it, and the one behind it.

    `parted` if a blank line is between it and what is above it.
    """

    tree: Tree
    parted: bool
    above: list[Comment] = field(default_factory=list)
    within: list[Token] = field(default_factory=list)
    behind: str = ""


def with_comments(text: str, trees: Sequence[Tree], comments: Sequence[Token]) -> tuple[list[Item], list[Comment]]:
    """Return statements or entries with their comments, and the comments below the last one."""
    items = [Item(tree, _is_parted(text, tree.start)) for tree in trees]
    ends = [tree.end for tree in trees]
    below: list[Comment] = []
    for comment in comments:
        at = bisect_right(ends, comment.start_pos)
        if at < len(items) and items[at].tree.start < comment.start_pos:
            items[at].within.append(comment)
        elif at and "\n" not in text[ends[at - 1] : comment.start_pos]:
            items[at - 1].behind = str(comment)
        else:
            own = Comment(str(comment), _is_parted(text, comment.start_pos))
            (items[at].above if at < len(items) else below).append(own)
    return items, below


def _is_parted(text: str, at: int) -> bool:
    """Say whether the line above that of an offset is blank."""
    end = text.rfind("\n", 0, at)
    return end >= 0 and not text[text.rfind("\n", 0, end) + 1 : end].strip()


def take_title(items: Sequence[Item]) -> list[Comment]:
    """Take from the first statement the comments above it that a blank line parts from it, and return them."""
    if not items:
        return []
    first = items[0]
    parted = [comment.parted for comment in first.above] + [first.parted]
    count = len(parted) - 1 - parted[::-1].index(True) if any(parted) else 0
    title, first.above = first.above[:count], first.above[count:]
    return title
