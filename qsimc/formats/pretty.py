"""Print trees of the qsim language in one spelling: what fits on a line stands on it, what does not is broken once.

The same tree is read back from what is printed, but for its offsets and for parentheses that mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qsimc.ir import lexical
from qsimc.syntax.tree import Child, Token, Tree, trees

WIDTH = 100
"""Columns of a line."""

_INDENT = 4


@dataclass(frozen=True, slots=True)
class Group:
    """What stands in parentheses, and where a line can be broken: before each part.

    `bare` parts need no parentheses as long as they are on one line.
    """

    parts: tuple[str, ...]
    bare: bool = False

    def __str__(self) -> str:
        inside = " ".join(self.parts)
        return inside if self.bare else f"({inside})"


Piece: TypeAlias = "str | Group"


def lines(pieces: Sequence[Piece], indent: int = 0) -> list[str]:
    """Return pieces on one line if it is short enough, else broken after the first parenthesis, and so on.

    What needs no parentheses on one line is broken before anything else.
    """
    broken: list[str] = []
    rest = list(pieces)
    while not _fits(rest, indent) and (at := _first(rest)) is not None:
        group = rest[at]
        assert isinstance(group, Group)
        broken += [*lines([*rest[:at], "("], indent), *_filled(group.parts, indent + _INDENT)]
        rest = [")", *rest[at + 1 :]]
    return [*broken, " " * indent + "".join(map(str, rest))]


def _first(pieces: Sequence[Piece]) -> int | None:
    """Return the place of the group to break first, None if there is none."""
    bare = (at for at, piece in enumerate(pieces) if isinstance(piece, Group) and piece.bare)
    groups = (at for at, piece in enumerate(pieces) if isinstance(piece, Group) and piece.parts)
    return next(bare, next(groups, None))


def _fits(pieces: Iterable[Piece], indent: int) -> bool:
    length = indent
    for piece in pieces:
        length += len(str(piece))
        if length > WIDTH:
            return False
    return True


def _filled(parts: Iterable[str], indent: int) -> Iterator[str]:
    """Yield lines that hold as many parts as fit."""
    line = ""
    for part in parts:
        if line and indent + len(line) + 1 + len(part) > WIDTH:
            yield " " * indent + line
            line = part
        else:
            line = f"{line} {part}" if line else part
    yield " " * indent + line


# ── statements ───────────────────────────────────────────────────────────────────────────────


def statement(tree: Tree) -> list[Piece]:
    """Return any statement but a block; a block with one entry is the rule that it could be."""
    match tree.data:
        case "extends":
            (base,) = trees(tree.children)
            return [f"extends {_base(base)}"]
        case "option":
            return _separated([["option"], *map(_assignment, trees(tree.children))])
        case "let":
            name, *words = tree.children
            return _separated([[f"let {name} ="], *map(_setting, trees(words))])
        case "rule":
            subject, roles, *words = tree.children
            return [*selector(subject), *_clause(roles, words)]
        case "block":
            subject, entry_ = trees(tree.children)
            return [*selector(subject), *entry(entry_)]
        case "fuse":
            return ["fuse ", *selector(tree.children[0])]
        case "require" | "forbid":
            return _claim(tree)
        case _:
            return [f"{tree.data} {tree.children[0]}"]


def entry(tree: Tree) -> list[Piece]:
    """Return one entry of a block as it stands behind a selector."""
    roles, *words = tree.children
    return _clause(roles, words)


def block_entry(tree: Tree) -> list[Piece]:
    """Return one entry of a block on a line of its own."""
    roles = next(trees(tree.children))
    return ["*", *entry(tree)] if roles.data == "every_role" else entry(tree)


def _base(tree: Tree) -> str:
    said = tree.children[0]
    return f"target {said}" if tree.data == "base_target" else _string(said)


def _clause(roles: Child, words: Iterable[Child]) -> list[Piece]:
    return _separated([[f"{_roles(roles)}:"], *map(_setting, trees(words))])


def _roles(tree: Child) -> str:
    if tree is None or (isinstance(tree, Tree) and tree.data == "every_role"):
        return ""
    assert isinstance(tree, Tree)
    return f"[{', '.join(_name(child) for child in tree.children if child is not None)}]"


def _claim(tree: Tree) -> list[Piece]:
    subject, roles, predicate, message, name = tree.children
    assert isinstance(predicate, Tree)
    pieces: list[Piece] = [f"{tree.data} ", *selector(subject), f"{_roles(roles)}: "]
    pieces.append(Group(tuple(_parts(predicate)), bare=True))
    if message is not None:
        pieces.append(f" {_string(message)}")
    if name is not None:
        pieces.append(f" as {name}")
    return pieces


# ── selectors ────────────────────────────────────────────────────────────────────────────────


def selector(tree: Child) -> list[Piece]:
    """Return a selector, without parentheses that mean nothing."""
    assert isinstance(tree, Tree)
    if tree.data in ("everything", "model"):
        return ["*" if tree.data == "everything" else "model"]
    pieces: list[Piece] = []
    for step in _steps(tree):
        pieces += [" -> ", _step(step)] if pieces else [_step(step)]
    return pieces


def _steps(path: Tree) -> list[Tree]:
    """Return the steps of a path; those of `(A -> B)` are those of what it holds."""
    steps = [_held(atom) for atom in trees(path.children)]
    return _steps(*trees(steps[0].children)) if len(steps) == 1 and _holds_one(steps[0]) else steps


def _held(atom: Tree) -> Tree:
    """Return what `(A)` holds; `(A -> B)` is no single step, and stays."""
    if not _holds_one(atom):
        return atom
    steps = _steps(*trees(atom.children))
    return steps[0] if len(steps) == 1 else atom


def _holds_one(atom: Tree) -> bool:
    return atom.data == "any_of" and len(atom.children) == 1


def _step(atom: Tree) -> Piece:
    match atom.data:
        case "any_of":
            return _set("".join(map(str, selector(path))) for path in atom.children)
        case "op_type":
            return _name(atom.children[0])
        case "node_glob":
            return f"~{_string(atom.children[0])}"
        case _:
            return _string(atom.children[0])


def _set(members: Iterable[str]) -> Group:
    return Group(tuple(f"| {member}" if at else member for at, member in enumerate(members)))


# ── settings ─────────────────────────────────────────────────────────────────────────────────


def _setting(tree: Tree) -> list[Piece]:
    match tree.data:
        case "assignment":
            return _assignment(tree)
        case "reference":
            return [f"@{tree.children[0]}"]
        case _:
            return [str(tree.children[0])]


def _assignment(tree: Tree) -> list[Piece]:
    name, value = tree.children
    assert isinstance(value, Tree)
    return [f"{name}=", _value(value)]


def _value(tree: Tree) -> Piece:
    match tree.data:
        case "number":
            return _number(tree.children[0])
        case "string":
            return _string(tree.children[0])
        case "range":
            return "..".join("" if bound is None else _number(bound) for bound in tree.children)
        case "set":
            return _set(str(_value(member)) for member in trees(tree.children))
        case _:
            return "/".join(map(str, tree.children))


# ── restrictions ─────────────────────────────────────────────────────────────────────────────

_JOINED = {"implies": "=>", "either": "or", "both": "and"}
_LEVELS = {"implies": 0, "either": 1, "both": 2}
_ATOM = 3


def _parts(tree: Tree) -> Iterator[str]:
    """Yield a predicate in parts before which a line can be broken."""
    if tree.data not in _JOINED:
        yield _test(tree)
        return
    for at, child in enumerate(trees(tree.children)):
        first, *others = _parts(child) if _LEVELS.get(child.data, _ATOM) > _LEVELS[tree.data] else [_inside(child)]
        yield f"{_JOINED[tree.data]} {first}" if at else first
        yield from others


def _test(tree: Tree) -> str:
    match tree.data:
        case "compare":
            name, operator, value = tree.children
            assert isinstance(value, Tree)
            return f"{name} {operator} {_value(value)}"
        case "member":
            name, values = tree.children
            assert isinstance(values, Tree)
            return f"{name} in {_value(values)}"
        case "negation":
            (negated,) = trees(tree.children)
            return f"not {_test(negated) if negated.data in ('holds', 'negation') else _inside(negated)}"
        case _:
            return str(tree.children[0])


def _inside(predicate: Tree) -> str:
    return str(Group(tuple(_parts(predicate))))


# ── tokens ───────────────────────────────────────────────────────────────────────────────────


def _name(token: Child) -> str:
    return lexical.name(lexical.read_name(str(token)))


def _string(token: Child) -> str:
    return lexical.string(lexical.read_string(str(token)))


def _number(token: Child) -> str:
    assert isinstance(token, Token)
    return lexical.number(lexical.read_number(token))


def _separated(words: Iterable[Sequence[Piece]]) -> list[Piece]:
    """Return words with a space between them."""
    pieces: list[Piece] = []
    for word in words:
        pieces += [" ", *word] if pieces else word
    return pieces
