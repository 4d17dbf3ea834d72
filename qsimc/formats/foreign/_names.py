"""Names of layers and nodes in patterns: globs, regular expressions, and what they match in a graph.

A glob is that of fnmatch: `*` any text, `?` one character, `[a-z]` and `[!a-z]` one of a class.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

from qsimc.graph import Graph, Node
from qsimc.ir.select import AnyOf, Chain, Everything, NodeName, OpType, Selector

_MOST_CHARACTERS, _MOST_GLOBS = 500, 64
_GLOB = re.compile(r"\*|\?|\[!?+\]?+[^\]]*\]|.", re.S)
_CLASSES = {"d": "[0-9]", "w": "?", "s": "?", "D": "[!0-9]", "W": "?", "S": "?"}
_WIDER = frozenset("wsWS")


@dataclass(frozen=True, slots=True)
class Globs:
    """Globs that together match what a regular expression does, or more where they are not `exact`."""

    patterns: tuple[str, ...]
    exact: bool


def regex_of_glob(glob: str) -> str:
    """Return the regular expression, without anchors, that matches in full what a glob does."""
    return "".join(_regex_part(part) for part in _GLOB.findall(glob))


def _regex_part(part: str) -> str:
    if part == "*":
        return ".*"
    if part == "?":
        return "."
    if len(part) > 1:
        return translate(part).removeprefix("(?s:").removesuffix(r")\Z")
    # As little escaped as may be: `-`, `/` and spaces mean themselves outside of a class.
    return "\\" + part if part in ".^$+{}()|[]\\" else part


def regex_of_name(name: str) -> str:
    """Return the regular expression, without anchors, that matches one name in full."""
    return "".join("\\" + char if char in ".^$*+?{}()|[]\\" else char for char in name)


def glob_of_name(name: str) -> str:
    """Return the glob that matches one name only."""
    return re.sub(r"[*?\[]", r"[\g<0>]", name)


def name_of_glob(glob: str) -> str | None:
    """Return the only name that a glob matches, None if it may match several."""
    bare = re.sub(r"\[([*?\[])\]", "", glob)
    return None if re.search(r"[*?\[]", bare) else re.sub(r"\[([*?\[])\]", r"\1", glob)


def may_overlap(glob: str, other: str) -> bool:
    """Say whether some name may match two globs; a class counts as any character."""
    here, there = _GLOB.findall(glob), _GLOB.findall(other)
    reached = [not any(part != "*" for part in there[:end]) for end in range(len(there) + 1)]
    for part in here:
        before, reached = reached, [reached[0] and part == "*", *[False] * len(there)]
        for end, against in enumerate(there, 1):
            if "*" in (part, against):
                free = (part == "*" and before[end]) or (against == "*" and reached[end - 1])
                one = (part == "*" and reached[end - 1]) or (against == "*" and before[end])
                reached[end] = free or one
            else:
                wild = any(len(p) > 1 or p == "?" for p in (part, against))
                reached[end] = before[end - 1] and (wild or part == against)
    return reached[-1]


def covers(glob: str, other: str) -> bool:
    """Say whether a glob surely matches every name that another one does."""
    return glob == other or (not set("?[") & set(glob) and fnmatchcase(other, glob))


def valid_regex(pattern: str) -> str:
    """Return why a text is no regular expression, empty if it is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sets that a later Python may read otherwise
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error) or "it cannot be compiled"
    return ""


def globs_of_regex(pattern: str, *, begins: bool, ends: bool) -> Globs | None:
    """Return globs for a regular expression; None if there are none near it.

    What a glob cannot count becomes `*`: `[0-9]+` is `[0-9]*`, and `exact` is false then.

    Args:
        begins, ends: whether the match begins and ends where the name does: both for `re.fullmatch`, only the first for
            `re.match`, none for `re.search`; `^` and `$` in the pattern count besides.
    """
    if len(pattern) > _MOST_CHARACTERS or valid_regex(pattern):
        return None
    body = pattern.removeprefix("^").removesuffix("$") if not pattern.endswith("\\$") else pattern.removeprefix("^")
    parser = _Regex(body)
    try:
        found = parser.choices()
    except (_NoGlobError, RecursionError):
        return None
    first, last = pattern.startswith("^"), body != pattern.removeprefix("^")
    if parser.at < len(body) or (parser.branches > 1 and ((first and not begins) or (last and not ends))):
        return None  # an anchor at either end binds one branch only
    begins, ends = begins or first, ends or last
    framed = (f"{'' if begins else '*'}{glob}{'' if ends else '*'}" for glob in found)
    return Globs(tuple(dict.fromkeys(re.sub(r"\*\*+", "*", glob) for glob in framed)), parser.exact)


class _NoGlobError(Exception):
    """The pattern says what no glob does."""


class _Regex:
    """Reads alternatives, sequences and repeated atoms of a valid pattern; each is a list of globs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.exact = True
        self.branches = 0  # of the alternatives read last, the outermost in the end

    def choices(self) -> list[str]:
        found = self._sequence()
        branches = 1
        while self.text[self.at : self.at + 1] == "|":
            self.at += 1
            branches += 1
            found += self._sequence()
        self.branches = branches
        return found

    def _sequence(self) -> list[str]:
        found = [""]
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            atoms = self._repeated(self._atom())
            found = [before + after for before in found for after in atoms]
            if len(found) > _MOST_GLOBS:
                raise _NoGlobError
        return found

    def _atom(self) -> list[str]:
        char = self.text[self.at]
        self.at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return [self._class()]
        if char == "\\":
            return [self._escape()]
        if char in "^$":
            raise _NoGlobError
        return ["?" if char == "." else glob_of_name(char)]

    def _group(self) -> list[str]:
        if self.text.startswith("?", self.at):
            if not self.text.startswith("?:", self.at):
                raise _NoGlobError
            self.at += 2
        found = self.choices()
        self.at += 1
        return found

    def _class(self) -> str:
        match = re.compile(r"(\^?)([^\]\[\\^!]+)\]").match(self.text, self.at)
        if match is None:
            raise _NoGlobError
        self.at = match.end()
        return f"[{'!' if match[1] else ''}{match[2]}]"

    def _escape(self) -> str:
        char = self.text[self.at]
        self.at += 1
        if char in _CLASSES:
            self.exact = self.exact and char not in _WIDER
            return _CLASSES[char]
        if char.isalnum():
            raise _NoGlobError
        return glob_of_name(char)

    def _repeated(self, atoms: list[str]) -> list[str]:
        """Return an atom with what follows it: `?`, `*`, `+` or a count."""
        match = re.compile(r"([?*+]|\{\d*,?\d*\})[?+]?").match(self.text, self.at)
        if match is None:
            return atoms
        self.at = match.end()
        if match[1] == "?":
            return ["", *atoms]
        self.exact = self.exact and atoms == ["?"] and match[1] in "*+"
        return [f"{atom}*" for atom in atoms] if match[1] == "+" else ["*"]


def matches(node: Node, selector: Selector) -> bool:
    """Say whether a selector means a node by itself; a chain never does."""
    match selector:
        case Everything():
            return True
        case OpType(name):
            return node.op == name
        case NodeName(pattern, glob):
            return fnmatchcase(node.name, pattern) if glob else node.name == pattern
        case AnyOf(choices):
            return any(matches(node, choice) for choice in choices)
        case _:
            return False


def chains_in(graph: Graph, chain: Chain) -> Iterator[tuple[Node, ...]]:
    """Yield the nodes of each occurrence of a chain: joined by tensors that nothing else reads."""
    steps: list[Selector] = [
        step for part in chain.steps for step in (part.steps if isinstance(part, Chain) else (part,))
    ]
    for first in graph.nodes:
        run = [first]
        for _ in steps[1:]:
            readers = [node for tensor in run[-1].outputs for node in graph.consumers.get(tensor, ())]
            if len(readers) != 1 or any(tensor in graph.outputs for tensor in run[-1].outputs):
                break
            run.append(readers[0])
        if len(run) == len(steps) and all(map(matches, run, steps)):
            yield tuple(run)
