"""The YAML reader: what it reads, where it points, and what it refuses."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic
from qsimc.source import Source
from qsimc.syntax.json import MAX_DEPTH, Array, Json, Object, plain
from qsimc.syntax.yaml import MAX_VALUES, parse, parse_all

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def read(text: str) -> tuple[Json | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return parse(Source("x.yaml", text), found.append), found


def codes(text: str) -> list[str]:
    return [finding.code for finding in read(text)[1]]


@given(documents, st.sampled_from([None, True, False]))
def test_what_python_writes_is_read_as_python_reads_it(document: object, flow: bool | None) -> None:
    value, found = read(yaml.safe_dump(document, default_flow_style=flow, sort_keys=False))
    assert not found
    assert value is not None
    assert plain(value) == document


@given(st.text(alphabet="abc:-*&!<>|[]{},'\"#%\n 0.1\\x", max_size=60) | st.text())
def test_no_text_brings_the_reader_down(text: str) -> None:
    value, found = read(text)
    assert value is not None or found


@given(documents)
def test_every_value_points_at_its_text(document: object) -> None:
    value, _ = read(yaml.safe_dump(document, allow_unicode=True))
    assert value is not None

    def look(one: Json) -> None:
        assert 0 <= one.span.start <= one.span.end <= len(one.span.source.text)
        for inner in (
            (m.value for m in one.members) if isinstance(one, Object) else one.items if isinstance(one, Array) else ()
        ):
            assert one.span.start <= inner.span.start <= inner.span.end <= one.span.end
            look(inner)

    look(value)


def test_places_are_those_of_the_text() -> None:
    value, _ = read("a: 8  # bits\nb:\n  - 'x'\n  - {-1: 128}\n")
    assert isinstance(value, Object)
    first, second = value.members
    assert (first.key_span.text, first.value.span.text) == ("a", "8")
    assert second.value.span.text == "- 'x'\n  - {-1: 128}"
    assert plain(value) == {"a": 8, "b": ["x", {"-1": 128}]}


def test_an_alias_is_what_it_stands_for() -> None:
    value, found = read("base: &b {num_bits: 8}\nother:\n  <<: *b\n  axis: 0\nsame: *b\n")
    assert not found
    assert value is not None
    assert plain(value) == {"base": {"num_bits": 8}, "other": {"num_bits": 8, "axis": 0}, "same": {"num_bits": 8}}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: !!python/name:os.system x", "Q0115"),
        ("a: !own 1", "Q0115"),
        ("a: *nobody", "Q0115"),
        ("a: &a [*a]", "Q0115"),
        ("? [1]\n: 2", "Q0115"),
        ("a: 1\n---\nb: 2", "Q0115"),
        ("a: [1", "Q0115"),
        ("a: \x01", "Q0115"),
        ('a: "\\U00110000"', "Q0115"),
        ("a: " + "9" * 1000, "Q0115"),
        ("a: 1\na: 2", "Q0103"),
        ("[" * (MAX_DEPTH + 1), "Q0104"),
        ("a: .nan", "Q0105"),
    ],
)
def test_what_is_refused_has_a_code(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_a_small_text_cannot_stand_for_a_huge_one() -> None:
    """S5: each line holds ten of the one before."""
    lines = [f"a{i}: &a{i} [{', '.join(['x' if i == 0 else f'*a{i - 1}'] * 10)}]" for i in range(9)]
    found: list[Diagnostic] = []
    assert parse(Source("bomb.yaml", "\n".join(lines)), found.append) is None
    assert str(MAX_VALUES) in found[0].message


def test_aliases_cannot_nest_deeper_than_text() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))]
    assert codes("\n".join(lines)) == ["Q0104"]


def test_documents_are_read_one_by_one() -> None:
    found: list[Diagnostic] = []
    values = parse_all(Source("x.yaml", "a: 1\n---\n- b\n"), found.append)
    assert values is not None
    assert [plain(value) for value in values] == [{"a": 1}, ["b"]]
