"""JSON with a span on every value and every key.

The standard parser forgets where things stood, keeps the last of two equal keys without a word, and
accepts NaN; a config checker can afford none of these.  What can be understood in spite of a mistake
(comments, trailing commas, Python's True) is reported and read on, so that one run shows every mistake.
The language is grammar/json.lark; tests hold this reader to it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, Vendor
from qsimc.source import Source, Span

MAX_DEPTH = 64
MAX_DIGITS = 400  # of one number; the longest float64 needs 309, and int() is quadratic


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number, true, false or null."""

    value: str | int | float | bool | None
    span: Span


@dataclass(frozen=True, slots=True)
class Array:
    items: tuple[Json, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Member:
    """One `"key": value` of an object."""

    key: str
    key_span: Span
    value: Json


@dataclass(frozen=True, slots=True)
class Object:
    """Members in file order, equal keys included."""

    members: tuple[Member, ...]
    span: Span


Json: TypeAlias = "Scalar | Array | Object"


def plain(value: Json) -> object:
    """Return a located value as Python's json module would (the last of equal keys wins)."""
    match value:
        case Scalar(scalar, _):
            return scalar
        case Array(items, _):
            return [plain(item) for item in items]
        case Object(members, _):
            return {m.key: plain(m.value) for m in members}


def kind(value: Json) -> str:
    """Return what a value is, in JSON's words: `an object`, `a string`, `true`."""
    match value:
        case Object():
            return "an object"
        case Array():
            return "an array"
        case Scalar(bool() as flag, _):
            return "true" if flag else "false"
        case Scalar(str(), _):
            return "a string"
        case Scalar(None, _):
            return "null"
        case _:
            return "a number"


def parse(source: Source, report: Report) -> Json | None:
    """Return the located value of a JSON text, or None after reporting why there is none."""
    try:
        return _Parser(source, report).document()
    except _StopError as stop:
        report(stop.diagnostic)
        return None


class _StopError(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # the punctuation itself, or "string", "number", "word", "end"
    start: int
    end: int


_SPACE = re.compile(r"[ \t\r\n]+")
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)", re.S)
_TOKEN = re.compile(
    r"""(?P<punctuation>[{}\[\],:])
      | (?P<string>"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*")
      | (?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<word>-?[A-Za-z_][A-Za-z_0-9]*)""",
    re.X | re.A,
)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _Parser:
    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.report = report
        self.tokens = self._tokens()
        self.token = next(self.tokens)
        self.depth = 0

    # ── tokens ───────────────────────────────────────────────────────────────────────────────

    def _tokens(self) -> Iterator[_Token]:
        text, at = self.source.text, 0
        while at < len(text):
            if space := _SPACE.match(text, at):
                at = space.end()
            elif comment := _COMMENT.match(text, at):
                self._comment(comment.start(), comment.end())
                at = comment.end()
            elif token := _TOKEN.match(text, at):
                word = token.lastgroup or ""
                yield _Token(token[0] if word == "punctuation" else word, token.start(), token.end())
                at = token.end()
            else:
                raise _StopError(self._unreadable(at))
        end = _Token("end", len(text), len(text))
        while True:
            yield end

    def _advance(self) -> _Token:
        passed, self.token = self.token, next(self.tokens)
        return passed

    def _span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    # ── grammar ──────────────────────────────────────────────────────────────────────────────

    def document(self) -> Json:
        value = self._value()
        if self.token.kind != "end":
            raise self._stop("expected the end of the file after the top-level value")
        return value

    def _value(self) -> Json:
        match self.token.kind:
            case "{":
                return self._nested(self._object)
            case "[":
                return self._nested(self._array)
            case "string":
                token = self._advance()
                return Scalar(self._string(token), self._span(token.start, token.end))
            case "number":
                return self._number(self._advance())
            case "word":
                return self._word(self._advance())
            case _:
                raise self._stop("expected a value")

    def _nested(self, read: Callable[[], Json]) -> Json:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _StopError(
                Diagnostic(
                    code="Q0104",
                    name="nested-too-deep",
                    severity=Severity.ERROR,
                    message=f"values are nested more than {MAX_DEPTH} deep",
                    labels=(Label(self._span(self.token.start, self.token.end), "one level too many"),),
                )
            )
        value = read()
        self.depth -= 1
        return value

    def _object(self) -> Object:
        start = self._advance().start
        members: list[Member] = []
        first: dict[str, Member] = {}
        while self.token.kind != "}":
            if self.token.kind != "string":
                raise self._stop(
                    "expected a key in double quotes" if members else "expected a key in double quotes or `}`"
                )
            token = self._advance()
            key, key_span = self._string(token), self._span(token.start, token.end)
            if self.token.kind != ":":
                raise self._stop(f"expected `:` after the key `{_shown(key)}`")
            self._advance()
            member = Member(key, key_span, self._value())
            if key in first:
                self.report(self._duplicate(first[key], member))
            first[key] = member
            members.append(member)
            if not self._comma("}"):
                break
        return Object(tuple(members), self._span(start, self._close("}")))

    def _array(self) -> Array:
        start = self._advance().start
        items: list[Json] = []
        while self.token.kind != "]":
            items.append(self._value())
            if not self._comma("]"):
                break
        return Array(tuple(items), self._span(start, self._close("]")))

    def _comma(self, closing: str) -> bool:
        """Pass a comma; say whether another element must follow."""
        if self.token.kind == closing:
            return False
        if self.token.kind != ",":
            raise self._stop(f"expected `,` or `{closing}`")
        comma = self._advance()
        if self.token.kind == closing:
            span = self._span(comma.start, comma.end)
            self.report(
                self._syntax(
                    "a comma follows the last element",
                    span,
                    fixes=(Fix("remove the comma", (Edit(span, ""),), safe=True),),
                )
            )
            return False
        return True

    def _close(self, closing: str) -> int:
        if self.token.kind != closing:
            raise self._stop(f"expected `{closing}`")
        return self._advance().end

    # ── scalars ──────────────────────────────────────────────────────────────────────────────

    def _string(self, token: _Token) -> str:
        raw = self.source.text[token.start : token.end]
        if "\\" not in raw:
            return raw[1:-1]
        try:
            text = str(json.loads(raw))
            text.encode()
        except UnicodeEncodeError:
            raise _StopError(self._syntax("half of a surrogate pair is no character", self._of(token))) from None
        except json.JSONDecodeError as error:
            raise _StopError(self._syntax(f"the string holds an {error.msg.lower()}", self._of(token))) from None
        return text

    def _number(self, token: _Token) -> Scalar:
        raw, span = self.source.text[token.start : token.end], self._of(token)
        if len(raw) > MAX_DIGITS:
            raise _StopError(self._syntax(f"a number of {len(raw)} characters is not meant", span))
        value: int | float = int(raw) if raw.lstrip("-").isdigit() else float(raw)
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            value = float(raw)  # of the text: that of a longer integer than a float holds is infinite
        if not math.isfinite(value):
            self.report(self._not_finite(raw, span))
        return Scalar(value, span)

    def _word(self, token: _Token) -> Scalar:
        raw, span = self.source.text[token.start : token.end], self._of(token)
        if raw in _WORDS:
            return Scalar(_WORDS[raw], span)
        if raw in _NOT_FINITE:
            self.report(self._not_finite(raw, span))
            return Scalar(_NOT_FINITE[raw], span)
        if raw in _PYTHON:
            fix = Fix(f"write `{_PYTHON[raw]}`", (Edit(span, _PYTHON[raw]),), safe=True)
            self.report(self._syntax(f"`{raw}` is Python; JSON says `{_PYTHON[raw]}`", span, fixes=(fix,)))
            return Scalar(_WORDS[_PYTHON[raw]], span)
        help_ = "write strings in double quotes"
        raise _StopError(self._syntax(f"`{raw[:40]}` is no JSON value", span, helps=(help_,)))

    # ── diagnostics ──────────────────────────────────────────────────────────────────────────

    def _of(self, token: _Token) -> Span:
        return self._span(token.start, token.end)

    def _stop(self, expected: str) -> _StopError:
        if self.token.kind == "end":
            return _StopError(self._syntax(f"{expected}, found the end of the file", self._of(self.token)))
        found = self.source.text[self.token.start : self.token.end]
        return _StopError(self._syntax(f"{expected}, found `{_shown(found)}`", self._of(self.token)))

    def _unreadable(self, at: int) -> Diagnostic:
        char, span = self.source.text[at], self._span(at, at + 1)
        if char == '"':
            return self._syntax("the string does not end on its line", span)
        if char == "'":
            return self._syntax("JSON strings stand in double quotes", span, helps=("write `\"` instead of `'`",))
        return self._syntax(f"`{_shown(char)}` does not belong in JSON", span)

    def _syntax(self, message: str, span: Span, helps: tuple[str, ...] = (), fixes: tuple[Fix, ...] = ()) -> Diagnostic:
        return Diagnostic(
            code="Q0102",
            name="not-json",
            severity=Severity.ERROR,
            message=message,
            labels=(Label(span),),
            helps=helps,
            fixes=fixes,
            vendor=_standard_error(self.source.text),
        )

    def _comment(self, start: int, end: int) -> None:
        span = self._span(start, end)
        help_ = "remove it, or write the config as .qsim, which has comments"
        fix = Fix("remove the comment", (Edit(span, ""),), safe=False)
        self.report(self._syntax("JSON has no comments", span, helps=(help_,), fixes=(fix,)))

    def _not_finite(self, raw: str, span: Span) -> Diagnostic:
        return Diagnostic(
            code="Q0105",
            name="not-finite",
            severity=Severity.ERROR,
            message=f"`{raw[:40]}` is not a finite number",
            labels=(Label(span),),
            helps=("write a finite number, or leave the key out",),
        )

    def _duplicate(self, first: Member, again: Member) -> Diagnostic:
        return Diagnostic(
            code="Q0103",
            name="duplicate-key",
            severity=Severity.ERROR,
            message=f"the key `{_shown(again.key)}` appears twice in one object",
            labels=(Label(again.key_span, "this one counts"), Label(first.key_span, "this one is lost")),
            helps=("keep one of them",),
        )


@lru_cache(maxsize=1)
def _standard_error(text: str) -> Vendor | None:
    """Return what Python's json.load, which the vendors' tools call, says of the text; None if it is content."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return Vendor("json.load (Python)", "JSONDecodeError", str(error))
    except (RecursionError, ValueError):
        return None
    return None


def _shown(text: str) -> str:
    """Return a piece of the file short enough for a message."""
    return text if len(text) <= 60 else text[:57] + "..."
