"""Scopes of NNCF: names of nodes in its own graph, or regular expressions behind `{re}`, which are searched for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from qsimc.formats.foreign._names import globs_of_regex, valid_regex
from qsimc.formats.foreign._shared import Findings, below
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, NodeName, Selector
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Scalar

_REGEX = "{re}"
_QUANTIZER = re.compile(r"\|(WEIGHT|OUTPUT|INPUT\d+)\Z")
_ROLES = {"W": ("weight",), "O": ("output",), "I": ("input",)}


@dataclass(frozen=True, slots=True)
class Scope:
    """What one scope means; `roles` are those of the quantizer that it names, none where it names a node."""

    selector: Selector
    roles: tuple[str, ...]
    span: Span
    pointer: str


def scopes(value: Json, where: str, pointer: str, findings: Findings) -> Iterator[Scope]:
    """Yield the scopes of a string, or of an array of them."""
    if isinstance(value, Array):
        for index, item in enumerate(value.items):
            yield from _one(item, where, below(pointer, index), findings)
    else:
        yield from _one(value, where, pointer, findings)


def _one(value: Json, where: str, pointer: str, findings: Findings) -> Iterator[Scope]:
    if isinstance(value, Scalar) and isinstance(value.value, str):
        if (found := scope(value.value, value.span, pointer, findings)) is not None:
            yield found
    else:
        findings.wrong(value, where, "a name, or an array of names", pointer)


def scope(text: str, span: Span, pointer: str, findings: Findings) -> Scope | None:
    """Return what a scope means, or None after reporting why it means nothing here."""
    quantizer = _QUANTIZER.search(text)
    roles = _ROLES[quantizer[1][0]] if quantizer else ()
    name = text[: quantizer.start()] if quantizer else text
    if _REGEX not in text:
        return Scope(NodeName(name), roles, span, pointer)
    pattern = name.replace(_REGEX, "")
    if problem := valid_regex(pattern):
        findings.bad(f"`{pattern}` is no regular expression: {problem}", span, pointer)
        return None
    globs = globs_of_regex(pattern, begins=False, ends=False)
    if globs is None or not globs.patterns:
        findings.lost(
            LossKind.SELECTOR, f"no pattern of names says what `{pattern}` does: it is dropped", span, pointer
        )
        return None
    if not globs.exact:
        wider = " and ".join(f"`{glob}`" for glob in globs.patterns)
        findings.lost(LossKind.SELECTOR, f"`{pattern}` is read as {wider}, which matches more", span, pointer)
    named = tuple(NodeName(glob, glob=True) for glob in globs.patterns)
    return Scope(named[0] if len(named) == 1 else AnyOf(named), roles, span, pointer)
