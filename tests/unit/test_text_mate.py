"""The TextMate grammar: it knows the words of the language, and every pattern is one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from qsimc import resources
from qsimc.ir.lexical import KEYWORDS
from qsimc.spec.fields import vocabulary

GRAMMAR: dict[str, Any] = json.loads(resources.read("grammar", "qsim.tmLanguage.json"))
RULES: dict[str, Any] = GRAMMAR["repository"]


def rules(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every rule at and below a place of the grammar."""
    if isinstance(node, dict):
        yield node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from rules(below)


def scopes(line: str) -> dict[str, str]:
    """Return what each piece of a line is, by the pattern that matches first, of several the one listed first."""
    patterns = [rule for include in GRAMMAR["patterns"] for rule in alternatives(RULES[include["include"][1:]])]
    found: dict[str, str] = {}
    at = 0
    while matches := [(match, rule) for rule in patterns if (match := begin(rule).search(line, at)) is not None]:
        match, rule = min(matches, key=lambda one: one[0].start())
        at = match.end()
        for number, capture in rule.get("captures", {}).items():
            found[match[int(number)]] = capture["name"]
        if "end" in rule:
            last = re.compile(rf"(?:\\.|[^\\])*?(?:{rule['end']})").match(line, at)
            at = last.end() if last else at
        if "name" in rule:
            found[line[match.start() : at]] = rule["name"]
    return found


def alternatives(rule: dict[str, Any]) -> list[dict[str, Any]]:
    nested: list[dict[str, Any]] = rule.get("patterns", [])
    return [rule] if "match" in rule or "begin" in rule else nested


def begin(rule: dict[str, str]) -> re.Pattern[str]:
    return re.compile(rule["match"] if "match" in rule else rule["begin"])


def test_every_pattern_compiles_and_every_name_is_defined() -> None:
    for rule in rules(GRAMMAR):
        for key in ("match", "begin", "end"):
            if key in rule:
                re.compile(rule[key])
        if "include" in rule:
            assert rule["include"].removeprefix("#") in RULES


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_a_keyword_is_one(word: str) -> None:
    line = f"x {word} y" if word in ("and", "as", "in", "not", "or") else f"{word} x"
    assert scopes(line)[word].startswith("keyword.")


@pytest.mark.parametrize("word", vocabulary().words)
def test_a_setting_is_one(word: str) -> None:
    kind = "constant.language.flag" if word in vocabulary().flags else "variable.parameter"
    assert scopes(f"Conv[weight]: {word}=1")[word] == f"{kind}.qsim"


def test_the_words_are_no_others_than_those_of_the_vocabulary() -> None:
    words = {w for name in ("flag", "setting") for w in re.findall(r"[a-z_]{2,}", RULES[name]["match"])}
    assert words == set(vocabulary().words)


@pytest.mark.parametrize(
    ("line", "piece", "scope"),
    [
        ("Conv: on  # why", "# why", "comment.line"),
        ("`a # b`[x]: on", "`a # b`", "entity.name.type.quoted"),
        (r'"a \" # b": on', r'"a \" # b"', "string.quoted"),
        ("*: range=-1..1e3", "-1", "constant.numeric"),
        ("*: range=-1..1e3", "1e3", "constant.numeric"),
        ("Conv: @w4-2 on", "@w4-2", "variable.other"),
        ("on-off: on", "on-off", "entity.name.type"),
        ("fused: on", "fused", "entity.name.type"),
        ("require model: on", "model", "keyword.control"),
        ("option a=true", "true", "constant.language.boolean"),
        ("A -> B: on", "->", "keyword.operator"),
    ],
)
def test_a_piece_of_a_line_is_what_it_is(line: str, piece: str, scope: str) -> None:
    assert scopes(line)[piece] == f"{scope}.qsim" or scopes(line)[piece].startswith(f"{scope}.")
