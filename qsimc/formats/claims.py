"""Trees of `require` and `forbid` to predicates: names become fields, roles and words."""

from __future__ import annotations

from collections.abc import Callable

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, did_you_mean
from qsimc.ir.config import Value
from qsimc.ir.predicate import Both, Compare, Either, Implies, Member, Not, Predicate, Ref
from qsimc.ir.select import ROLES
from qsimc.source import Span
from qsimc.spec.fields import vocabulary
from qsimc.syntax.tree import Token, Tree

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
        parts = [self.predicate(child) for child in tree.children if isinstance(child, Tree)]
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
        trees = [child for child in values.children if isinstance(child, Tree)]
        read = tuple(self._value(child) for child in trees)
        if left is None:
            return None
        wrong = [at for value, at in zip(read, trees, strict=True) if not self._fits(left, value, at)]
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
