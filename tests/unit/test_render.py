"""Renderers: every format says the same thing, and nothing in a name gets out of its place."""

from __future__ import annotations

import json
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, Label, Severity
from qsimc.render import RENDERERS
from qsimc.render.machine import fingerprint
from qsimc.render.text import full, printable
from qsimc.source import Source, Span

SOURCE = Source("dir/c.json", '{\n\t"one": "trüe",\n  "two": 2\n}\n')


def finding(message: str = "`true` is wrong", *, at: str = '"trüe"', path: str = "") -> Diagnostic:
    start = SOURCE.text.find(at)
    label = Label(Span(SOURCE, start, start + len(at)), "here") if at else None
    return Diagnostic(
        code="Q0202",
        name="bad-value",
        severity=Severity.ERROR,
        message=message,
        labels=(label,) if label else (),
        helps=("write something else",),
        pointer="/one" if at else "",
        path=path,
    )


def test_text_underlines_what_is_wrong() -> None:
    assert full([finding()]) == (
        "error[Q0202]: `true` is wrong\n"
        " --> dir/c.json:2:9\n"
        "  |\n"
        '2 |  "one": "trüe",\n'
        "  |         ^^^^^^ here\n"
        "  = help: write something else\n"
        "\n"
        "1 error\n"
    )


def test_text_shows_both_ends_of_a_conflict() -> None:
    other = Source("specs/t.qsim", "# a target\nrequire x\n")
    first = finding()
    both = Diagnostic(
        code="Q0401",
        name="x",
        severity=Severity.WARNING,
        message="m",
        labels=(*first.labels, Label(Span(other, 11, 18), "because of this")),
    )
    shown = full([both])
    assert "::: specs/t.qsim:2:1" in shown
    assert "------- because of this" in shown


def test_json_has_the_contract_s_keys() -> None:
    document = json.loads(RENDERERS["json"]([finding()]))
    (found,) = document["findings"]
    assert document["format_version"] == "1.0"
    assert document["summary"] == {"error": 1, "warning": 0, "info": 0}
    assert {
        "code",
        "name",
        "severity",
        "message",
        "path",
        "line",
        "column",
        "end_line",
        "end_column",
        "pointer",
    } <= set(found)
    assert {"fingerprint", "notes", "help", "fixes", "vendor"} <= set(found)
    assert (found["line"], found["column"], found["end_column"]) == (2, 9, 15)


def test_a_fingerprint_survives_reformatting() -> None:
    moved = Source(SOURCE.path, "\n\n" + SOURCE.text)
    first = finding()
    start = moved.text.find('"trüe"')
    again = Diagnostic(
        code=first.code,
        name=first.name,
        severity=first.severity,
        message=first.message,
        labels=(Label(Span(moved, start, start + 6)),),
        pointer=first.pointer,
    )
    assert fingerprint(first) == fingerprint(again)


def test_a_finding_without_a_place_names_its_file() -> None:
    shown = full([finding(at="", path="model.onnx")])
    assert " --> model.onnx" in shown
    assert json.loads(RENDERERS["json"]([finding(at="", path="m.onnx")]))["findings"][0]["line"] is None


@pytest.mark.parametrize("style", RENDERERS)
def test_nothing_is_found_in_every_format(style: str) -> None:
    shown = RENDERERS[style]([])
    if style in ("json", "sarif", "gitlab"):
        json.loads(shown)
    elif style == "junit":
        assert Xml.fromstring(shown).get("failures") == "0"


hostile = st.text(
    alphabet=st.sampled_from("a`:,%\r\n\x1b[31m\u202e\x00<>&\"'|]") | st.characters(exclude_categories=["Cs"])
)


@given(hostile)
def test_a_hostile_name_stays_inside_its_annotation(name: str) -> None:
    shown = RENDERERS["github"]([finding(f"`{name}`", at="", path=name)])
    lines = shown.split("\n")
    assert lines[-1] == ""
    assert len(lines) == 2
    assert lines[0].startswith("::error ")


@given(hostile)
def test_a_hostile_name_leaves_machine_formats_well_formed(name: str) -> None:
    findings = [finding(f"`{name}`", at="", path=name)]
    json.loads(RENDERERS["json"](findings))
    json.loads(RENDERERS["jsonl"](findings))
    json.loads(RENDERERS["sarif"](findings))
    json.loads(RENDERERS["gitlab"](findings))
    Xml.fromstring(RENDERERS["junit"](findings))


@given(hostile)
def test_a_hostile_name_does_not_move_the_cursor(name: str) -> None:
    shown = full([finding(f"`{name}`", at="", path=name)])
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert len(shown.split("\n")) == len(full([finding("`x`", at="", path="x")]).split("\n")) - (not printable(name))
