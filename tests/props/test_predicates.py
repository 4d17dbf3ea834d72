"""Laws of predicates: three values, and their inversion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsimc.ir.predicate import (
    Both,
    Compare,
    Either,
    Facts,
    Implies,
    Member,
    Not,
    Predicate,
    Ref,
    evaluate,
    refs,
    values_allowed,
)
from qsimc.ir.select import ROLES
from qsimc.ir.value import Value
from qsimc.source import Source, Span
from qsimc.spec.fields import domain

AT = Span(Source("laws.qsim", ""), 0, 0)
FIELDS = ("type", "bits", "symmetric", "per_channel", "scale", "calib")
COMPARATORS = ("==", "!=", "<", "<=", ">", ">=")

fields = st.sampled_from(FIELDS)
roles = st.sampled_from(ROLES)
refs_ = st.builds(Ref, fields, st.sampled_from(("", *ROLES)))


def values(field: str) -> st.SearchStrategy[Value]:
    return st.sampled_from(domain(field))


def compares(ref: Ref) -> st.SearchStrategy[Predicate]:
    operators = st.sampled_from(COMPARATORS if ref.field == "bits" else COMPARATORS[:2])
    other = st.builds(Ref, st.just(ref.field), roles)
    return st.builds(Compare, st.just(ref), operators, values(ref.field) | other, st.just(AT))


def members(ref: Ref) -> st.SearchStrategy[Predicate]:
    return st.builds(Member, st.just(ref), st.lists(values(ref.field), min_size=1).map(tuple), st.just(AT))


predicates: st.SearchStrategy[Predicate] = st.recursive(
    refs_.flatmap(lambda ref: compares(ref) | members(ref)),
    lambda inner: (
        st.builds(Not, inner, st.just(AT))
        | st.builds(Both, st.lists(inner, min_size=2, max_size=3).map(tuple), st.just(AT))
        | st.builds(Either, st.lists(inner, min_size=2, max_size=3).map(tuple), st.just(AT))
        | st.builds(Implies, inner, inner, st.just(AT))
    ),
    max_leaves=6,
)
complete = st.fixed_dictionaries({role: st.fixed_dictionaries({f: values(f) for f in FIELDS}) for role in ROLES})
hidden = st.sets(st.tuples(roles, fields))


def without(facts: Facts, unsaid: set[tuple[str, str]]) -> Facts:
    return {role: {f: v for f, v in said.items() if (role, f) not in unsaid} for role, said in facts.items()}


@given(predicates, complete, roles)
def test_with_everything_said_a_predicate_is_true_or_false(predicate: Predicate, facts: Facts, role: str) -> None:
    assert evaluate(predicate, facts, role) is not None


@given(predicates, complete, hidden, roles)
def test_saying_more_changes_no_answer_that_was_there(
    predicate: Predicate, facts: Facts, unsaid: set[tuple[str, str]], role: str
) -> None:
    before = evaluate(predicate, without(facts, unsaid), role)
    assert before is None or before is evaluate(predicate, facts, role)


@given(predicates, complete, hidden, roles, refs_, st.booleans())
def test_the_values_allowed_are_those_that_satisfy(
    predicate: Predicate, facts: Facts, unsaid: set[tuple[str, str]], role: str, ref: Ref, wanted: bool
) -> None:
    known = without(facts, unsaid)
    allowed = values_allowed(predicate, ref, domain(ref.field), known, role, wanted=wanted)
    at = ref.role or role
    for value in domain(ref.field):
        changed = {**known, at: {**known[at], ref.field: value}}
        assert (evaluate(predicate, changed, role) is wanted) == (value in allowed)


@given(predicates, complete, hidden, roles)
def test_only_what_a_predicate_reads_matters(
    predicate: Predicate, facts: Facts, unsaid: set[tuple[str, str]], role: str
) -> None:
    read = {(ref.role or role, ref.field) for ref in refs(predicate)}
    assert evaluate(predicate, without(facts, unsaid - read), role) is evaluate(predicate, facts, role)


@given(predicates, predicates, complete, hidden, roles)
def test_an_implication_is_its_own_disjunction(
    premise: Predicate, conclusion: Predicate, facts: Facts, unsaid: set[tuple[str, str]], role: str
) -> None:
    known = without(facts, unsaid)
    implied = evaluate(Implies(premise, conclusion, AT), known, role)
    assert implied is evaluate(Either((Not(premise, AT), conclusion), AT), known, role)


@given(predicates, predicates, complete, hidden, roles)
def test_negation_turns_both_into_either(
    a: Predicate, b: Predicate, facts: Facts, unsaid: set[tuple[str, str]], role: str
) -> None:
    known = without(facts, unsaid)
    both = evaluate(Not(Both((a, b), AT), AT), known, role)
    assert both is evaluate(Either((Not(a, AT), Not(b, AT)), AT), known, role)


@given(roles)
def test_a_float_of_a_width_is_a_float(role: str) -> None:
    facts: Facts = {role: {"type": "float16"}}
    assert evaluate(Compare(Ref("type"), "==", "float", AT), facts, role)
    assert evaluate(Compare(Ref("type"), "==", "int", AT), facts, role) is False
    assert evaluate(Compare(Ref("type"), "==", "float32", AT), facts, role) is False
