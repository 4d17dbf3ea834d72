"""Texts as an editor shows them, for the tests of the language server."""

from __future__ import annotations

from lsprotocol import types
from lsprotocol.types import Range

from qsimc.lsp.positions import View, offset, position

AIMET = """{
  "defaults": {"ops": {"is_output_quantized": "True"}, "params": {}},
  "params": {},
  "op_type": {},
  "supergroups": [],
  "model_input": {},
  "model_output": {}
}
"""


def span_of(text: str, part: str) -> Range:
    view = View("", "", text)
    at = text.index(part)
    return Range(position(view, at), position(view, at + len(part)))


def edited(text: str, edits: list[types.TextEdit]) -> str:
    """Return a text after edits, as an editor makes them."""
    view = View("", "", text)
    for edit in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
        text = text[: offset(view, edit.range.start)] + edit.new_text + text[offset(view, edit.range.end) :]
    return text
