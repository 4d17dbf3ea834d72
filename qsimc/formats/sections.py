"""The sections of a .qsim text, and in which order its statements can stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from qsimc.formats.comments import Item
from qsimc.syntax.tree import Tree, trees

_HEADER, _OPTION, _LET, _EVERYTHING, _OPERATOR, _CHAIN, _GLOB, _NODE, _FUSE, _MODEL, _CLAIM = range(11)

_PLACES = {
    "dialect": _HEADER,
    "target": _HEADER,
    "extends": _HEADER,
    "option": _OPTION,
    "let": _LET,
    "fuse": _FUSE,
    "require": _CLAIM,
    "forbid": _CLAIM,
    "everything": _EVERYTHING,
    "model": _MODEL,
    "op_type": _OPERATOR,
    "node_glob": _GLOB,
    "node_name": _NODE,
}

_CHANGES = {
    "dialect": ("dialect",),
    "target": ("target",),
    "extends": ("dialect", "target", "options", "rules", "fusions", "claims"),
    "option": ("dialect", "options"),
    "let": (),
    "rule": ("rules",),
    "block": ("rules",),
    "fuse": ("fusions",),
    "require": ("claims",),
    "forbid": ("claims",),
}
"""What a statement adds to or depends on, besides the names of settings."""


def in_order(items: Sequence[Item]) -> Iterator[Item]:
    """Yield statements section by section; two that share something stay in the order that they are in."""
    sorter: TopologicalSorter[int] = TopologicalSorter()
    last: dict[str, int] = {}
    for at, item in enumerate(items):
        shared = (*_CHANGES[item.tree.data], *_names(item.tree))
        sorter.add(at, *(last[part] for part in shared if part in last))
        last.update(dict.fromkeys(shared, at))
    sorter.prepare()
    ready: list[tuple[int, int]] = []
    while sorter:
        for at in sorter.get_ready():
            heappush(ready, (section(items[at].tree), at))
        _, at = heappop(ready)
        yield items[at]
        sorter.done(at)


def _names(tree: Tree) -> Iterator[str]:
    """Yield the names of settings that a statement defines or uses, as they are used: `@w4`."""
    if tree.data in ("let", "reference"):
        yield f"@{tree.children[0]}"
    if tree.data in ("let", "rule", "block", "entry"):
        for child in trees(tree.children):
            yield from _names(child)


def section(tree: Tree) -> int:
    """Return the section that a statement belongs to; a rule belongs where the first of its alternatives does."""
    if tree.data in _PLACES:
        return _PLACES[tree.data]
    first, *others = trees(tree.children)
    if tree.data in ("rule", "block", "any_of"):
        return section(first)
    return _CHAIN if others else section(first)
