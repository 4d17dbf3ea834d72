"""Names of layers: globs and regular expressions mean each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qsimc.formats.foreign._layer_names import alphabetical
from qsimc.formats.foreign._names import covers, globs_of_regex, may_overlap, regex_of_glob, valid_regex

Match = Callable[[str, str], object]

NAMES = st.text("ab.[]*?1", max_size=6)
GLOBS = st.text("ab.[]*?!^1-", max_size=6)
EXPRESSIONS = st.text("ab.[]*?^$()|+\\d1", max_size=8)


@given(GLOBS, NAMES)
def test_expression_of_a_glob_matches_the_same_names(glob: str, name: str) -> None:
    assert bool(re.fullmatch(regex_of_glob(glob), name)) == fnmatchcase(name, glob)


@pytest.mark.parametrize(
    ("match", "begins", "ends"), [("fullmatch", True, True), ("match", True, False), ("search", 0, 0)]
)
@given(pattern=EXPRESSIONS, name=NAMES)
def test_globs_of_an_expression_match_no_fewer_names(
    match: str, begins: bool, ends: bool, pattern: str, name: str
) -> None:
    assume(not valid_regex(pattern))
    globs = globs_of_regex(pattern, begins=bool(begins), ends=bool(ends))
    assume(globs is not None)
    assert globs is not None
    wanted = getattr(re, match)(pattern, name) is not None
    found = any(fnmatchcase(name, glob) for glob in globs.patterns)
    assert found == wanted if globs.exact else found or not wanted


@pytest.mark.parametrize(
    ("pattern", "globs", "exact"),
    [
        (r".*lm_head", ("*lm_head*",), True),
        (r".*\.(q|k)_proj$", ("*.q_proj", "*.k_proj"), True),
        (r"model\.layers\.\d+\.mlp", ("model.layers.[0-9]*.mlp*",), False),  # a glob cannot count
        (r"^(a|b)$", ("a", "b"), True),
        (r"gates?$", ("gate", "gates"), True),
        (r"a|b", ("a*", "b*"), True),
    ],
)
def test_globs_of_usual_expressions(pattern: str, globs: tuple[str, ...], exact: bool) -> None:
    found = globs_of_regex(pattern, begins=True, ends=False)
    assert found is not None
    assert (set(found.patterns), found.exact) == (set(globs), exact)


@pytest.mark.parametrize("pattern", [r"x(?=y)", r"a\1", "(", "(" * 400 + ")" * 400, "a" * 600, "(a|b)" * 7])
def test_expression_without_a_glob_is_none(pattern: str) -> None:
    assert globs_of_regex(pattern, begins=True, ends=True) is None


@given(GLOBS, GLOBS, NAMES)
def test_overlap_is_never_missed(first: str, second: str, name: str) -> None:
    if fnmatchcase(name, first) and fnmatchcase(name, second):
        assert may_overlap(first, second)
    if covers(first, second) and fnmatchcase(name, second):
        assert fnmatchcase(name, first)


@given(st.lists(st.text("ab.*", min_size=1, max_size=4), max_size=4, unique=True), st.text("ab.", max_size=5))
def test_first_in_the_alphabet_is_the_last_glob(globs: list[str], name: str) -> None:
    expressions = alphabetical(globs)
    assert expressions is not None
    matching = [glob for glob in globs if fnmatchcase(name, glob)]
    first = min((pattern for pattern in expressions if re.match(pattern, name)), default=None)
    assert first == (expressions[globs.index(matching[-1])] if matching else None)
