"""`qsimc encodings`: exit codes and files; and damage to a file, which is never a traceback."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qsimc
from qsimc import cli
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.encodings import document as documents
from qsimc.encodings.convert import INFERRED
from qsimc.encodings.convert import convert as convert_file
from qsimc.encodings.document import Document, read_document
from qsimc.encodings.edit import diff
from qsimc.encodings.entry import Layout
from qsimc.encodings.lint import lint as lint_file
from qsimc.encodings.read import read_file
from qsimc.encodings.write import text as written
from qsimc.source import Source
from tests.command_line import Run, command_line
from tests.unit.encodings_files import VENDOR, put, record_0, record_1, record_2
from tests.unit.test_encodings_export import DATA, recorded, same


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `qsimc encodings`: exit status, stdout, stderr."""
    return command_line(capsys, "encodings")


# ── the command line ─────────────────────────────────────────────────────────────────────────


def test_every_subcommand_has_help_with_an_example(run: Run) -> None:
    for command in ("convert", "lint", "diff", "merge", "split", "rename"):
        status, out, _ = run(command, "--help")
        assert (status, f"qsimc encodings {command}" in out) == (0, True)


def test_a_loss_exits_3_where_none_is_wanted_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    path, out = put(tmp_path, recorded("attention")["2.0.0"]), tmp_path / "new.encodings"
    status, _, err = run("convert", path, "--to", "aimet-1.0.0", "--lossless", "--output", out)
    assert (status, out.exists()) == (3, False)
    assert "warning[Q0728]" in err
    assert run("convert", path, "--to", "aimet-2.1.0", "--lossless", "--output", out)[0] == 0
    assert json.loads(out.read_text())["version"] == "2.1.0"


def test_what_is_only_inferred_is_no_loss(run: Run, tmp_path: Path) -> None:
    record = {k: v for k, v in recorded("attention")["1.0.0"].items() if k != "quantizer_args"}
    model = DATA / "attention.onnx"
    status, _, err = run("convert", put(tmp_path, record), "--to", "qsimc", "--model", model, "--lossless")
    assert status == 0
    assert "Q0721" in err
    assert "Q0721" in INFERRED


def test_a_qdq_model_converts_like_a_file(run: Run) -> None:
    status, out, _ = run("convert", DATA / "concat_branches.qdq.onnx", "--to", "aimet-2.0.0")
    assert status == 0
    theirs = {e["name"]: e for e in recorded("concat_branches")["2.0.0"]["encodings"]}
    assert same({"encodings": json.loads(out)["encodings"]}, {"encodings": list(theirs.values())}) == []


def test_a_float_model_holds_no_encodings(run: Run) -> None:
    status, _, err = run("convert", DATA / "attention.onnx", "--to", "qsimc")
    assert status == 1
    assert "Q0803" in err


@pytest.mark.parametrize("version", ["0.6.1", "1.0.0", "2.0.0", "2.1.0"])
def test_a_result_is_exported_in_every_version(version: str, tmp_path: Path, run: Run) -> None:
    demo = Path(__file__).parents[2] / "demo"
    data = str(demo / "digits_calibration.npz")
    qsimc.quantize(demo / "config.json", model=demo / "digits.onnx", data=data, out=tmp_path / "out", limit=8)
    assert cli.run(["export", str(tmp_path / "out"), "--to", f"aimet-{version}"]) == 0
    file = tmp_path / "out" / f"digits.{version}.encodings"
    run()  # drop what export printed
    assert run("lint", file, "--model", demo / "digits.onnx")[:2] == (0, "no findings\n")
    differences = json.loads(run("diff", tmp_path / "out" / "encodings.json", file, "--format", "json")[1])[
        "differences"
    ]
    assert {d["kind"] for d in differences} <= {"only second"}


def test_lint_exits_1_and_names_the_place(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("lint", put(tmp_path, record_1(scale=[-1])), "--format", "json")
    assert status == 1
    assert json.loads(out)["findings"][0]["pointer"] == "/activation_encodings/0"
    assert run("lint", put(tmp_path, record_1()))[:2] == (0, "no findings\n")


def test_an_unreadable_file_exits_2(run: Run, tmp_path: Path) -> None:
    assert run("lint", tmp_path / "missing")[0] == 2
    assert run("convert", tmp_path, "--to", "qsimc")[0] == 2
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert run("lint", tmp_path / "binary")[0] == 2


def test_diff_exits_4_only_when_asked(run: Run, tmp_path: Path) -> None:
    a, b = put(tmp_path, record_1(), "a"), put(tmp_path, record_0(offset=-5, min=-0.5, max=25.0), "b")
    status, out, _ = run("diff", a, b)
    assert (status, "2" in out) == (0, True)
    assert run("diff", a, b, "--check")[0] == 4
    assert run("diff", a, a, "--check")[:2] == (0, "no differences\n")
    assert json.loads(run("diff", a, b, "--format", "json")[1])["differences"][0]["tensor"] == "x"


def test_merge_split_and_rename_write_files(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, recorded("o_gemm_variants")["1.0.0"])
    assert run("rename", path, "x=input", "--output", tmp_path / "renamed")[0] == 0
    assert run("rename", path, "nonsense")[0] == 2
    assert run("merge", path, path, "--to", "aimet-0.6.1", "--output", tmp_path / "merged")[0] == 0
    status, out, _ = run("split", path, "--model", DATA / "o_gemm_variants.onnx", "--out", tmp_path / "parts")
    assert (status, Path(out.strip()).name) == (0, "o_gemm_variants.encodings")


# ── hostile input ────────────────────────────────────────────────────────────────────────────

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

TEMPLATES = [record_0(), record_1(), record_2()]

for _model in ("o_gemm_variants", "attention"):
    TEMPLATES += [recorded(_model)[version] for version in (*VENDOR, "torch") if version in recorded(_model)]

TEMPLATES += [
    {"version": v, "encodings": [{"name": "w", **c["2.0.0"]}]}
    for v in ("2.0.0",)
    for c in json.loads((DATA / "lpbq.json").read_text())[:1]
]


def _places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [where, *(place for step, inner in steps for place in _places(inner, (*where, step)))]


@settings(max_examples=300)
@given(st.data())
def test_no_damage_to_a_file_is_a_bug_of_ours(data: st.DataObject) -> None:
    value = copy.deepcopy(data.draw(st.sampled_from(TEMPLATES)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(_places(value)))
        value = _damaged(value, place, data.draw(json_values))
    source = Source("f.encodings", json.dumps(value))
    findings: list[Diagnostic] = []
    found = read_document(source, findings.append)
    assert found is None or isinstance(found, Document)
    file = None if found is None else read_file(found, findings.append)
    if found is None or file is None:
        assert findings
        return
    findings += lint_file(found, file)
    if not any(f.severity is Severity.ERROR for f in findings):
        for layout in set(Layout) - {Layout.TORCH}:
            written(convert_file(file, layout, findings.append))
        assert diff(file, file) == ()


def _damaged(value: Any, place: tuple[Any, ...], by: Any) -> Any:
    if not place:
        return by
    try:
        inner = value[place[0]]
    except (TypeError, KeyError, IndexError):
        return value
    value[place[0]] = _damaged(inner, place[1:], by)
    return value


@pytest.mark.parametrize(
    "text", ["", "null", "[" * 100_000, '"' + "x" * 100, '{"encodings": ' + "[" * 70, "\x00", "NaN"]
)
def test_no_text_is_a_bug_of_ours(text: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, text)
    assert run("lint", path)[0] == 1
    monkeypatch.setattr(documents, "LOCATED_UP_TO", -1)
    assert run("lint", path)[0] == 1
