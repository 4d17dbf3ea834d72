"""Laws of the qsim language: layout changes nothing but layout, and what is written is read."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsimc import formats
from qsimc.diagnostics import Diagnostic
from qsimc.formats import qsim
from qsimc.formats.fmt import fmt
from qsimc.formats.qsim_writer import write
from qsimc.ir.config import Clause, Config, Fusion, Option, Restriction, Rule, Setting
from qsimc.ir.predicate import Both, Compare, Either, Implies, Member, Not, Predicate, Ref
from qsimc.ir.select import AnyOf, Boundary, Chain, Everything, NodeName, OpType, Selector, alternatives, chains
from qsimc.source import Source, Span
from qsimc.spec.fields import domain, vocabulary
from qsimc.syntax import quick
from tests.props.qsim_programs import programs
from tests.props.vendor_documents import DOCUMENTS

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").rglob("*.qsim"))
CONFIGS = sorted((ROOT / "tests/data/aimet_plans/configs").glob("*.json"))


def read(text: str, path: str = "c.qsim") -> tuple[Config, Counter[tuple[str, str]]]:
    """Return what a text says, and its findings."""
    found: list[Diagnostic] = []
    return qsim.read(Source(path, text), found.append), Counter((d.code, d.message) for d in found)


def said(value: object) -> object:
    """Return what a part of a configuration says: wherever it stands, and an integer is no real."""
    if is_dataclass(value):
        places = ("source", "span", "subject", "pointer", "format", "target_span")
        return type(value), tuple(said(getattr(value, f.name)) for f in fields(value) if f.name not in places)
    return tuple(map(said, value)) if isinstance(value, tuple) else (type(value), value)


def meant(config: Config) -> object:
    """Return what a configuration says once its sets are taken apart."""
    rules = [(said(one), said(rule.clauses)) for rule in config.rules for one in alternatives(rule.selector)]
    fusions = [ops for fusion in config.fusions for ops in chains(fusion.chain)]
    return config.dialect, config.target, said(config.options), rules, fusions, said(config.restrictions)


# ── layout ───────────────────────────────────────────────────────────────────────────────────


def lays_out(text: str, path: str = "c.qsim") -> None:
    """Check the laws of layout for one text; what breaks the grammar has none."""
    findings: list[Diagnostic] = []
    after = fmt(Source(path, text), findings.append)
    if after is None:
        assert {d.code for d in findings} == {"Q0106"}
        return
    (config, found), (again, found_again) = read(text, path), read(after, path)
    assert said(again) == said(config)
    assert found_again == found
    assert Counter(map(str, quick.comments(after))) == Counter(map(str, quick.comments(text)))
    assert fmt(Source(path, after), findings.append) == after
    assert all(line == line.rstrip() for line in after.split("\n"))
    assert not after.startswith("\n")
    assert not after.endswith("\n\n")
    assert "\n\n\n" not in after


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_layout_keeps_meaning_and_comments(text: str) -> None:
    lays_out(text)


@pytest.mark.slow
@settings(max_examples=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_layout_keeps_meaning_and_comments_of_ten_thousand_programs(text: str) -> None:
    lays_out(text)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_layout_keeps_what_comes_with_qsimc(path: Path) -> None:
    lays_out(path.read_text(encoding="utf-8"), str(path))


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def is_read_back(config: Config) -> None:
    """Check the laws of writing for one configuration."""
    text = write(config)
    again, found = read(text)
    assert not found
    assert said(again) == said(config)
    assert fmt(Source("c.qsim", text), lambda _: None) == text
    compact = write(config, compact=True)
    again, found = read(compact)
    assert not found
    assert meant(again) == meant(config)
    assert fmt(Source("c.qsim", compact), lambda _: None) == compact


def vendors(text: str, format: str) -> Config:
    config = formats.written(Source("c.json", text), lambda _: None, format)
    assert config is not None
    return config


@pytest.mark.parametrize("vendor", sorted(DOCUMENTS))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_a_vendor_s_file_says_is_read_back(vendor: str, data: st.DataObject) -> None:
    document: Any = data.draw(DOCUMENTS[vendor])
    is_read_back(vendors(json.dumps(document), vendor))


@pytest.mark.parametrize("format", ["aimet", "aimet-torch"])
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_real_file_of_aimet_is_read_back(path: Path, format: str) -> None:
    is_read_back(vendors(path.read_text(encoding="utf-8"), format))


def test_types_of_formal_names_are_read_back() -> None:
    types = {"X": "uint8|uint16", "W": "int8[channel_axis=0]", "a b": "int8"}
    document = {"Conv": {"supported_qtypes": [types, {"Y": "int8"}, {}]}, "Relu": {"supported_qtypes": []}}
    is_read_back(vendors(json.dumps(document), "aimet-qtypes"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_what_comes_with_qsimc_is_read_back(path: Path) -> None:
    config, _ = read(path.read_text(encoding="utf-8"), str(path))
    is_read_back(config)


SPAN = Span(Source("c.qsim", ""), 0, 0)
TEXTS = st.text(max_size=6) | st.sampled_from(["", "model", "let", "true", "8", "a.b", "`", '"', "\\", "# (", "\u2028"])
FINITE = st.floats(allow_nan=False)
BOUND = st.none() | st.integers() | FINITE
KERNELS = st.lists(st.lists(TEXTS, max_size=3).map(tuple), max_size=3).map(tuple)


def selectors() -> st.SearchStrategy[Selector]:
    named = st.builds(OpType, TEXTS) | st.builds(NodeName, TEXTS, st.booleans())
    inner: st.SearchStrategy[Selector] = st.recursive(
        named,
        lambda below: (
            st.lists(below, min_size=2, max_size=3).map(lambda several: AnyOf(tuple(several)))
            | st.lists(below, min_size=2, max_size=3).map(lambda several: Chain(tuple(several)))
        ),
        max_leaves=4,
    )
    return st.just(Everything()) | st.just(Boundary()) | inner


def values(name: str) -> st.SearchStrategy[Any]:
    """Return the values that a field can have."""
    row = vocabulary().fields[name]
    match row.type:
        case "range":
            return st.tuples(BOUND, BOUND)
        case "kernels":
            return KERNELS
        case "real":
            low, high = row.bounds
            return st.floats(low, high) | st.integers(int(low), int(high))
        case _:
            return st.sampled_from(domain(name))


SETTINGS = st.sampled_from(sorted(vocabulary().fields)).flatmap(
    lambda name: values(name).map(lambda value: Setting(name, value, SPAN))
)
ROLES = st.lists(TEXTS, max_size=3).map(tuple)
CLAUSES = st.builds(Clause, ROLES, st.lists(SETTINGS, max_size=6).map(tuple), st.just(SPAN))
RULES = st.builds(Rule, selectors(), st.lists(CLAUSES, max_size=3).map(tuple), st.just(SPAN))
FUSIONS = st.lists(st.builds(OpType, TEXTS), min_size=2, max_size=4).map(lambda ops: Fusion(Chain(tuple(ops)), SPAN))
OPTIONS = st.builds(Option, st.just("hw_version"), TEXTS | st.booleans() | st.integers() | FINITE, st.just(SPAN)) | (
    st.builds(Option, st.just("supergroup_passes"), st.lists(TEXTS, max_size=3).map(tuple), st.just(SPAN))
)
ORDERED = st.builds(Ref, st.sampled_from(["bits", "percentile"]), st.sampled_from(["", "bias"]))
FLAGS = st.builds(Ref, st.sampled_from(["symmetric", "enabled", "signed"]), st.sampled_from(["", "output"]))
NUMBERS = st.integers() | FINITE


def predicates() -> st.SearchStrategy[Predicate]:
    several = (Both, Either)
    tests: st.SearchStrategy[Predicate] = (
        st.builds(Compare, ORDERED, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), NUMBERS, st.just(SPAN))
        | st.builds(Compare, ORDERED, st.just("=="), st.just(Ref("bits", "weight")), st.just(SPAN))
        | st.builds(Compare, FLAGS, st.sampled_from(["==", "!="]), st.booleans() | TEXTS, st.just(SPAN))
        | st.builds(Compare, st.just(Ref("kernels")), st.just("=="), KERNELS, st.just(SPAN))
        | st.builds(Member, ORDERED, st.lists(NUMBERS, max_size=3).map(tuple), st.just(SPAN))
    )
    return st.recursive(
        tests,
        lambda below: (
            st.builds(Not, below, st.just(SPAN))
            | st.builds(Implies, below, below, st.just(SPAN))
            | st.tuples(st.sampled_from(several), st.lists(below, min_size=2, max_size=3)).map(
                lambda drawn: drawn[0](tuple(drawn[1]), SPAN)
            )
        ),
        max_leaves=5,
    )


RESTRICTIONS = st.builds(
    Restriction,
    st.sampled_from(["", "some-name", "let"]),
    st.sampled_from(["require", "forbid"]),
    selectors(),
    ROLES,
    predicates(),
    TEXTS,
    st.just(SPAN),
)


def several(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=3).map(tuple)


CONFIGURATIONS = st.builds(
    Config,
    source=st.just(SPAN.source),
    dialect=st.just("aimet"),
    format=st.just("qsim"),
    target=st.sampled_from([None, "vitis-dpu"]),
    options=several(OPTIONS),
    rules=several(RULES),
    fusions=several(FUSIONS),
    restrictions=several(RESTRICTIONS),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(CONFIGURATIONS)
def test_whatever_a_configuration_says_is_read_back(config: Config) -> None:
    is_read_back(config)
