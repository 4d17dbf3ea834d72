"""Every code and every built-in rule has its page, and the examples on the pages give what the pages say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx.parser
import pytest
from qsimc_onnx.graph import read_graph

from qsimc import explain
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.pipeline.check import check, read
from qsimc.planning.plan import Mode
from qsimc.planning.resolve import resolve

ROOT = Path(__file__).parents[2]
CODES = explain.codes("diagnostics")
LONGEST = 40  # lines of a page: what a terminal shows without scrolling

_CODE = re.compile(r'"(Q\d{4})"')
_NAMED = re.compile(r'"(Q\d{4})"[,:]\s*(?:\w+[=(])?"([a-z][a-z0-9-]*)"')
_SECTION = re.compile(r"^## (.+)$", re.M)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Sample:
    """A configuration out of a page, with the model to bind it to where the code is about one."""

    suffix: str
    config: str
    model: str | None


def _sources() -> Iterator[str]:
    for folder in ("qsimc", "backends"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.read_text(encoding="utf-8")


def _sections(code: str) -> Mapping[str, str]:
    """Return the text under each second-level heading of a page."""
    _, *parts = _SECTION.split(explain.explain(code).text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _blocks(code: str, section: str) -> Mapping[str, str]:
    return dict(_BLOCK.findall(_sections(code)[section]))


def _sample(code: str, section: str) -> Sample | None:
    """Return the runnable sample of a section; what `Instead` does not repeat is as in `Example`."""
    blocks = {**_blocks(code, "Example"), **_blocks(code, section)}
    suffix = next((language for language in ("json", "qsim") if language in blocks), None)
    return None if suffix is None else Sample(suffix, blocks[suffix], blocks.get("onnx"))


def _findings(sample: Sample, folder: Path, mode: Mode = Mode.FIXED) -> list[Diagnostic]:
    path = folder / f"config.{sample.suffix}"
    path.write_text(sample.config, encoding="utf-8")
    found = check(path, mode=mode)
    if sample.model is not None:
        graph = read_graph(onnx.parser.parse_model(sample.model))
        resolve(read(path), graph, found.append, mode=mode)
    return found


SAMPLES = {code: sample for code in CODES if (sample := _sample(code, "Example")) is not None}
BOUND = [code for code, sample in SAMPLES.items() if sample.model is not None]
SILENT = "In vendor mode qsimc does the same and says nothing."
"""How the page of a code says that the vendor's tool goes on without a word."""
BOTH = "A warning in both modes"
"""How the page of a code says that no vendor's file can make the mistake."""


# ── pages and codes ──────────────────────────────────────────────────────────────────────────


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    emitted = {code for text in _sources() for code in _CODE.findall(text)}
    assert sorted(emitted) == list(CODES)


def test_a_code_has_one_name() -> None:
    names = _names()
    assert {code: found for code, found in names.items() if len(found) != 1} == {}
    assert sorted(names) == list(CODES)


def _names() -> Mapping[str, set[str]]:
    names: defaultdict[str, set[str]] = defaultdict(set)
    for text in _sources():
        for code, name in _NAMED.findall(text):
            names[code].add(name)
    return names


@pytest.mark.parametrize("code", CODES)
def test_a_page_is_called_like_its_finding(code: str) -> None:
    page = explain.explain(code)
    assert page.text.startswith(f"# {code}: {page.title}\n\n")
    spelled = page.title.casefold().replace(" ", "-")
    assert {spelled} == _names()[code]


@pytest.mark.parametrize("code", CODES)
def test_a_page_fits_a_terminal(code: str) -> None:
    text = explain.explain(code).text
    assert text.endswith("\n")
    assert text.count("\n") <= LONGEST


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_the_sections_in_order(code: str) -> None:
    sections = _sections(code)
    assert tuple(sections) == ("Why it matters", "Example", "Instead")
    assert all(text.strip() for text in sections.values())


# ── examples ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", SAMPLES)
def test_an_example_gives_its_code_and_no_other(code: str, tmp_path: Path) -> None:
    assert {finding.code for finding in _findings(SAMPLES[code], tmp_path)} == {code}


@pytest.mark.parametrize("code", BOUND)
def test_vendor_mode_fails_where_the_vendor_does(code: str, tmp_path: Path) -> None:
    text = " ".join(explain.explain(code).text.split())
    found = {(finding.code, finding.severity) for finding in _findings(SAMPLES[code], tmp_path, Mode.VENDOR)}
    severity = Severity.WARNING if BOTH in text else Severity.ERROR
    assert found == (set() if SILENT in text else {(code, severity)})


@pytest.mark.parametrize("code", SAMPLES)
def test_what_is_written_instead_gives_no_findings(code: str, tmp_path: Path) -> None:
    sample = _sample(code, "Instead")
    assert sample is not None
    assert sample != SAMPLES[code]
    assert _findings(sample, tmp_path) == []


@pytest.mark.parametrize("code", [code for code in CODES if code not in SAMPLES])
def test_an_example_that_is_not_run_shows_its_finding(code: str) -> None:
    assert re.search(rf"^(error|warning|info)\[{code}\]: \S", _blocks(code, "Example")["console"], re.M)


# ── built-in rules ───────────────────────────────────────────────────────────────────────────


def test_every_builtin_rule_has_a_page_and_every_page_a_rule() -> None:
    ids = {
        rule
        for path in (ROOT / "qsimc/planning").rglob("rules.py")
        for rule in re.findall(r'"([a-z]+-[a-z-]+)"', path.read_text(encoding="utf-8"))
    }
    assert sorted(ids) == list(explain.codes("rules"))


@pytest.mark.parametrize("rule", explain.codes("rules"))
def test_the_page_of_a_rule_begins_with_its_id(rule: str) -> None:
    assert explain.explain(rule).text.startswith(f"# {rule}\n\n")
