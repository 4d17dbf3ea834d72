"""Trees of `require` and `forbid` to predicates: names become fields, roles and words.  And restrictions to text."""

from __future__ import annotations

from collections.abc import Callable

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, did_you_mean
from qsimc.ir import lexical
from qsimc.ir.config import Restriction, Value, show_roles, show_setting, show_value
from qsimc.ir.predicate import Both, Compare, Either, Implies, Member, Not, Predicate, Ref
from qsimc.ir.select import ROLES
from qsimc.ir.select import show as show_selector
from qsimc.source import Span
from qsimc.spec.fields import vocabulary
from qsimc.syntax.tree import Token, Tree, trees

_ORDERED = ("integer", "real")


class Claims:
    """Reads predicates of one file; every unknown word is reported, and the whole claim is then left out."""

    def __init__(self, span: Callable[[Tree | Token], Span], value: Callable[[Tree], Value], report: Report) -> None:
        self._span = span
        self._value = value
        self._report = report

    def predicate(self, tree: Tree) -> Predicate | None:
        """Return what a tree claims, or None after reporting why it means nothing."""
        span = self._span(tree)
        match tree.data:
            case "compare":
                return self._compare(tree, span)
            case "member":
                return self._member(tree, span)
            case "holds":
                return self._holds(tree, span)
        parts = [self.predicate(child) for child in trees(tree.children)]
        read = tuple(part for part in parts if part is not None)
        if len(read) < len(parts):
            return None
        match tree.data:
            case "negation":
                return Not(read[0], span)
            case "implies":
                return Implies(read[0], read[1], span)
            case "both":
                return Both(read, span)
            case _:
                return Either(read, span)

    def _compare(self, tree: Tree, span: Span) -> Predicate | None:
        name, operator, right = tree.children
        assert isinstance(name, Token)
        assert isinstance(right, Tree)
        left = self._ref(name)
        if left is None:
            return None
        if operator not in ("==", "!=") and vocabulary().fields[left.field].type not in _ORDERED:
            self._bad(f"`{left.field}` has no order; it can be `==` or `!=`", self._span(tree))
            return None
        wanted = self._value(right)
        if isinstance(wanted, str) and right.data == "word" and "." in wanted:
            word = right.children[0]
            assert isinstance(word, Token)
            other = self._ref(word)
            return None if other is None else Compare(left, str(operator), other, span)
        return Compare(left, str(operator), wanted, span) if self._fits(left, wanted, right) else None

    def _member(self, tree: Tree, span: Span) -> Predicate | None:
        name, values = tree.children
        assert isinstance(name, Token)
        assert isinstance(values, Tree)
        left = self._ref(name)
        members = list(trees(values.children))
        read = tuple(self._value(member) for member in members)
        if left is None:
            return None
        wrong = [at for value, at in zip(read, members, strict=True) if not self._fits(left, value, at)]
        return None if wrong else Member(left, read, span)

    def _holds(self, tree: Tree, span: Span) -> Predicate | None:
        name = tree.children[0]
        assert isinstance(name, Token)
        role, _, word = str(name).rpartition(".")
        if word not in vocabulary().flags:
            self._unknown(f"no flag is called `{word}`", word, tuple(vocabulary().flags), self._span(name))
            return None
        field, value = vocabulary().flags[word]
        return Compare(Ref(field, role), "==", value, span) if self._is_role(role, name) else None

    def _ref(self, name: Token) -> Ref | None:
        role, _, field = str(name).rpartition(".")
        if field not in vocabulary().fields:
            self._unknown(f"no field is called `{field}`", field, tuple(vocabulary().fields), self._span(name))
            return None
        return Ref(field, role) if self._is_role(role, name) else None

    def _is_role(self, role: str, name: Token) -> bool:
        if role and role not in ROLES:
            self._unknown(f"no tensor of a node is called `{role}`", role, ROLES, self._span(name))
            return False
        return True

    def _fits(self, ref: Ref, value: Value, tree: Tree) -> bool:
        """Say whether a field can have a value at all; a comparison with any other would never be true."""
        field = vocabulary().fields[ref.field]
        if field.type == "word" and value not in field.choices:
            self._unknown(f"`{ref.field}` is never `{value}`", str(value), tuple(field.choices), self._span(tree))
            return False
        if field.type in _ORDERED and (isinstance(value, bool) or not isinstance(value, (int, float))):
            self._bad(f"`{ref.field}` is a number", self._span(tree))
            return False
        return True

    def _unknown(self, message: str, word: str, known: tuple[str, ...], span: Span) -> None:
        near = did_you_mean(word, known)
        self._report(
            Diagnostic(
                code="Q0201",
                name="unknown-key",
                severity=Severity.ERROR,
                message=message,
                labels=(Label(span),),
                helps=(f"did you mean `{near}`?",) if near else (f"known: {', '.join(known)}",),
                fixes=(Fix(f"write `{near}`", (Edit(span, near),)),) if near and span.text == word else (),
            )
        )

    def _bad(self, message: str, span: Span) -> None:
        self._report(
            Diagnostic(code="Q0202", name="bad-value", severity=Severity.ERROR, message=message, labels=(Label(span),))
        )


def show(restriction: Restriction) -> str:
    """Return a restriction as it is written in a .qsim file, on one line."""
    subject = f"{show_selector(restriction.selector)}{show_roles(restriction.roles)}"
    message = f" {lexical.string(restriction.message)}" if restriction.message else ""
    name = f" as {restriction.name}" if restriction.name else ""
    return f"{restriction.polarity} {subject}: {_show(restriction.predicate)}{message}{name}"


def _show(predicate: Predicate) -> str:
    match predicate:
        case Compare(left, "==", bool(value)) if vocabulary().fields[left.field].type == "flag":
            return _show_ref(Ref(show_setting(left.field, value), left.role))
        case Compare(left, operator, right):
            return f"{_show_ref(left)} {operator} {_show_ref(right) if isinstance(right, Ref) else show_value(right)}"
        case Member(left, values):
            return f"{_show_ref(left)} in {show_value(values)}"
        case Not(of):
            return f"not ({_show(of)})"
        case Both(parts):
            return " and ".join(f"({_show(part)})" for part in parts)
        case Either(parts):
            return " or ".join(f"({_show(part)})" for part in parts)
        case Implies(premise, conclusion):
            return f"({_show(premise)}) => ({_show(conclusion)})"


def _show_ref(ref: Ref) -> str:
    return f"{ref.role}.{ref.field}" if ref.role else ref.field
