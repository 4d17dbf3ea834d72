"""The qsim language: text to tree, with recovery.

Statements end with newlines, so recovery is trivial and total: report, blank the line, parse again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedEOF, UnexpectedToken
from lark.lark import PostLex

from qsimc import resources
from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.source import Source, Span

MAX_ERRORS = 20


class _Newlines(PostLex):
    """Drop newlines that end nothing: inside ( ) and [ ], at the start, and after another newline."""

    always_accept = ("_NL",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
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
        postlex=_Newlines(),
        propagate_positions=True,
        maybe_placeholders=True,
    )


def parse(source: Source, report: Report) -> Tree[Token]:
    """Return the tree of every statement that can be parsed; the others are reported."""
    text = source.text + "\n"
    for _ in range(MAX_ERRORS):
        try:
            return _parser().parse(text)
        except (UnexpectedCharacters, UnexpectedToken, UnexpectedEOF) as error:
            at = _offset(error, source.text)
            report(_diagnostic(source, at, error))
            text = _without_line(text, at)
    return Tree("start", [])


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
}


def _diagnostic(source: Source, at: int, error: UnexpectedCharacters | UnexpectedToken | UnexpectedEOF) -> Diagnostic:
    accepted = getattr(error, "accepts", None) or getattr(error, "allowed", None) or ()
    expected = sorted({_SPELLED.get(name, f"`{name.lower()}`") for name in accepted if name != "$END"})
    found = source.text[at : at + 1] if isinstance(error, UnexpectedCharacters) else str(getattr(error, "token", ""))
    found = found.split("\n")[0]
    said = f", found `{found}`" if found.strip() else ", found the end of the line"
    message = f"expected {' or '.join(expected)}{said}" if expected else f"`{found}` cannot stand here"
    return Diagnostic(
        code="Q0106",
        name="not-qsim",
        severity=Severity.ERROR,
        message=message,
        labels=(Label(Span(source, at, min(at + max(len(found), 1), len(source.text)))),),
    )
