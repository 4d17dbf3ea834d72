"""Findings as text for people and for machines: a renderer is a function from findings to a string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qsimc.diagnostics import Diagnostic
from qsimc.render import ci, machine, text

Renderer = Callable[[Sequence[Diagnostic]], str]

RENDERERS: dict[str, Renderer] = {
    "text": text.full,
    "short": text.short,
    "json": machine.json_document,
    "jsonl": machine.json_lines,
    "sarif": machine.sarif,
    "github": ci.github,
    "gitlab": ci.gitlab,
    "junit": ci.junit,
}
"""Every `--format` of a checking command."""
