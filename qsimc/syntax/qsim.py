"""The qsim language: text to tree; what cannot be parsed is reported and left out."""

from __future__ import annotations

from qsimc.diagnostics import Report
from qsimc.source import Source
from qsimc.syntax import quick
from qsimc.syntax.tree import Tree


def parse(source: Source, report: Report) -> Tree:
    """Return the tree of every statement that can be parsed; the others are reported."""
    tree = quick.parse(source.text + "\n")
    if tree is not None:
        return tree
    # Imported here: a text that is well-formed, and every one that comes with qsimc is, needs no tables.
    from qsimc.syntax import tables

    return tables.parse(source, report)
