"""Findings as text for people and for machines: a renderer is a function from findings to a string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from qsimc.diagnostics import Diagnostic

Renderer = Callable[[Sequence[Diagnostic]], str]


def _in(module: str, name: str) -> Renderer:
    """Return a renderer whose module is imported when it is used: those for machines take an XML library and more."""

    def render(findings: Sequence[Diagnostic]) -> str:
        renderer: Renderer = getattr(import_module(f"qsimc.render.{module}"), name)
        return renderer(findings)

    return render


RENDERERS: dict[str, Renderer] = {
    "text": _in("text", "full"),
    "short": _in("text", "short"),
    "json": _in("machine", "json_document"),
    "jsonl": _in("machine", "json_lines"),
    "sarif": _in("machine", "sarif"),
    "github": _in("ci", "github"),
    "gitlab": _in("ci", "gitlab"),
    "junit": _in("ci", "junit"),
}
"""Every `--format` of a checking command."""
