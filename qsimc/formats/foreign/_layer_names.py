"""Names of layers as files of Hugging Face and torchao write them: a name, or `re:` and a regular expression."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from qsimc.formats.foreign._names import globs_of_regex, may_overlap, regex_of_glob, valid_regex
from qsimc.formats.foreign._shared import Findings
from qsimc.ir.config import Rule
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, NodeName, OpType, Selector, alternatives
from qsimc.source import Span
from qsimc.spec.operator_words import operator_words

REGEX = "re:"

_MOST_PARENTHESES = 20


def read_regex(pattern: str, span: Span, pointer: str, findings: Findings, *, whole: bool) -> tuple[NodeName, ...]:
    """Return the globs of a regular expression, with what they lose reported; none if there are none.

    Args:
        whole: whether it must match whole names (`re.fullmatch`), or their beginnings (`re.match`).
    """
    if why := valid_regex(pattern):
        findings.bad(f"`{pattern[:60]}` is no regular expression: {why[:100]}", span, pointer)
        return ()
    globs = globs_of_regex(pattern, begins=True, ends=whole)
    if globs is None:
        findings.lost(LossKind.SELECTOR, f"no glob is like `{pattern[:60]}`, which is dropped", span, pointer)
        return ()
    if not globs.exact:
        wider = " | ".join(f'~"{glob}"' for glob in globs.patterns[:3])
        message = f"`{pattern[:60]}` becomes {wider}, which may match more names"
        findings.lost(LossKind.SELECTOR, message, span, pointer)
    return tuple(NodeName(glob, glob=True) for glob in globs.patterns)


def is_class(word: str) -> bool:
    """Say whether a word is a class of modules: a known one, or one that looks like no layer's name."""
    return (
        word in operator_words("torch").meant or re.fullmatch(r"[A-Z][A-Za-z0-9_]*[a-z][A-Za-z0-9_]*", word) is not None
    )


def operators(word: str) -> Selector | None:
    """Return the operators of a class of modules, None if ONNX has none for it."""
    meant = operator_words("torch").meant.get(word, ())
    return any_of(OpType(name) for name in meant)


def any_of(selectors: Iterable[Selector]) -> Selector | None:
    """Return one selector for several, None for none."""
    found = tuple(selectors)
    return None if not found else found[0] if len(found) == 1 else AnyOf(found)


def last_only(rules: Iterable[Rule]) -> list[Rule]:
    """Return rules that are complete each without the patterns and names that a later one speaks of again."""
    found: list[Rule] = []
    seen: set[Selector] = set()
    for rule in reversed(list(rules)):
        names = [choice for choice in alternatives(rule.selector) if isinstance(choice, NodeName)]
        left = any_of(choice for choice in names if choice not in seen) if names else rule.selector
        seen.update(names)
        if left is not None:
            found.append(replace(rule, selector=left))
    return found[::-1]


def write_regex(glob: str, *, whole: bool) -> str:
    """Return the regular expression of a glob."""
    pattern = regex_of_glob(glob)
    if whole:
        return pattern
    return (pattern.removesuffix(".*") or pattern) if glob.endswith("*") else pattern + "$"


def alphabetical(globs: Sequence[str]) -> list[str] | None:
    """Return regular expressions for globs of rising precedence, for a tool that takes the first in the alphabet.

    Parentheses bring an expression forward without changing what it matches.  None if too many would be needed.
    """
    found: list[str] = []
    for at, glob in enumerate(globs):
        pattern = write_regex(glob, whole=False)
        after = [found[i] for i in range(at) if may_overlap(globs[i], glob)]
        for _ in range(_MOST_PARENTHESES):
            if all(pattern < other for other in after):
                break
            bare, dollar = (pattern, "") if glob.endswith("*") else (pattern[:-1], "$")
            pattern = f"({bare}){dollar}"
        else:
            return None
        found.append(pattern)
    return found
