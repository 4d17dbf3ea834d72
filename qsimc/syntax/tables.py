"""Parse qsim with the tables of grammar/qsim.lark: slow to build, and able to say what was expected.

Statements end with newlines, so recovery is trivial and total: report, blank the line, parse again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import lark
from lark import Lark, UnexpectedCharacters, UnexpectedEOF, UnexpectedToken
from lark.lark import PostLex

from qsimc import resources
from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.source import Source, Span
from qsimc.syntax.tree import Child, Token, Tree

MAX_ERRORS = 20
_DEEPEST = 240


class Newlines(PostLex):
    """Drop newlines that end nothing: inside ( ) and [ ], at the start, and after another newline."""

    always_accept = ("_NL",)

    def process(self, stream: Iterator[lark.Token]) -> Iterator[lark.Token]:
        depth, ended = 0, True
        for token in stream:
            depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
            if token.type == "_NL":
                if depth or ended:
                    continue
                ended = True
            else:
                ended = False
            yield token


@cache
def _parser() -> Lark:
    return Lark(
        resources.read("grammar", "qsim.lark"),
        parser="lalr",
        lexer="contextual",
        postlex=Newlines(),
        propagate_positions=True,
        maybe_placeholders=True,
    )


def parse(source: Source, report: Report) -> Tree:
    """Return the tree of every statement that can be parsed; the others are reported."""
    text = source.text + "\n"
    for _ in range(MAX_ERRORS):
        try:
            return _ours(_parser().parse(text))
        except (UnexpectedCharacters, UnexpectedToken, UnexpectedEOF) as error:
            at = _offset(error, source.text)
            report(_diagnostic(source, at, error))
            text = _without_line(text, at)
        except _TooDeepError as error:
            report(_too_deep(source, error.at))
            text = _without_line(text, error.at)
    return Tree("start", (), 0, 0)


class _TooDeepError(Exception):
    def __init__(self, at: int) -> None:
        self.at = at


def _ours(tree: lark.Tree[lark.Token], depth: int = 0) -> Tree:
    """Return a tree in the shape that both parsers share.

    Raises:
        _TooDeepError: the tree is deeper than what reads it can follow.
    """
    if depth > _DEEPEST:
        raise _TooDeepError(tree.meta.start_pos)
    children: list[Child] = []
    for child in tree.children:
        if isinstance(child, lark.Token):
            children.append(Token(str(child), child.start_pos or 0))
        else:
            children.append(None if child is None else _ours(child, depth + 1))
    start, end = (0, 0) if tree.meta.empty else (tree.meta.start_pos, tree.meta.end_pos)
    return Tree(str(tree.data), tuple(children), start, end)


def _offset(error: UnexpectedCharacters | UnexpectedToken | UnexpectedEOF, text: str) -> int:
    position = error.pos_in_stream
    return len(text) if position is None or position < 0 else min(position, len(text))


def _without_line(text: str, at: int) -> str:
    """Blank the line around an offset, keeping every other offset; a failure at a newline is the line before."""
    start = text.rfind("\n", 0, at) + 1
    if not text[start:at].strip() and start > 0:
        start = text.rfind("\n", 0, start - 1) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return text[:start] + "".join(c if c == "\n" else " " for c in text[start:end]) + text[end:]


_SPELLED = {
    "NAME": "a name",
    "QUOTED_NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "_NL": "the end of the line",
    "_ARROW": "`->`",
    "_BAR": "`|`",
    "_DOTS": "`..`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "EQUAL": "`=`",
    "STAR": "`*`",
    "TILDE": "`~`",
    "SLASH": "`/`",
    "AT": "`@`",
    "COMPARATOR": "a comparison such as `==`",
    "__ANON_0": "`=>`",
}


def _diagnostic(source: Source, at: int, error: UnexpectedCharacters | UnexpectedToken | UnexpectedEOF) -> Diagnostic:
    accepted = getattr(error, "accepts", None) or getattr(error, "allowed", None) or ()
    expected = sorted({_SPELLED.get(name, f"`{name.lower()}`") for name in accepted if name != "$END"})
    found = source.text[at : at + 1] if isinstance(error, UnexpectedCharacters) else str(getattr(error, "token", ""))
    found = found.split("\n")[0]
    said = f", found `{found}`" if found.strip() else ", found the end of the line"
    message = f"expected {' or '.join(expected)}{said}" if expected else f"`{found}` cannot stand here"
    return _not_qsim(source, at, message, max(len(found), 1))


def _too_deep(source: Source, at: int) -> Diagnostic:
    return _not_qsim(source, at, "this is nested too deeply", 1)


def _not_qsim(source: Source, at: int, message: str, length: int) -> Diagnostic:
    return Diagnostic(
        code="Q0106",
        name="not-qsim",
        severity=Severity.ERROR,
        message=message,
        labels=(Label(Span(source, at, min(at + length, len(source.text)))),),
    )
