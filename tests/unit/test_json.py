"""The JSON reader: what it reads, what it forgives, and where it points."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from qsimc import resources
from qsimc.diagnostics import Diagnostic
from qsimc.source import Source
from qsimc.syntax.json import MAX_DEPTH, Json, Object, parse, plain


def read(text: str) -> tuple[Json | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return parse(Source("x.json", text), found.append), found


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(documents, st.sampled_from([None, 0, 3]), st.booleans())
def test_what_python_writes_is_read_as_python_reads_it(document: object, indent: int | None, ascii_: bool) -> None:
    value, found = read(json.dumps(document, indent=indent, ensure_ascii=ascii_))
    assert not found
    assert value is not None
    assert plain(value) == document


@given(from_lark(Lark(resources.read("grammar", "json.lark"), start="start")))
def test_every_text_of_the_grammar_is_json(text: str) -> None:
    value, found = read(text)
    try:
        expected = json.loads(text)
        json.dumps(expected, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # half of a surrogate pair, or a number of thousands of digits
        return
    if all(d.code in ("Q0103", "Q0104", "Q0105") for d in found) and value is not None:
        # Integers beyond 64 bits become floats; Python keeps them.
        assert plain(value) == expected or re.search(r"\d{19}", text)


@given(st.text())
def test_no_text_brings_the_reader_down(text: str) -> None:
    value, found = read(text)
    assert value is not None or found


def test_spans_cover_exactly_what_was_written() -> None:
    text = '{\n  "a": [1, "two"]\n}'
    value, _ = read(text)
    assert isinstance(value, Object)
    member = value.members[0]
    assert (member.key_span.text, member.value.span.text) == ('"a"', '[1, "two"]')
    assert (member.value.span.line, member.value.span.column) == (2, 8)


@pytest.mark.parametrize(
    ("text", "code", "said", "line", "column"),
    [
        ("", "Q0102", "expected a value, found the end of the file", 1, 1),
        ('{"a" 1}', "Q0102", "expected `:`", 1, 6),
        ('{"a": 1,\n "b": 2,}', "Q0102", "a comma follows the last element", 2, 8),
        ('{"a": 1 "b": 2}', "Q0102", "expected `,` or `}`", 1, 9),
        ("[1, 2", "Q0102", "expected `,` or `]`, found the end of the file", 1, 6),
        ("{'a': 1}", "Q0102", "double quotes", 1, 2),
        ('{"a": "b\n"}', "Q0102", "does not end on its line", 1, 7),
        ('// no\n{"a": 1}', "Q0102", "JSON has no comments", 1, 1),
        ('{"a": True}', "Q0102", "`True` is Python", 1, 7),
        ('{"a": yes}', "Q0102", "`yes` is no JSON value", 1, 7),
        ('"\\ud800"', "Q0102", "half of a surrogate pair", 1, 1),
        ('{"a": 1, "a": 2}', "Q0103", "appears twice", 1, 10),
        ("[" * (MAX_DEPTH + 1), "Q0104", "nested more than", 1, MAX_DEPTH + 1),
        ("NaN", "Q0105", "not a finite number", 1, 1),
        ("1e999", "Q0105", "not a finite number", 1, 1),
        ("9" * 5000, "Q0102", "5000 characters", 1, 1),
        ("{} {}", "Q0102", "expected the end of the file", 1, 4),
    ],
)
def test_a_mistake_is_named_and_pointed_at(text: str, code: str, said: str, line: int, column: int) -> None:
    _, found = read(text)
    assert len(found) == 1
    assert found[0].code == code
    assert said in found[0].message
    span = found[0].labels[0].span
    assert (span.line, span.column) == (line, column)


def test_mistakes_that_can_be_read_over_are_all_reported() -> None:
    value, found = read('{"a": [1,], // one\n "b": True, "b": NaN}')
    assert [d.code for d in found] == ["Q0102", "Q0102", "Q0102", "Q0105", "Q0103"]
    assert value is not None


def test_python_s_own_error_is_quoted() -> None:
    _, found = read('{"a": 1,}')
    assert found[0].vendor is not None
    assert "line 1 column" in found[0].vendor.text


def test_worst_case_garbage_is_read_in_linear_steps() -> None:
    for text in ("[" * 500_000, '"' + "\\" * 500_000, "#" * 500_000, '{"a":' * 100_000):
        _, found = read(text)
        assert found
