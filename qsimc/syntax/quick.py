"""Parse well-formed qsim by recursive descent, in a tenth of the time that building LALR tables takes.

The language is grammar/qsim.lark, and what is wrong with a text is found with its tables (qsim.py); this parser
only ever says that a text is well-formed.  A test compares the two on texts drawn from the grammar: whatever this one
reads, the tables read the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qsimc.syntax.tree import Child, Token, Tree

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\#[^\n]*)
      | (?P<newline>(?:\r?\n[ \t]*)+)
      | (?P<name>[A-Za-z_]\w*(?:(?:\.|::|-)\w+)*)
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
      | (?P<string>"(?:[^"\\\n]|\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}
            |u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*")
      | (?P<quoted>`(?:[^`\\\n]|\\(?:[\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}
            |u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*`)
      | (?P<mark>->|=>|==|!=|<=|>=|\.\.|[<>=:*~@/|,(){}\[\]])""",
    re.X,
)
_COMPARATORS = ("==", "!=", "<=", ">=", "<", ">")
_DEEPEST = 100


class _NotWellFormedError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Lexeme:
    kind: str
    text: str
    start: int


def parse(text: str) -> Tree | None:
    """Return the tree of a text, or None if it is not well-formed."""
    try:
        return _Parser(text).start()
    except _NotWellFormedError:
        return None


def comments(text: str) -> Iterator[Token]:
    """Yield the comments of a well-formed text, without what is blank at their ends."""
    for match in _TOKEN.finditer(text):
        if match[0].startswith("#"):
            yield Token(match[0].rstrip(), match.start())


def _lexemes(text: str) -> Iterator[_Lexeme]:
    """Yield lexemes without spaces, comments, and the newlines that end nothing."""
    at, depth, ended = 0, 0, True
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _NotWellFormedError
        at, kind, said = match.end(), str(match.lastgroup), match[0]
        if kind == "space" or (kind == "newline" and (depth or ended)):
            continue
        depth += (said in ("(", "[")) - (said in (")", "]"))
        ended = kind == "newline"
        yield _Lexeme(said if kind == "mark" else kind, said, match.start())
    yield _Lexeme("end", "", at)


class _Parser:
    def __init__(self, text: str) -> None:
        self.lexemes = list(_lexemes(text))
        self.at = 0
        self.depth = 0
        self.statements: dict[str, Callable[[int], Tree]] = {
            "dialect": self._dialect,
            "extends": self._extends,
            "target": self._target,
            "option": self._option,
            "let": self._let,
            "fuse": self._fuse,
            "require": self._claim,
            "forbid": self._claim,
        }

    # ── lexemes ──────────────────────────────────────────────────────────────────────────────

    @property
    def kind(self) -> str:
        return self.lexemes[self.at].kind

    def _peek(self, word: str) -> bool:
        """Say whether the next lexeme is a keyword."""
        return self.kind == "name" and self.lexemes[self.at].text == word

    def _take(self, kind: str) -> Token:
        lexeme = self.lexemes[self.at]
        if lexeme.kind != kind:
            raise _NotWellFormedError
        self.at += 1
        return Token(lexeme.text, lexeme.start)

    def _if(self, kind: str) -> Token | None:
        return self._take(kind) if self.kind == kind else None

    def _tree(self, data: str, begin: int, *children: Child) -> Tree:
        """Return a tree that reaches from lexeme `begin` to the one before the current."""
        last = self.lexemes[self.at - 1]
        return Tree(data, children, self.lexemes[begin].start, last.start + len(last.text))

    # ── statements ───────────────────────────────────────────────────────────────────────────

    def start(self) -> Tree:
        statements: list[Child] = []
        while self.kind != "end":
            begin = self.at
            read = self.statements.get(self.lexemes[begin].text) if self.kind == "name" else None
            statements.append(self._rule(begin) if read is None else read(begin))
            self._take("newline")
        return Tree("start", tuple(statements), 0, self.lexemes[-1].start)

    def _dialect(self, begin: int) -> Tree:
        self.at += 1
        return self._tree("dialect", begin, self._take("name"))

    def _target(self, begin: int) -> Tree:
        self.at += 1
        return self._tree("target", begin, self._take("name"))

    def _extends(self, begin: int) -> Tree:
        self.at += 1
        inner = self.at
        if self._peek("target"):
            self.at += 1
            base = self._tree("base_target", inner, self._take("name"))
        else:
            base = self._tree("base_file", inner, self._take("string"))
        return self._tree("extends", begin, base)

    def _option(self, begin: int) -> Tree:
        self.at += 1
        assignments = [self._assignment()]
        while self.kind == "name":
            assignments.append(self._assignment())
        return self._tree("option", begin, *assignments)

    def _let(self, begin: int) -> Tree:
        self.at += 1
        name = self._take("name")
        self._take("=")
        return self._tree("let", begin, name, *self._settings())

    def _fuse(self, begin: int) -> Tree:
        self.at += 1
        return self._tree("fuse", begin, self._path())

    def _rule(self, begin: int) -> Tree:
        selector = self._selector()
        if self.kind == "{":
            return self._block(begin, selector)
        roles = self._roles() if self.kind == "[" else None
        self._take(":")
        return self._tree("rule", begin, selector, roles, *self._settings())

    def _block(self, begin: int, selector: Tree) -> Tree:
        self._take("{")
        self._if("newline")
        entries: list[Child] = []
        while self.kind != "}":
            inner = self.at
            roles = self._every_role() if self.kind == "*" else self._roles()
            self._take(":")
            settings = self._settings() if self.kind in ("name", "@") else []
            entries.append(self._tree("entry", inner, roles, *settings))
            self._take("newline")
        self._take("}")
        return self._tree("block", begin, selector, *entries)

    def _every_role(self) -> Tree:
        begin = self.at
        self._take("*")
        return self._tree("every_role", begin)

    def _roles(self) -> Tree:
        begin = self.at
        self._take("[")
        names: list[Child] = [self._name()]
        while self._if(","):
            if self.kind == "]":
                break
            names.append(self._name())
        self._take("]")
        return self._tree("roles", begin, *names)

    def _name(self) -> Token:
        return self._if("quoted") or self._take("name")

    # ── selectors ────────────────────────────────────────────────────────────────────────────

    def _selector(self) -> Tree:
        begin = self.at
        if self._if("*"):
            return self._tree("everything", begin)
        if self._peek("model"):
            self.at += 1
            return self._tree("model", begin)
        return self._path()

    def _path(self) -> Tree:
        begin = self.at
        atoms: list[Child] = [self._atom()]
        while self._if("->"):
            atoms.append(self._atom())
        return self._tree("chain", begin, *atoms)

    def _atom(self) -> Tree:
        begin = self.at
        if self.kind in ("name", "quoted"):
            return self._tree("op_type", begin, self._name())
        if string := self._if("string"):
            return self._tree("node_name", begin, string)
        if self._if("~"):
            return self._tree("node_glob", begin, self._take("string"))
        return self._tree("any_of", begin, *self._set_of(self._path))

    def _set_of(self, member: Callable[[], Tree]) -> list[Child]:
        """Read `(member | member | ...)`."""
        self._take("(")
        self._deeper()
        members: list[Child] = [member()]
        while self._if("|"):
            members.append(member())
        self._take(")")
        self.depth -= 1
        return members

    def _deeper(self) -> None:
        # Python's own stack is the limit; the tables have none, so they get what is deeper.
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _NotWellFormedError

    # ── settings ─────────────────────────────────────────────────────────────────────────────

    def _settings(self) -> list[Child]:
        settings: list[Child] = [self._setting()]
        while self.kind in ("name", "@"):
            settings.append(self._setting())
        return settings

    def _setting(self) -> Tree:
        begin = self.at
        if self._if("@"):
            return self._tree("reference", begin, self._take("name"))
        if self.lexemes[begin + 1].kind == "=":
            return self._assignment()
        return self._tree("flag", begin, self._take("name"))

    def _assignment(self) -> Tree:
        begin = self.at
        name = self._take("name")
        self._take("=")
        assignment = self._tree("assignment", begin, name, self._value())
        # After a value the tables read these as the keywords of a restriction, wherever the value stands.
        if self._peek("and") or self._peek("or") or self._peek("as"):
            raise _NotWellFormedError
        return assignment

    def _value(self) -> Tree:
        begin = self.at
        if name := self._if("name"):
            if self._if("/"):
                return self._tree("pair", begin, name, self._take("name"))
            return self._tree("word", begin, name)
        if string := self._if("string"):
            return self._tree("string", begin, string)
        if self.kind == "(":
            return self._set()
        low = self._if("number")
        if self._if(".."):
            return self._tree("range", begin, low, self._if("number"))
        if low is None:
            raise _NotWellFormedError
        return self._tree("number", begin, low)

    def _set(self) -> Tree:
        begin = self.at
        if self.kind == "(" and self.lexemes[begin + 1].kind == ")":
            self.at += 2
            return self._tree("set", begin)
        return self._tree("set", begin, *self._set_of(self._value))

    # ── restrictions ─────────────────────────────────────────────────────────────────────────

    def _claim(self, begin: int) -> Tree:
        polarity = str(self._take("name"))
        selector = self._selector()
        roles = self._roles() if self.kind == "[" else None
        self._take(":")
        predicate, message = self._predicate(), self._if("string")
        name = None
        if self._peek("as"):
            self.at += 1
            name = self._take("name")
        return self._tree(polarity, begin, selector, roles, predicate, message, name)

    def _predicate(self) -> Tree:
        begin = self.at
        premise = self._either()
        if self._if("=>"):
            return self._tree("implies", begin, premise, self._either())
        return premise

    def _either(self) -> Tree:
        return self._joined("either", "or", lambda: self._joined("both", "and", self._test))

    def _joined(self, data: str, keyword: str, part: Callable[[], Tree]) -> Tree:
        begin = self.at
        parts: list[Child] = [part()]
        while self._peek(keyword):
            self.at += 1
            parts.append(part())
        first = parts[0]
        assert isinstance(first, Tree)
        return first if len(parts) == 1 else self._tree(data, begin, *parts)

    def _test(self) -> Tree:
        begin = self.at
        if self._if("("):
            self._deeper()
            inner = self._predicate()
            self._take(")")
            self.depth -= 1
            return inner
        if self._peek("not"):
            self.at += 1
            self._deeper()
            negated = self._test()
            self.depth -= 1
            return self._tree("negation", begin, negated)
        name = self._take("name")
        if self.kind in _COMPARATORS:
            return self._tree("compare", begin, name, self._take(self.kind), self._value())
        if self._peek("in"):
            self.at += 1
            return self._tree("member", begin, name, self._set())
        return self._tree("holds", begin, name)
