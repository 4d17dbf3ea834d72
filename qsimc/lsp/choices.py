"""What may stand at a place of a .qsim text: keywords, operators, roles, settings and their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lsprotocol.types import CompletionItemKind

from qsimc import formats, targets
from qsimc.checks.names import ROLES, known_operators
from qsimc.formats import builtin
from qsimc.formats.qsim import DIALECTS
from qsimc.ir.config import show_value
from qsimc.ir.select import ROLES as TENSORS
from qsimc.lsp import vocabulary
from qsimc.lsp.positions import View
from qsimc.lsp.statements import Place, Word
from qsimc.source import Source
from qsimc.spec import fields, keymap

KEYWORDS = {
    "dialect": "whose names the file speaks of",
    "extends": "take over what another file says",
    "target": "the hardware that the file is for",
    "option": "a switch that is not about a tensor",
    "let": "name settings, to say them as `@name`",
    "fuse": "operators that run as one",
    "require": "a claim that must hold",
    "forbid": "a claim that must not hold",
    "model": "the model's own inputs and outputs",
}
_COMPARATORS = ("==", "!=", "<=", ">=", "<", ">")
_AFTER_A_TEST = ("and", "or", "in", "as")
_STRING = re.compile(r'"(?:[^"\\\n]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_MOST_VALUES = 64
"""Integers up to which all that are possible are offered."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that may be written; `then` is what has to follow it."""

    label: str
    kind: CompletionItemKind
    doc: str = ""
    then: str = ""


def is_qsim(view: View) -> bool:
    """Say whether a text is .qsim, however little of it is typed."""
    return view.path.endswith(".qsim")


def choices(view: View, place: Place) -> Iterator[Choice]:
    """Yield what may stand at a place."""
    match place.texts:
        case ():
            yield from _entries() if place.in_block else _statements(view, place)
        case ("dialect",):
            yield from _named(DIALECTS, CompletionItemKind.EnumMember)
        case ("target",):
            yield from _targets(targets.hardware())
        case ("extends",):
            yield Choice("target", CompletionItemKind.Keyword, "one that comes with qsimc")
        case ("extends", "target"):
            yield from _targets(builtin.stems())
        case ("dialect" | "target" | "extends", *_) | ("let",) | ("let", _):
            return
        case ("option", *said):
            yield from _options(dialect(view, place), said)
        case ("let", _, "=", *said):
            yield from _settings(place, said)
        case ("require" | "forbid" as keyword, *said):
            yield from _claim(said) if ":" in said else _head(view, place, (keyword, *said))
        case said if ":" in said:
            yield from _settings(place, said[said.index(":") + 1 :])
        case said:
            yield from _head(view, place, said)


def dialect(view: View, place: Place) -> str:
    """Return whose names hold at a place."""
    found = "onnx"
    for statement in place.above:
        match [word.text for word in statement]:
            case ["dialect", name] if name in DIALECTS:
                found = name
            case ["extends", *_]:
                base = extended(view, statement)
                config = base and formats.read(base, lambda found: None, "qsim")
                found = config.dialect if config else found
    return found


def extended(view: View, statement: Sequence[Word]) -> Source | None:
    """Return the file that an `extends` or `target` names, None if there is none."""
    match [word.text for word in statement]:
        case ["extends", "target", stem] | ["target", stem] if stem in builtin.stems():
            return builtin.source(stem)
        case ["extends", path] if _STRING.fullmatch(path):
            with suppress(ValueError):
                return builtin.beside(Source(view.path, view.text), str(json.loads(path, strict=False)))
            return None
        case _:
            return None


def lets(place: Place) -> dict[str, tuple[Word, ...]]:
    """Return the `let` statements above a place by name; of two that share one the later counts."""
    found = (statement for statement in place.above if len(statement) > 1 and statement[0].text == "let")
    return {statement[1].text: statement for statement in found}


# ── rules ────────────────────────────────────────────────────────────────────────────────────


def _statements(view: View, place: Place) -> Iterator[Choice]:
    for word, doc in KEYWORDS.items():
        yield Choice(word, CompletionItemKind.Keyword, doc)
    yield from _operators(view, place)


def _entries() -> Iterator[Choice]:
    yield from (Choice(f"[{role}]", CompletionItemKind.Variable, then=": ") for role in ROLES)


def _head(view: View, place: Place, said: Sequence[str]) -> Iterator[Choice]:
    """Yield what may stand before the colon of a rule or claim."""
    if _is_open(said, "[", "]"):
        listed = said[_last(said, "[") :]
        yield from _named((role for role in ROLES if role not in listed), CompletionItemKind.Variable)
    elif said[-1] in ("require", "forbid", "fuse", "->", "(", "|"):
        if said[-1] in ("require", "forbid"):
            yield Choice("model", CompletionItemKind.Keyword, KEYWORDS["model"])
        yield from _operators(view, place)


def _settings(place: Place, said: Sequence[str]) -> Iterator[Choice]:
    """Yield what may stand behind the colon of a rule, and in a `let`."""
    if (key := _awaiting(said)) is not None:
        yield from _values(key)
        return
    if said and (said[-1] in ("..", "/") or _is_open(said, "(", ")")):
        return
    if place.word.kind != "reference":
        vocabulary_ = fields.vocabulary()
        decided = {vocabulary_.flags[word][0] if word in vocabulary_.flags else word for word in said}
        for word, (name, _) in vocabulary_.flags.items():
            if name not in decided:
                yield Choice(word, CompletionItemKind.EnumMember, vocabulary_.fields[name].doc)
        for name, row in vocabulary_.fields.items():
            if row.type != "flag" and name not in decided:
                yield Choice(name, CompletionItemKind.Property, row.doc, then="=")
    for name, statement in lets(place).items():
        yield Choice(f"@{name}", CompletionItemKind.Variable, " ".join(word.text for word in statement[3:]))


def _options(dialect_: str, said: Sequence[str]) -> Iterator[Choice]:
    table = keymap.load(dialect_) if dialect_ in keymap.names() else None
    if table is None:
        return
    if (key := _awaiting(said)) is not None:
        yield from _named(vocabulary.option_values(table, key), CompletionItemKind.EnumMember)
        return
    for name in vocabulary.options(table):
        if name not in said:
            yield Choice(name, CompletionItemKind.Property, f"an option of {table.tool}", then="=")


# ── claims ───────────────────────────────────────────────────────────────────────────────────


def _claim(said: Sequence[str]) -> Iterator[Choice]:
    """Yield what may stand behind the colon of a claim."""
    if said[-1] in _COMPARATORS:
        yield from _values(said[-2].rpartition(".")[2])
    elif _is_open(said, "(", ")") and said[(at := _last(said, "(")) - 1] == "in":
        yield from _values(said[at - 2].rpartition(".")[2]) if said[-1] in ("(", "|") else ()
    elif said[-1] in (":", "and", "or", "not", "=>", "("):
        yield Choice("not", CompletionItemKind.Keyword)
        for prefix in ("", *(f"{role}." for role in TENSORS)):
            for word in fields.vocabulary().words:
                yield Choice(f"{prefix}{word}", CompletionItemKind.Property)
    else:
        yield from _named(_AFTER_A_TEST, CompletionItemKind.Keyword)


# ── the pieces ───────────────────────────────────────────────────────────────────────────────


def _awaiting(said: Sequence[str]) -> str | None:
    """Return the key whose value, or a member of whose set of values, comes next."""
    if len(said) > 1 and said[-1] == "=":
        return said[-2]
    if said and said[-1] in ("(", "|") and "=" in said and _is_open(said, "(", ")"):
        return said[_last(said, "=") - 1]
    return None


def _values(name: str) -> Iterator[Choice]:
    row = fields.vocabulary().fields.get(name)
    if row is None or (row.type == "integer" and row.bounds[1] - row.bounds[0] > _MOST_VALUES):
        return
    yield from _named(map(show_value, fields.domain(name)), CompletionItemKind.EnumMember)


def _operators(view: View, place: Place) -> Iterator[Choice]:
    return _named(dict.fromkeys(known_operators(dialect(view, place))), CompletionItemKind.Class)


def _targets(stems: Iterable[str]) -> Iterator[Choice]:
    for stem in stems:
        title = builtin.source(stem).text.split("\n", 1)[0].lstrip("# ")
        yield Choice(stem, CompletionItemKind.Module, title)


def _named(words: Iterable[str], kind: CompletionItemKind) -> Iterator[Choice]:
    return (Choice(word, kind) for word in words)


def _is_open(said: Sequence[str], opening: str, closing: str) -> bool:
    return said.count(opening) > said.count(closing)


def _last(said: Sequence[str], word: str) -> int:
    return len(said) - 1 - said[::-1].index(word)
