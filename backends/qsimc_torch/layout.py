"""Source text broken into lines as `ruff format` breaks it, so that a formatter leaves generated files alone.

Only what generated code consists of is known: assignments of names, of calls whose arguments are calls and lists, and
of arithmetic between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

WIDTH = 120
INDENT = "    "

_TARGET = re.compile(r"return |[\w., ]+ = ")
_HEAD = re.compile(r"[\w.\[\]]+")
_OPENING, _CLOSING = "([{", ")]}"
_INFIX = (r"==|!=|<=?|>=?", r"\|", r"\^", "&", "<<|>>", r"\+|-", "//?|[*%@]")
"""What stands between two operands, with a space on both sides: what binds least comes first."""


def statement(text: str, depth: int, *, comment: str = "") -> list[str]:
    """Return the lines of a statement at a depth of indentation, its comment behind it or else above it."""
    indent = INDENT * depth
    behind = f"{indent}{text}  # {comment}"
    if comment and len(behind) <= WIDTH:
        return [behind]
    above = [f"{indent}# {shortened(comment, WIDTH - len(indent) - 2)}"] if comment else []
    if text.endswith(":"):  # the head of a block
        return [*above, f"{indent}{text}"]
    target = _TARGET.match(text)
    before = target.group() if target else ""
    return above + _broken(f"{indent}{before}", text[len(before) :], "", indent)


def fits(text: str, depth: int) -> bool:
    """Return whether a statement needs no more than a line."""
    return len(INDENT) * depth + len(text) <= WIDTH


def is_call(text: str) -> bool:
    """Return whether an expression is a call that can be broken inside its brackets."""
    return text.endswith(")") and _bracketed(text) is not None


def signature(name: str, parameters: Sequence[str], returns: str, depth: int) -> list[str]:
    """Return the lines of the head of a function."""
    indent = INDENT * depth
    whole = f"{indent}def {name}({', '.join(parameters)}) -> {returns}:"
    if len(whole) <= WIDTH:
        return [whole]
    return [f"{indent}def {name}(", *(f"{indent}{INDENT}{p}," for p in parameters), f"{indent}) -> {returns}:"]


def shortened(text: str, width: int) -> str:
    """Return the beginning of a text that is too long."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _broken(prefix: str, value: str, suffix: str, indent: str, *, enclosed: bool = False) -> list[str]:
    """Return the lines of `prefix value suffix`.

    Args:
        enclosed: whether it stands in brackets, where it may go on in the next line.
    """
    whole = f"{prefix}{value}{suffix}"
    if len(whole) <= WIDTH:
        return [whole]
    operands = _operands(value)
    if len(operands) == 1:
        return _opened(prefix, value, suffix, indent)
    if enclosed:
        lines = []
        for position, (infix, operand) in enumerate(operands):
            before = f"{indent}{infix} " if position else prefix
            after = suffix if position == len(operands) - 1 else ""
            lines += _broken(before, operand, after, indent, enclosed=True)
        return lines
    deeper = indent + INDENT
    return _opened_operand(prefix, operands, suffix, indent) or [
        f"{prefix}(",
        *_broken(deeper, value, "", deeper, enclosed=True),
        f"{indent}){suffix}",
    ]


def _opened_operand(prefix: str, operands: Sequence[tuple[str, str]], suffix: str, indent: str) -> list[str]:
    """Return the lines of two operands, broken inside the brackets of one; none where brackets go around both."""
    if len(operands) > 2:
        return []
    (_, first), (infix, last) = operands
    before, behind = f"{prefix}{first} {infix} ", f" {infix} {last}{suffix}"
    closes, opens = _bracketed(last), _bracketed(first)
    if closes is not None and len(before) + len(closes[0]) < WIDTH:
        return _opened(before, last, suffix, indent)
    if opens is not None and (closes is not None or not opens[0]) and len(indent) + 1 + len(behind) <= WIDTH:
        return _opened(prefix, first, behind, indent)
    return []


def _opened(prefix: str, value: str, suffix: str, indent: str) -> list[str]:
    """Return the lines of `prefix value suffix`, broken inside the last brackets of the value."""
    parts = _bracketed(value)
    if parts is None:
        return [f"{prefix}{value}{suffix}"]
    head, inside, closing = parts
    deeper = indent + INDENT
    opening = f"{prefix}{head}{value[len(head)]}"
    ending = f"{indent}{closing}{suffix}"
    arguments = list(_split(inside))
    if closing == ")" and len(deeper) + len(inside) <= WIDTH:
        return [opening, f"{deeper}{inside}", ending]
    comma = "" if closing == ")" and len(arguments) == 1 else ","
    lines = [opening]
    for argument in arguments:
        keyword, equals, rest = argument.partition("=") if re.match(r"\w+=", argument) else ("", "", argument)
        lines += _broken(f"{deeper}{keyword}{equals}", rest, comma, deeper, enclosed=True)
    return [*lines, ending]


def _operands(value: str) -> list[tuple[str, str]]:
    """Return what stands between the operators that bind least, each with the operator before it."""
    depth = 0
    outside = [" "] * len(value)
    for position, char in _code(value):
        depth -= char in _CLOSING
        if depth == 0 and char not in _CLOSING:
            outside[position] = char
        depth += char in _OPENING
    bare = "".join(outside)
    for infix in _INFIX:
        if found := list(re.finditer(rf"(?<= )(?:{infix})(?= )", bare)):
            starts = [0, *(match.end() for match in found)]
            ends = [*(match.start() for match in found), len(value)]
            words = ["", *(match.group() for match in found)]
            return [(word, value[start:end].strip()) for word, start, end in zip(words, starts, ends, strict=True)]
    return [("", value)]


def _bracketed(value: str) -> tuple[str, str, str] | None:
    """Return what stands before and in the brackets that a call, a list or a group ends with, and the last of them."""
    closing = value[-1:]
    depth, start = 0, -1
    for position, char in _code(value):
        if char in _OPENING and depth == 0:
            start = position
        depth += (char in _OPENING) - (char in _CLOSING)
    head, inside = value[: max(start, 0)], value[start + 1 : -1]
    called = (closing == ")" and _HEAD.fullmatch(head)) or (closing in ")]" and not head)
    return (head, inside, closing) if called and inside and start >= 0 else None


def _split(inside: str) -> Iterator[str]:
    """Yield the parts of what stands inside brackets."""
    depth, start = 0, 0
    for position, char in _code(inside):
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth == 0 and char == ",":
            yield inside[start:position].strip()
            start = position + 1
    if inside[start:].strip():
        yield inside[start:].strip()


def _code(text: str) -> Iterator[tuple[int, str]]:
    """Yield the characters of an expression that are not in a string literal; those hold no quotes."""
    quoted = False
    for position, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted:
            yield position, char
