"""Read .qsim: trees become rules, words become settings, and unknown words get a suggestion."""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import normpath

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, did_you_mean
from qsimc.formats import READINGS, builtin
from qsimc.formats.claims import Claims
from qsimc.ir.config import Clause, Config, Fusion, Option, Restriction, Rule, Setting, Value
from qsimc.ir.lexical import read_name, read_number, read_string
from qsimc.ir.select import AnyOf, Boundary, Chain, Everything, NodeName, OpType, Selector
from qsimc.source import Source, Span
from qsimc.spec import keymap
from qsimc.spec.fields import Field, vocabulary
from qsimc.syntax import qsim
from qsimc.syntax.tree import Child, Token, Tree, trees


def read(source: Source, report: Report) -> Config:
    """Return what a .qsim file says, with what it extends.

    Everything wrong with it is reported; what can be read is read.
    """
    return _read(source, report, (), [])


def _read(source: Source, report: Report, within: tuple[str, ...], extended: list[str]) -> Config:
    """Read a file that those of the paths `within` extend, and add what it extends to `extended`."""
    reader = _Reader(source, report, within, extended)
    for statement in qsim.parse(source, report).children:
        assert isinstance(statement, Tree)
        reader.statement(statement)
    return Config(
        source=source,
        dialect=reader.dialect,
        format="qsim",
        options=tuple(reader.options),
        rules=tuple(reader.rules),
        fusions=tuple(reader.fusions),
        restrictions=tuple(reader.restrictions),
        target=reader.target,
        target_span=reader.target_span,
    )


MAX_EXTENDED = 64
"""Files that one file may extend, directly or not; a file that is extended twice counts twice."""

_PATHS = "paths are relative to the file that names them, and stay inside its project"

MAX_SETTINGS = 100
"""Settings up to which a `let` is put in its place; without an end to it, each `let` could double the one before."""

NEUTRAL = "onnx"

DIALECTS = (NEUTRAL, *sorted({*keymap.names(), *READINGS}))
"""Whose operator and option names a .qsim file can speak in."""

_WANTED = {
    "boolean": "`true` or `false`",
    "integer": "an integer",
    "real": "a number",
    "range": "a range such as `0..1`",
    "kernels": "precisions such as `(int16/int8 | float16/float16)`",
}


class _Reader:
    def __init__(self, source: Source, report: Report, within: tuple[str, ...], extended: list[str]) -> None:
        self.source = source
        self.report = report
        self.within = (*within, normpath(source.path))
        self.extended = extended
        self.dialect = NEUTRAL
        self.lets: dict[str, tuple[Setting, ...]] = {}
        self.options: list[Option] = []
        self.rules: list[Rule] = []
        self.fusions: list[Fusion] = []
        self.restrictions: list[Restriction] = []
        self.target: str | None = None
        self.target_span: Span | None = None

    def statement(self, tree: Tree) -> None:
        match tree.data:
            case "dialect":
                self._dialect(tree)
            case "target":
                self._target(tree.children[0])
            case "extends":
                self._extends(tree)
            case "require" | "forbid":
                self._claim(tree)
            case "option":
                for name, value in map(_name_and_value, trees(tree.children)):
                    self._option(name, value)
            case "let":
                self.lets[str(tree.children[0])] = self._settings(tree.children[1:])
            case "rule":
                selector, roles, *settings = tree.children
                span = self._span(tree)
                clause = Clause(_names(roles), self._settings(settings), span)
                self.rules.append(Rule(self._selector(selector), (clause,), span))
            case "block":
                selector, *entries = tree.children
                clauses = tuple(self._entry(entry) for entry in entries if isinstance(entry, Tree))
                self.rules.append(Rule(self._selector(selector), clauses, self._span(tree)))
            case "fuse":
                steps = self._selector(tree.children[0])
                if isinstance(steps, Chain):
                    self.fusions.append(Fusion(steps, self._span(tree)))
                else:
                    helps = ("name what the output feeds: `fuse Conv -> Relu`",)
                    self.report(self._bad_value("a fusion has at least two operators", self._span(tree), helps))

    def _dialect(self, tree: Tree) -> None:
        name = tree.children[0]
        assert isinstance(name, Token)
        word, span = str(name), self._span(name)
        if word in DIALECTS:
            self.dialect = word
            return
        near = did_you_mean(word, DIALECTS)
        helps = (f"did you mean `{near}`?",) if near else (f"dialects: {', '.join(DIALECTS)}",)
        self.report(self._bad_word(f"no dialect is called `{word}`", span, helps))

    def _target(self, name: Child) -> None:
        assert isinstance(name, Token)
        word, span = str(name), self._span(name)
        if word in builtin.stems():
            self.target, self.target_span = word, span
            return
        near = did_you_mean(word, builtin.stems())
        helps = (f"did you mean `{near}`?",) if near else (f"targets: {', '.join(builtin.stems())}",)
        self.report(self._bad_word(f"no target is called `{word}`", span, helps))

    def _extends(self, tree: Tree) -> None:
        """Take over what another file says; what follows in this one is said later, and so wins."""
        base = tree.children[0]
        assert isinstance(base, Tree)
        if base.data == "base_target":
            self._target(base.children[0])
            if base.children[0] not in builtin.stems():
                return
            source = builtin.source(str(base.children[0]))
        else:
            try:
                source = builtin.beside(self.source, read_string(str(base.children[0])))
            except ValueError as error:
                self.report(self._not_extended(str(error), base))
                return
        if normpath(source.path) in self.within:
            self.report(self._not_extended("the file extends itself", base))
        elif len(self.extended) == MAX_EXTENDED:
            self.report(self._not_extended(f"that would be more than {MAX_EXTENDED} files", base))
        else:
            self.extended.append(source.path)
            self._take_over(_read(source, self.report, self.within, self.extended))

    def _take_over(self, base: Config) -> None:
        self.dialect = base.dialect
        self.options += base.options
        self.rules += base.rules
        self.fusions += base.fusions
        self.restrictions += base.restrictions

    def _claim(self, tree: Tree) -> None:
        selector, roles, predicate, message, name = tree.children
        assert isinstance(predicate, Tree)
        claim = Claims(self._span, self._value, self.report).predicate(predicate)
        if claim is not None:
            self.restrictions.append(
                Restriction(
                    name="" if name is None else str(name),
                    polarity="require" if tree.data == "require" else "forbid",
                    selector=self._selector(selector),
                    roles=_names(roles),
                    predicate=claim,
                    message="" if message is None else read_string(str(message)),
                    span=self._span(predicate),
                )
            )

    def _option(self, name: Token, tree: Tree) -> None:
        known = _options(self.dialect)
        word, value = str(name), self._value(tree)
        if self.dialect == NEUTRAL:  # switches of whichever tool's file this was translated from
            self.options.append(Option(word, value, self._span(tree)))
        elif word not in known:
            near = did_you_mean(word, tuple(known))
            helps = (f"did you mean `{near}`?",) if near else (f"options: {', '.join(known) or 'none'}",)
            message = f"the dialect `{self.dialect}` has no option `{word}`"
            self.report(self._bad_word(message, self._span(name), helps))
        elif known[word] == "texts" and not isinstance(value, tuple):
            helps = (f"write `{word}=({value})`",)
            self.report(self._bad_value(f"`{word}` takes a set", self._span(tree), helps))
        else:
            self.options.append(Option(word, value, self._span(tree)))

    def _entry(self, tree: Tree) -> Clause:
        roles, *settings = tree.children
        return Clause(_names(roles), self._settings(settings), self._span(tree))

    # ── selectors ────────────────────────────────────────────────────────────────────────────

    def _selector(self, tree: Child) -> Selector:
        assert isinstance(tree, Tree)
        match tree.data:
            case "everything":
                return Everything()
            case "model":
                return Boundary()
            case "op_type":
                return OpType(read_name(str(tree.children[0])))
            case "node_name":
                return NodeName(read_string(str(tree.children[0])))
            case "node_glob":
                return NodeName(read_string(str(tree.children[0])), glob=True)
            case "any_of":
                choices = tuple(self._selector(child) for child in tree.children)
                return choices[0] if len(choices) == 1 else AnyOf(choices)
            case _:
                steps = tuple(self._selector(child) for child in tree.children)
                return steps[0] if len(steps) == 1 else Chain(steps)

    # ── settings ─────────────────────────────────────────────────────────────────────────────

    def _settings(self, trees: Iterable[Child]) -> tuple[Setting, ...]:
        settings: list[Setting] = []
        for tree in trees:
            assert isinstance(tree, Tree)
            match tree.data:
                case "flag":
                    settings += self._flag(tree)
                case "assignment":
                    settings += self._assignment(tree)
                case _:
                    settings += self._reference(tree, room=MAX_SETTINGS - len(settings))
        return tuple(settings)

    def _flag(self, tree: Tree) -> tuple[Setting, ...]:
        word, span = str(tree.children[0]), self._span(tree)
        if word in (flags := vocabulary().flags):
            field, value = flags[word]
            return (Setting(field, value, span),)
        if word in vocabulary().fields:
            self.report(self._bad_value(f"`{word}` needs a value", span, (f"write `{word}=...`",)))
        else:
            self._unknown_word(word, span)
        return ()

    def _assignment(self, tree: Tree) -> tuple[Setting, ...]:
        name, value = _name_and_value(tree)
        word, span = str(name), self._span(tree)
        field = vocabulary().fields.get(word)
        if field is None or field.type == "flag":
            self._unknown_word(word, self._span(name))
            return ()
        decoded = self._kernels(value) if field.type == "kernels" else self._value(value)
        fits = {
            "boolean": isinstance(decoded, bool),
            "word": decoded in field.choices,
            "integer": type(decoded) is int and _within(field, decoded),
            "real": isinstance(decoded, (int, float)) and _within(field, decoded),
            "range": value.data == "range",
            "kernels": decoded is not None,
        }[field.type]
        if not fits:
            wanted = " or ".join(f"`{c}`" for c in field.choices) or _WANTED[field.type] + _bounds(field)
            self.report(self._bad_value(f"`{word}` takes {wanted}", self._span(value)))
            return ()
        return (Setting(word, decoded, span),)

    def _reference(self, tree: Tree, room: int) -> tuple[Setting, ...]:
        name = str(tree.children[0])
        if name in self.lets and len(self.lets[name]) > room:
            message = f"`@{name}` makes these more than {MAX_SETTINGS} settings"
            self.report(self._bad_value(message, self._span(tree)))
            return ()
        if name in self.lets:
            return self.lets[name]
        near = did_you_mean(name, tuple(self.lets))
        helps = (f"did you mean `@{near}`?",) if near else ("define it above with `let`",)
        self.report(self._bad_word(f"no `let` above is called `{name}`", self._span(tree), helps))
        return ()

    def _value(self, tree: Tree) -> Value:
        match tree.data:
            case "word":
                word = str(tree.children[0])
                return {"true": True, "false": False}.get(word, word)
            case "number":
                return read_number(str(tree.children[0]))
            case "string":
                return read_string(str(tree.children[0]))
            case "range":
                return tuple(None if bound is None else read_number(str(bound)) for bound in tree.children)
            case "pair":
                return tuple(str(child) for child in tree.children)
            case _:
                return tuple(self._value(child) for child in trees(tree.children))

    def _kernels(self, tree: Tree) -> tuple[Value, ...] | None:
        """Return a set of precisions; one without parentheses is a set of its own.  None for what is none."""
        if tree.data not in ("pair", "set"):
            return None
        kernels = (tree,) if tree.data == "pair" else tuple(trees(tree.children))
        fits = all(kernel.data in ("word", "string", "pair", "set") for kernel in kernels)
        return tuple(map(self._kernel, kernels)) if fits else None

    def _kernel(self, tree: Tree) -> Value:
        """Return the precisions of one kernel: `int16` is that of the activation alone."""
        return self._value(tree) if tree.data in ("pair", "set") else (self._value(tree),)

    # ── diagnostics ──────────────────────────────────────────────────────────────────────────

    def _span(self, node: Tree | Token) -> Span:
        if isinstance(node, Token):
            return Span(self.source, node.start_pos, node.start_pos + len(node))
        return Span(self.source, node.start, node.end)

    def _unknown_word(self, word: str, span: Span) -> None:
        near = did_you_mean(word, vocabulary().words)
        helps = (f"did you mean `{near}`?",) if near else (f"settings: {', '.join(vocabulary().words)}",)
        fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near else ()
        self.report(self._bad_word(f"no setting is called `{word}`", span, helps, fixes))

    def _not_extended(self, reason: str, base: Tree) -> Diagnostic:
        return Diagnostic(
            code="Q0108",
            name="cannot-extend",
            severity=Severity.ERROR,
            message=f"cannot extend `{_shown(base)}`: {reason}",
            labels=(Label(self._span(base)),),
            helps=(_PATHS,) if base.data == "base_file" else (),
        )

    def _bad_word(self, message: str, span: Span, helps: tuple[str, ...], fixes: tuple[Fix, ...] = ()) -> Diagnostic:
        return Diagnostic(
            code="Q0201",
            name="unknown-key",
            severity=Severity.ERROR,
            message=message,
            labels=(Label(span),),
            helps=helps,
            fixes=fixes,
        )

    def _bad_value(self, message: str, span: Span, helps: tuple[str, ...] = ()) -> Diagnostic:
        return Diagnostic(
            code="Q0202",
            name="bad-value",
            severity=Severity.ERROR,
            message=message,
            labels=(Label(span),),
            helps=helps,
        )


def _options(dialect: str) -> dict[str, str]:
    """Return the options that a dialect's key table knows, with the kind of value each takes.

    A section of the vendor's file that counts even if nothing stands in it is one: `option layer_quantize_config=()`.
    """
    name = READINGS.get(dialect, dialect)
    if name not in keymap.names():
        return {}
    root = keymap.load(name).root
    sections = {key: "texts" for key, place in root.literal.items() if place.empty == ("option",)}
    return {row.field: row.codec for row in keymap.rows(root) if row.where == "option"} | sections


def _within(field: Field, value: float) -> bool:
    return not field.bounds or field.bounds[0] <= value <= field.bounds[1]


def _bounds(field: Field) -> str:
    return f" from {field.bounds[0]:g} to {field.bounds[1]:g}" if field.bounds else ""


def _shown(base: Tree) -> str:
    return read_string(str(base.children[0])) if base.data == "base_file" else str(base.children[0])


def _name_and_value(tree: Tree) -> tuple[Token, Tree]:
    name, value = tree.children
    assert isinstance(name, Token)
    assert isinstance(value, Tree)
    return name, value


def _names(roles: Child) -> tuple[str, ...]:
    if roles is None or (isinstance(roles, Tree) and roles.data == "every_role"):
        return ()
    assert isinstance(roles, Tree)
    return tuple(read_name(str(child)) for child in roles.children if child is not None)
