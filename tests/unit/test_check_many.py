"""`qsimc check` in a project: folders, patterns, settings, baselines, fixes, and several reports at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc import settings
from qsimc.diagnostics import Diagnostic, Edit, Fix, InputError, Label, Severity
from qsimc.fixes import compatible, edited
from qsimc.pipeline.batch import Request, check_all
from qsimc.pipeline.inputs import inputs
from qsimc.render import text
from qsimc.source import Source, Span
from tests.command_line import Run, command_line

GOOD = (
    '{"defaults": {"ops": {"is_output_quantized": "True"}, "params": {"is_quantized": "True"}}, "params": {},'
    ' "op_type": {}, "supergroups": [], "model_input": {}, "model_output": {}}\n'
)
LOWER = GOOD.replace('"params": {"is_quantized": "True"}', '"params":  {"is_quantized": true}')
TYPO = GOOD.replace('"op_type": {}', '"op_type": {"Convolution": {"is_output_quantized": "False"}}')


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `qsimc check` in an empty folder: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    check = command_line(capsys, "check")

    def command(*arguments: str) -> tuple[int, str, str]:
        settings.forget()
        return check(*arguments)

    return command


def put(files: dict[str, str]) -> None:
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8", newline="")


# ── which files ──────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_walked_and_what_is_no_configuration_is_passed_over(run: Run) -> None:
    put({
        "configs/b.json": LOWER, "configs/deep/a.json": TYPO, "configs/deep/c.qsim": "rule *: bits=eight\n",
        "configs/package.json": '{"name": "x"}', "configs/tsconfig.json": '{"strict": true, // yes\n}',
        "configs/cut.json": '{"defaults": {"ops": ', "configs/.cache/x.json": LOWER, "configs/notes.txt": "x",
    })  # fmt: skip
    status, out, err = run("configs", "--format", "short")
    places = {line.partition(":")[0] for line in out.splitlines()}
    assert places == {"configs/b.json", "configs/cut.json", "configs/deep/a.json", "configs/deep/c.qsim"}
    assert status == 1
    assert "2 files were passed over" in err


def test_a_pattern_means_what_it_matches_and_the_order_is_that_of_the_paths(run: Run) -> None:
    put({"z/b.json": TYPO, "z/a.json": TYPO, "z/sub/c.json": TYPO})
    _, out, _ = run("z/**/*.json", "--format", "short")
    assert [line.partition(":")[0] for line in out.splitlines()] == ["z/a.json", "z/b.json", "z/sub/c.json"]


@pytest.mark.parametrize("reference", ["none/*.json", "empty"])
def test_nothing_to_check_is_an_error(run: Run, reference: str) -> None:
    Path("empty").mkdir()
    status, out, _ = run(reference)
    assert status == 2
    assert "Q0101" in out


def test_a_named_file_of_no_format_is_an_error_unless_told_otherwise(run: Run) -> None:
    put({"package.json": '{"name": "x"}'})
    assert run("package.json")[0] == 1
    status, out, err = run("package.json", "--ignore-unknown")
    assert (status, out) == (0, "no findings\n")
    assert "1 file was passed over" in err


def test_processes_find_what_one_finds(run: Run) -> None:
    put({f"many/{i:03}.json": (GOOD, LOWER, TYPO, '{"a": 1}')[i % 4] for i in range(40)})
    files = inputs(["many"], lambda _: None)
    alone, together = (check_all(files, Request(), jobs=jobs) for jobs in (1, 3))
    assert alone == together
    assert len(alone.skipped) == 10
    assert len(alone.findings) == 20
    assert run("many", "--jobs", "2")[1] == run("many")[1]


# ── settings ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "head"), [("qsimc.toml", ""), ("pyproject.toml", "[tool.qsimc]\n")])
def test_settings_of_the_nearest_parent_hold(run: Run, name: str, head: str) -> None:
    put(
        {"a.json": TYPO, "sub/b.json": TYPO, name: f'{head}fail-on = "warning"\n', "sub/qsimc.toml": 'ignore = ["Q02"]'}
    )
    status, out, _ = run(".", "--format", "short")
    assert status == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["a.json"]
    assert run(".", "--fail-on", "error")[0] == 0
    assert run(".", "--isolated", "--format", "short")[1].count("\n") == 2
    assert run(".", "--settings", "sub/qsimc.toml", "--format", "short")[:2] == (0, "")


def test_patterns_ignore_and_exclude(run: Run) -> None:
    put({
        "old/a.json": TYPO, "old/x.json": LOWER, "new/a.json": TYPO, "vendor/lib/a.json": LOWER,
        "qsimc.toml": 'exclude = ["vendor"]\n[per-path-ignores]\n"old/*" = ["Q0206"]\n',
    })  # fmt: skip
    _, out, _ = run(".", "--format", "short")
    assert [line.partition(":")[0] for line in out.splitlines()] == ["new/a.json", "old/x.json"]


def test_a_target_in_the_settings_is_checked_and_a_word_goes_before_it(run: Run) -> None:
    put({
        "v.json": '{"convert_relu6_to_relu": false, "overall_quantize_config": {"bit_width": 16}}',
        "qsimc.toml": 'target = "vitis-dpu"\n',
    })  # fmt: skip
    assert "restriction" in run("v.json", "--format", "json")[1] or "dpu" in run("v.json", "--format", "json")[1]
    assert run("v.json", "--isolated", "--format", "short")[1].count("Q0401") == 0


@pytest.mark.parametrize(
    ("content", "line", "column", "said"),
    [
        ('ignore = ["Q0206"\nfail-on = 1', 2, 1, "not TOML"),
        ('\nfail_on = "error"', 2, 1, "did you mean `fail-on`?"),
        ('fail-on = "warn"', 1, 1, "did you mean `warning`?"),
        ('ignore = ["Q0999"]', 1, 12, "no finding has the code"),
        ('ignore = ["Q0999", 3]', 1, 1, "a list of strings"),
        ("target = 3", 1, 1, "a string"),
        ("per-path-ignores = 3", 1, 1, "a table"),
        ('exclude = "x"', 1, 1, "a list of strings"),
    ],
)
def test_wrong_settings_stop_the_work(run: Run, content: str, line: int, column: int, said: str) -> None:
    put({"a.json": TYPO, "qsimc.toml": content})
    status, out, err = run("a.json")
    assert status == 2
    assert "Q0110" in err
    assert said in err
    assert f"qsimc.toml:{line}:{column}" in err
    assert out == ""


def test_a_setting_with_an_unknown_target_is_a_usage_error(run: Run) -> None:
    put({"a.json": TYPO, "qsimc.toml": 'target = "nope"'})
    status, _, err = run("a.json")
    assert status == 2
    assert "no target `nope`" in err


def test_a_pyproject_of_others_is_none_of_our_business(run: Run) -> None:
    put({"a.json": GOOD, "pyproject.toml": "this is [not TOML"})
    assert run("a.json")[0] == 0


# ── baselines ────────────────────────────────────────────────────────────────────────────────


def test_a_baseline_hides_what_is_known_and_tells_what_is_gone(run: Run) -> None:
    put({"a.json": LOWER, "b.json": TYPO})
    assert run(".", "--baseline", "known.bl", "--update-baseline")[0] == 0
    assert run(".", "--baseline", "known.bl")[:2] == (0, "no findings\n")
    put({"a.json": "\n\n" + LOWER.replace(", ", ",\n  ")})
    assert run("./a.json", "b.json", "--baseline", "known.bl")[:2] == (0, "no findings\n"), "lines may move"
    put({"b.json": TYPO.replace("Convolution", "Konv"), "a.json": GOOD})
    status, out, err = run(".", "--baseline", "known.bl", "--fail-on", "warning")
    assert status == 1
    assert "Konv" in out
    assert err.count("no longer found") == 2


def test_one_known_finding_does_not_hide_a_second_like_it(run: Run) -> None:
    put({"a.json": LOWER})
    run("a.json", "--baseline", "known.bl", "--update-baseline")
    known = json.loads(Path("known.bl").read_text(encoding="utf-8"))
    assert [entry["count"] for entry in known["findings"]] == [1]
    assert set(known["findings"][0]) == {"fingerprint", "count", "path", "code", "message"}
    assert (
        run("a.json", str(Path("a.json").absolute()), "--baseline", "known.bl", "--format", "short")[1].count("\n") == 1
    )


@pytest.mark.parametrize("content", [None, "", "[]", '{"findings": [{"fingerprint": 1}]}', "{" * 9])
def test_a_bad_baseline_stops_the_work(run: Run, content: str | None) -> None:
    put({"a.json": GOOD} | ({} if content is None else {"known.bl": content}))
    status, _, err = run("a.json", "--baseline", "known.bl")
    assert status == 2
    assert "Q0111" in err


def test_settings_name_the_baseline_from_their_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    put({"sub/a.json": LOWER, "qsimc.toml": 'baseline = "known.bl"\n'})
    monkeypatch.chdir("sub")
    assert run(".", "--update-baseline")[0] == 0
    assert Path("../known.bl").exists()
    assert run(".")[0] == 0


# ── fixes ────────────────────────────────────────────────────────────────────────────────────


def test_fixes_keep_everything_else_of_the_file(run: Run) -> None:
    before = "\ufeff" + LOWER.replace(", ", ",\r\n\t ").replace('"model_output": {}', '"model_output":   {},')
    put({"a.json": before})
    Path("a.json").chmod(0o640)
    status, out, err = run("a.json", "--fix")
    assert (status, out) == (0, "no findings\n")
    assert "a.json: 2 fixes made" in err
    wanted = before.replace(": true", ': "True"').replace('"model_output":   {},', '"model_output":   {}')
    assert Path("a.json").read_bytes().decode() == wanted
    assert Path("a.json").stat().st_mode & 0o777 == 0o640


def test_a_diff_changes_nothing_and_is_a_patch(run: Run) -> None:
    put({"a.json": LOWER.rstrip("\n"), "b.json": GOOD})
    status, out, err = run("a.json", "b.json", "--fix", "--diff")
    assert status == 1
    assert out.startswith("--- a/a.json\n+++ b/a.json\n@@ -1 +1 @@\n-")
    assert out.count("\\ No newline at end of file\n") == 2
    assert "b.json" not in out
    assert err == "1 error\n"
    assert Path("a.json").read_text(encoding="utf-8") == LOWER.rstrip("\n")


def test_unsafe_fixes_are_left_to_people_and_other_peoples_files_alone(run: Run) -> None:
    put(
        {
            "a.json": TYPO,
            "other/tsconfig.json": '{"strict": true,}',
            "ign/b.json": LOWER,
            "ign/qsimc.toml": 'ignore = ["Q0202"]',
        }
    )
    before = {path: path.read_bytes() for path in Path().rglob("*.json")}
    run(".", "--fix")
    assert {path: path.read_bytes() for path in Path().rglob("*.json")} == before


@pytest.mark.parametrize(
    "arguments", [["-", "--fix"], ["a.json", "--diff"], ["-", "-"], ["a.json", "--update-baseline"]]
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str]) -> None:
    put({"a.json": GOOD})
    assert run(*arguments)[0] == 2


def test_a_linked_file_is_not_replaced(run: Run) -> None:
    put({"real/a.json": LOWER})
    Path("a.json").symlink_to("real/a.json")
    status, _, err = run("a.json", "--fix")
    assert status == 1
    assert "Q0611" in err
    assert Path("a.json").is_symlink()


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.text(max_size=3))))
def test_compatible_fixes_can_all_be_made(content: str, wanted: list[tuple[int, int, str]]) -> None:
    source = Source("a", content)
    spans = [(min(a, b, len(content)), min(max(a, b), len(content)), said) for a, b, said in wanted]
    fixes = [Fix("x", (Edit(Span(source, a, b), said),), safe=True) for a, b, said in spans]
    chosen = [fix.edits[0] for fix in compatible(fixes)]
    after = edited(content, chosen)
    change = sum(len(edit.text) - (edit.span.end - edit.span.start) for edit in chosen)
    assert len(after) == len(content) + change
    assert not fixes or fixes[0].edits[0] in chosen
    # Pieces of the text between the edits are all still there, in order.
    at = last = 0
    for edit in sorted(chosen, key=lambda edit: edit.span.start):
        kept = content[last : edit.span.start]
        assert after[at : at + len(kept)] == kept
        at, last = at + len(kept) + len(edit.text), edit.span.end
    assert after[at:] == content[last:]


# ── reports ──────────────────────────────────────────────────────────────────────────────────


def test_several_reports_at_once(run: Run) -> None:
    put({"a.json": LOWER})
    status, out, _ = run("a.json", "--format", "short", "--format", "sarif=x.sarif", "--format", "junit=x.xml")
    assert status == 1
    assert out.count("\n") == 1
    assert json.loads(Path("x.sarif").read_text(encoding="utf-8"))["runs"][0]["results"][0]["ruleId"] == "Q0202"
    assert "Q0202" in Path("x.xml").read_text(encoding="utf-8")
    assert run("a.json", "--format", "short", "--format", "json")[0] == 2
    assert run("a.json", "--format", "short=x", "--format", "json=x")[0] == 2
    assert run("a.json", "--format", "shrt")[0] == 2
    assert run("a.json", "--format", "json=x", "--output", "y")[0] == 2


def test_annotations_appear_by_themselves_where_they_are_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    put({"a.json": LOWER})
    assert "::error" not in "".join(run("a.json")[1:])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _, out, err = run("a.json", "--format", "json")
    json.loads(out)
    assert "::error title=Q0202" in err
    _, out, err = run("a.json", "--format", "github")
    assert "::error" in out
    assert "::error" not in err


def test_findings_do_not_fail_with_exit_zero_but_unreadable_files_do(run: Run) -> None:
    put({"a.json": LOWER})
    assert run("a.json", "--exit-zero")[0] == 0
    assert run("a.json", "missing.json", "--exit-zero")[0] == 2


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 40), st.integers(1, 120))
def test_no_line_is_wider_than_the_terminal(content: str, start: int, length: int, width: int) -> None:
    source = Source("a.json", content.replace("\n", " "))
    start = min(start, len(source.text))
    span = Span(source, start, min(start + length, len(source.text)))
    shown = text.full(
        [
            Diagnostic(
                code="Q0202", name="x", severity=Severity.ERROR, message="a word " * 30,
                labels=(Label(span),), notes=("note " * 40,), helps=("help " * 40,),
            )
        ],
        width=width,
    )  # fmt: skip
    assert not content.isprintable() or all(len(line) <= max(width, 40) for line in shown.splitlines())
    assert "^" in shown


def test_many_alike_are_counted(run: Run) -> None:
    entries = ", ".join(f'"Nope{i}": {{"is_output_quantized": "False"}}' for i in range(50))
    put({"a.json": GOOD.replace('"op_type": {}', f'"op_type": {{{entries}}}')})
    _, out, _ = run("a.json")
    assert out.count("warning[Q0206]") == 20
    assert "a.json: 30 more of Q0206" in out
    assert run("a.json", "--format", "short")[1].count("\n") == 50


def test_settings_can_be_read_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the settings"):
        settings.read(tmp_path / "none.toml")


def test_an_unknown_target_is_refused_before_any_file_is_fixed(run: Run) -> None:
    put({"a.json": LOWER})
    status, _, err = run("a.json", "--fix", "--target", "nope")
    assert status == 2
    assert "no target `nope`" in err
    assert Path("a.json").read_text(encoding="utf-8") == LOWER
