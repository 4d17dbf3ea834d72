"""One page per diagnostic code and per built-in rule: what it is, why, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qsimc import resources

FOLDERS = ("diagnostics", "rules")
"""Folders of specs/ that hold pages; a page's file is named after its code or rule."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its code (`Q0201`) or rule id (`aimet-grid-preserving`), its title, and its Markdown."""

    code: str
    title: str
    text: str


def codes(folder: str) -> tuple[str, ...]:
    """Return the codes or rule ids that have a page in one of `FOLDERS`, sorted."""
    files = resources.root("specs").joinpath(folder).iterdir()
    return tuple(sorted(f.name.removesuffix(".md") for f in files if f.name.endswith(".md")))


def explain(code: str) -> Page:
    """Return the page of a code or rule.

    Raises:
        LookupError: there is none.
    """
    for folder in FOLDERS:
        for known in codes(folder):
            if known.casefold() == code.casefold():
                text = resources.read("specs", f"{folder}/{known}.md")
                heading = re.match(r"# (?:\S+: )?(.*)", text)
                return Page(known, heading[1] if heading else known, text)
    raise LookupError(f"no page explains `{code}`")


def pages() -> tuple[Page, ...]:
    """Return every page, diagnostics first."""
    return tuple(explain(code) for folder in FOLDERS for code in codes(folder))
