"""Reports as their readers see them: SARIF's object model and sarif-tools, junitparser, GitLab's Code Quality."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attr
import junitparser
import pytest
import sarif_om
from jsonschema import Draft202012Validator
from sarif import loader

from qsimc import cli

CONFIGS = {
    # one finding of each severity that has a place, and a name that a report must not trip over
    "wörds & <more>.json": '{"target_device": "dpu", "overall_quantize_config": {"method": "minmax", "bit_width": 0}}',
    "odd.json": '{"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": {"ReLU": {}}, "supergroups": [],'
    ' "model_input": {}, "model_output": {}, "quantisers": {}}',
    "broken.json": "{",
    # the same finding twice
    "twice.qsim": "Conv: symetric\nGemm: symetric\n",
    "below/bare.json": '{"defaults" {}}',
}

# The key of an object in SARIF, and what SARIF's schema calls such an object.
PARTS = {
    "runs": sarif_om.Run,
    "tool": sarif_om.Tool,
    "driver": sarif_om.ToolComponent,
    "rules": sarif_om.ReportingDescriptor,
    "results": sarif_om.Result,
    "message": sarif_om.Message,
    "locations": sarif_om.Location,
    "physicalLocation": sarif_om.PhysicalLocation,
    "artifactLocation": sarif_om.ArtifactLocation,
    "region": sarif_om.Region,
    "relatedLocations": sarif_om.Location,
    "fixes": sarif_om.Fix,
    "artifactChanges": sarif_om.ArtifactChange,
    "replacements": sarif_om.Replacement,
    "deletedRegion": sarif_om.Region,
    "insertedContent": sarif_om.ArtifactContent,
    "description": sarif_om.Message,
    "shortDescription": sarif_om.MultiformatMessageString,
    "fullDescription": sarif_om.MultiformatMessageString,
    "help": sarif_om.MultiformatMessageString,
    "invocations": sarif_om.Invocation,
    "toolExecutionNotifications": sarif_om.Notification,
    "suppressions": sarif_om.Suppression,
}
BAGS = {"partialFingerprints"}
"""Objects with any keys and texts as values."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of configurations with something wrong in each."""
    made = tmp_path_factory.mktemp("configs")
    for name, text in CONFIGS.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture(params=["findings", "none"])
def configs(request: pytest.FixtureRequest, folder: Path) -> list[str]:
    """Configurations with findings of every kind, and one without any."""
    if request.param == "none":
        return ["aimet:default"]
    return [str(folder / name) for name in CONFIGS]


def report(style: str, configs: list[str], folder: Path) -> Path:
    """Write the report of checking some configurations."""
    path = folder / f"report.{style}"
    assert cli.run(["check", *configs, "--format", style, "--output", str(path)]) in (0, 1, 2)
    return path


def findings(configs: list[str], folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(report("json", configs, folder).read_text())["findings"]
    return found


def test_the_configurations_have_findings_of_more_than_one_kind(folder: Path) -> None:
    found = findings([str(folder / name) for name in CONFIGS], folder)
    assert {d["severity"] for d in found} >= {"error", "warning"}


# ── SARIF ────────────────────────────────────────────────────────────────────────────────────


def _typed(value: object, kind: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield every object of a SARIF document with the class of SARIF's object model that describes it."""
    for item in value if isinstance(value, list) else [value]:
        assert isinstance(item, dict)
        yield item, kind
        for key, below in item.items():
            if key in PARTS:
                yield from _typed(below, PARTS[key])
            else:
                assert key in BAGS or not isinstance(below, dict), f"nothing describes `{key}`"


def test_sarif_says_only_what_its_schema_has_and_all_that_it_asks_for(configs: list[str], folder: Path) -> None:
    document = json.loads(report("sarif", configs, folder).read_text())
    for item, kind in _typed(document, sarif_om.SarifLog):
        properties = {field.metadata["schema_property_name"]: field for field in attr.fields(kind)}
        required = {name for name, field in properties.items() if field.default is attr.NOTHING}
        assert required <= set(item) <= set(properties), kind.__name__


def test_sarif_keeps_to_the_values_of_its_schema(configs: list[str], folder: Path) -> None:
    document = json.loads(report("sarif", configs, folder).read_text())
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules))
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    for result in run["results"]:
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["ruleId"] in rules
        assert all(isinstance(text, str) for text in result["partialFingerprints"].values())


def test_sarif_regions_count_from_one_and_end_after_they_begin(configs: list[str], folder: Path) -> None:
    document = json.loads(report("sarif", configs, folder).read_text())
    for region, kind in _typed(document, sarif_om.SarifLog):
        if kind is sarif_om.Region:
            start = (region["startLine"], region["startColumn"])
            assert (1, 1) <= start <= (region["endLine"], region["endColumn"])


def test_sarif_names_files_by_uris(folder: Path) -> None:
    document = json.loads(report("sarif", [str(folder / name) for name in CONFIGS], folder).read_text())
    uris = [item["uri"] for item, kind in _typed(document, sarif_om.SarifLog) if kind is sarif_om.ArtifactLocation]
    # RFC 3986, section 2: everything else stands in a URI as percent and two digits.
    assert [uri for uri in uris if not re.fullmatch(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", uri)] == []


def test_sarif_tools_reads_every_finding(configs: list[str], folder: Path) -> None:
    read = loader.load_sarif_file(str(report("sarif", configs, folder)))
    expected = findings(configs, folder)
    assert read.get_distinct_tool_names() == ["qsimc"]
    assert read.get_result_count() == len(expected)
    levels = {"info": "note"}
    seen = sorted((r["Severity"], r["Code"], r["Line"]) for r in read.get_records())
    assert seen == sorted((levels.get(d["severity"], d["severity"]), d["code"], d["line"] or 1) for d in expected)


# ── JUnit ────────────────────────────────────────────────────────────────────────────────────


def test_junitparser_reads_every_finding_as_a_failure(configs: list[str], folder: Path) -> None:
    (suite,) = junitparser.JUnitXml.fromfile(str(report("junit", configs, folder)))
    expected = findings(configs, folder)
    cases = list(suite)
    assert (suite.tests, suite.failures) == (max(len(expected), 1), len(expected))
    assert len(cases) == suite.tests
    failures = [failure for case in cases for failure in case.result]
    assert [(f.type, f.message) for f in failures] == [(d["code"], d["message"]) for d in expected]


# ── GitLab ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[1] / "data" / "gitlab_code_quality.schema.json"
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(read)
    return read


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of configurations, as a CI job stands in it."""
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("spelled", ["{name}", "./{name}", "below/../{name}", "{folder}/{name}"])
def test_gitlab_gets_what_it_documents(spelled: str, repository: Path, schema: dict[str, Any]) -> None:
    configs = [spelled.format(name=name, folder=repository) for name in (*CONFIGS, "missing.json")]
    said = report("gitlab", configs, repository).read_bytes()
    entries = json.loads(said)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(entries)] == []
    assert len(entries) == len(findings(configs, repository))
    assert {entry["location"]["path"] for entry in entries} == {*CONFIGS, "missing.json"}
    assert not said.startswith(codecs.BOM_UTF8), "GitLab refuses a report with a byte order mark"


def test_gitlab_gets_an_empty_report_where_nothing_is_wrong(folder: Path) -> None:
    assert json.loads(report("gitlab", ["aimet:default"], folder).read_text()) == []


def test_gitlab_can_tell_findings_apart(configs: list[str], folder: Path) -> None:
    entries = json.loads(report("gitlab", configs, folder).read_text())
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)


def test_gitlab_knows_a_finding_again_in_a_file_that_has_grown(repository: Path) -> None:
    path = repository / "grown.qsim"
    marks = []
    for text in ("Conv: symetric\n", "# one line more\n\nConv: symetric\n"):
        path.write_text(text, encoding="utf-8")
        (entry,) = json.loads(report("gitlab", [path.name], repository).read_text())
        marks.append(entry["fingerprint"])
    assert marks[0] == marks[1]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("severity", "error"),
        ("fingerprint", 1),
        ("check_name", None),
        ("location", {"path": "a.json"}),
        ("location", {"path": "./a.json", "lines": {"begin": 1}}),
        ("location", {"path": "/a.json", "lines": {"begin": 1}}),
        ("location", {"path": "a.json", "lines": {"begin": 0}}),
        ("location", {"path": "a.json", "positions": {"begin": {"column": 1}}}),
    ],
)
def test_the_schema_refuses_what_gitlab_does_not_document(key: str, wrong: object, schema: dict[str, Any]) -> None:
    location = {"path": "a.json", "positions": {"begin": {"line": 1}}}
    entry = {"description": "a", "check_name": "b", "fingerprint": "c", "severity": "info", "location": location}
    validator = Draft202012Validator(schema)
    assert validator.is_valid([entry])
    assert not validator.is_valid([{**entry, key: wrong}])
    assert not validator.is_valid([{other: value for other, value in entry.items() if other != key}])
