"""`qsimc fmt`: how each thing is laid out, and what the command does to files."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest

from qsimc import targets
from qsimc.formats.fmt import fmt
from qsimc.pipeline.check import check
from qsimc.source import Source
from tests.command_line import Run

LONG = " | ".join(f"Operator{number}" for number in range(12))


def laid_out(text: str) -> str | None:
    return fmt(Source("c.qsim", text), lambda _: None)


# ── statements ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Conv [ weight ,bias, ] :bits = 8   on", "Conv[weight, bias]: bits=8 on"),
        ("A->B ->C:off", "A -> B -> C: off"),
        ("( A|B )[x]: off", "(A | B)[x]: off"),
        ("((A)): off", "A: off"),
        ("(A -> B): off", "A -> B: off"),
        ("(A -> B) -> C: off", "(A -> B) -> C: off"),  # a chain that is one step
        ("(A | (B | C)): off", "(A | (B | C)): off"),
        ("`Conv`[`weight`]: off", "Conv[weight]: off"),
        ("fuse A -> model", "fuse A -> `model`"),
        ('"\\u0041\t": off', '"A\\t": off'),
        ("let w4=bits=4 @base", "let w4 = bits=4 @base"),
        ("option a=(x|y) b = true c=( )", "option a=(x | y) b=true c=()"),
        ("*: percentile=99.50 range=-1.0 .. kernels=int8/int8", "*: percentile=99.5 range=-1.0.. kernels=int8/int8"),
        ("*: bits=8 on type=int", "*: bits=8 on type=int"),  # the order of settings is the author's
        ("Conv {\n[weight]: off\n}", "Conv[weight]: off"),
        ("Conv {\n*: off\n}", "Conv: off"),
        ("Conv {\n}", "Conv { }"),
        ("Conv {\n[a]:\n}", "Conv {\n  [a]:\n}"),
        ("Conv {\n\n[a]:off\n*:   on\n}", "Conv {\n  [a]: off\n  *: on\n}"),
        ("require *: ((a)and(b or c))", "require *: a and (b or c)"),
        ("require *: (a and b) or not(c)", "require *: a and b or not c"),
        ("require *: not (a==1)", "require *: not (a == 1)"),
        ("require *: (a => b) => c", "require *: (a => b) => c"),
        ("require *: a and (b and c)", "require *: a and (b and c)"),
        ('forbid A[x]:bits<=8"why" as name', 'forbid A[x]: bits <= 8 "why" as name'),
    ],
)
def test_a_statement_has_one_spelling(written: str, expected: str) -> None:
    assert laid_out(written) == f"{expected}\n"


def test_a_long_set_is_broken_after_its_parenthesis() -> None:
    assert laid_out(f"fuse Conv -> ({LONG}) -> Relu") == dedent("""\
        fuse Conv -> (
            Operator0 | Operator1 | Operator2 | Operator3 | Operator4 | Operator5 | Operator6 | Operator7
            | Operator8 | Operator9 | Operator10 | Operator11
        ) -> Relu
        """)


def test_only_as_much_is_broken_as_must_be() -> None:
    assert laid_out(f"({LONG})[output]: kernels=(int8/int8 | int16/int8)") == dedent("""\
        (
            Operator0 | Operator1 | Operator2 | Operator3 | Operator4 | Operator5 | Operator6 | Operator7
            | Operator8 | Operator9 | Operator10 | Operator11
        )[output]: kernels=(int8/int8 | int16/int8)
        """)


def test_a_long_predicate_gets_parentheses() -> None:
    predicate = "type == int and per_tensor and scale == pow2 => calib in (diffs | minmax)"
    assert laid_out(f'require *: {predicate} "powers of two" as pow2-calib') == dedent("""\
        require *: (
            type == int and per_tensor and scale == pow2 => calib in (diffs | minmax)
        ) "powers of two" as pow2-calib
        """)


# ── sections ─────────────────────────────────────────────────────────────────────────────────


def test_sections_are_in_order_where_that_means_the_same() -> None:
    written = """
        # about this file

        require *: on
        fuse A -> B
        model[input]: on
        let w = bits=4
        *: on
        option include_cle=true
        Conv[weight]: @w
        target vitis-dpu
        ~"*": off
        "x": off
        A -> B: off
        dialect vitis
        """
    assert laid_out(dedent(written)) == dedent("""\
        # about this file

        target vitis-dpu

        option include_cle=true

        dialect vitis

        let w = bits=4

        fuse A -> B

        model[input]: on

        *: on

        Conv[weight]: @w

        ~"*": off

        "x": off

        A -> B: off

        require *: on
        """)


@pytest.mark.parametrize(
    "text",
    [
        '*: on\n\nextends "x.qsim"\n\n*: off\n',  # what is extended comes between the two
        "A: @w\n\nlet w = on\n\nB: @w\n",
        "let w = on\n\nA: @w\n\nlet w = off\n\nB: @w\n",
        "Conv: on\n\n*: off\n",  # the order of rules is what a configuration says
    ],
)
def test_what_depends_on_its_place_stays_there(text: str) -> None:
    assert laid_out(text) == text


def test_a_block_has_a_blank_line_on_both_sides() -> None:
    assert laid_out("A: on\nB {\n[x]: on\n[y]: off\n}\nC: on\n") == (
        "A: on\n\nB {\n  [x]: on\n  [y]: off\n}\n\nC: on\n"
    )


# ── comments ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "# alone\n",
        "# a title\n\n# of the first\nA: on\n\n# the end\n",
        "A: on  # behind\n\n# a group\n\nB: on\n# of this\nC: on\n",
        "A {  # the opening\n  # above an entry\n  [x]: on  # behind it\n\n  # parted\n  *: off\n}  # closed\n",
        "A {\n  [x]: on\n  *: off\n  # the last\n}\n",
        "A {\n  # one entry, explained\n  [x]: on\n}\n",
        "A {\n  # nothing\n}\n",
        "fuse Conv -> (\n    Relu   # as it is\n  | Clip\n)  # behind\n",
        "( A  # why\n| B) {\n  [x]: on\n  *: off\n}\n",
    ],
)
def test_comments_stay_where_they_are(text: str) -> None:
    assert laid_out(text) == text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("A: on# x  \r\n", "A: on  # x\n"),
        (f"A: on  # {'x' * 95}\n", f"# {'x' * 95}\nA: on\n"),
        (f"A {{  # {'x' * 95}\n[x]: on\n}}\n", f"A {{\n  # {'x' * 95}\n  [x]: on\n}}\n"),
        ("fuse A -> B\n# first\n*: on\n", "# first\n*: on\n\nfuse A -> B\n"),
        ("\n\n# x\n\n\n\nA: on\n\n\n\nB: on", "# x\n\nA: on\nB: on\n"),
        ("  # x", "# x\n"),
        ("\n\n", ""),
    ],
)
def test_a_comment_goes_with_its_statement(written: str, expected: str) -> None:
    assert laid_out(written) == expected


# ── the command ──────────────────────────────────────────────────────────────────────────────

UNTIDY, TIDY = "*:on\n", "*: on\n"


def test_a_file_is_laid_out_in_its_place(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text(UNTIDY)
    path.chmod(0o640)
    assert run("fmt", path) == (0, "", f"{path}: laid out\n")
    assert path.read_text() == TIDY
    assert path.stat().st_mode & 0o777 == 0o640
    before = path.stat()
    assert run("fmt", path) == (0, "", "")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_line_ends_and_marks_count(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_bytes(b"\xef\xbb\xbf*: on\r\n")
    assert run("fmt", path)[0] == 0
    assert path.read_bytes() == b"\xef\xbb\xbf*: on\n"


@pytest.mark.parametrize(("text", "status"), [(UNTIDY, 4), (TIDY, 0)])
def test_check_writes_nothing_and_names_files(run: Run, tmp_path: Path, text: str, status: int) -> None:
    path = tmp_path / "c.qsim"
    path.write_text(text)
    assert run("fmt", "--check", path) == (status, "", f"{path}: would change\n" if status else "")
    assert path.read_text() == text


def test_diff_is_a_patch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.qsim").write_text(UNTIDY)
    status, out, _ = run("fmt", "--diff", "c.qsim")
    assert (status, out) == (0, "--- a/c.qsim\n+++ b/c.qsim\n@@ -1 +1 @@\n-*:on\n+*: on\n")
    assert run("fmt", "--diff", "--check", "c.qsim")[:2] == (4, out)
    assert Path("c.qsim").read_text() == UNTIDY


def test_of_a_folder_only_qsim_is_taken(run: Run, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/c.qsim").write_text(UNTIDY)
    (tmp_path / "c.json").write_text("{}")
    assert run("fmt", tmp_path)[0] == 0
    assert (tmp_path / "below/c.qsim").read_text() == TIDY
    assert (tmp_path / "c.json").read_text() == "{}"


def test_a_file_that_breaks_the_grammar_is_left_alone(run: Run, tmp_path: Path) -> None:
    broken, other = tmp_path / "a.qsim", tmp_path / "b.qsim"
    broken.write_text("*:on\n*[: on\n")
    other.write_text(UNTIDY)
    status, out, err = run("fmt", broken, other)
    assert (status, out) == (1, "")
    assert "Q0106" in err
    assert broken.read_text() == "*:on\n*[: on\n"
    assert other.read_text() == TIDY


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("c.json", "{}", "does not end in `.qsim`"), ("c.qsim", ' {"defaults": {}}', "it holds JSON")],
)
def test_another_format_is_refused(run: Run, tmp_path: Path, name: str, content: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    status, _, err = run("fmt", path)
    assert status == 2
    assert "Q0112" in err
    assert words in err
    assert path.read_text() == content


@pytest.mark.parametrize("arguments", [[], ["no-such-file.qsim"], ["aimet:default"]])
def test_what_is_no_file_is_a_mistake_of_usage(run: Run, arguments: list[str]) -> None:
    assert run("fmt", *arguments)[0] == 2


def test_stdin_goes_to_stdout(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "stdin"
    path.write_text(UNTIDY)
    for arguments, expected in (
        (["-"], (0, TIDY, "")),
        (["-", "--check"], (4, "", "-: would change\n")),
    ):
        with path.open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            assert run("fmt", *arguments) == expected


def test_a_link_is_not_replaced(run: Run, tmp_path: Path) -> None:
    path, link = tmp_path / "c.qsim", tmp_path / "link.qsim"
    path.write_text(UNTIDY)
    os.symlink(path, link)
    status, _, err = run("fmt", link)
    assert status == 1
    assert "Q0611" in err
    assert path.read_text() == UNTIDY


# ── init ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", targets.hardware())
def test_a_starter_is_sound_and_laid_out(run: Run, tmp_path: Path, target: str) -> None:
    path = tmp_path / "c.qsim"
    assert run("init", "--target", target, "--output", path) == (0, "", "")
    text = path.read_text()
    assert f"\nextends target {target}\n" in text
    assert laid_out(text) == text
    assert not [d for d in check(path) if d.file == str(path)]


@pytest.mark.parametrize("target", targets.hardware())
def test_the_examples_of_a_starter_can_be_said(run: Run, tmp_path: Path, target: str) -> None:
    _, out, _ = run("init", "--target", target)
    path = tmp_path / "c.qsim"
    examples = [line.removeprefix("#   ") for line in out[out.index("# What rules look like") :].splitlines()[2:]]
    path.write_text(f"extends target {target}\n" + "".join(f"{line}\n" for line in examples))
    assert len(examples) > 3
    assert not [d for d in check(path) if d.code[:3] in ("Q01", "Q02")]


def test_an_unknown_target_gets_a_suggestion(run: Run) -> None:
    status, out, err = run("init", "--target", "vitis-dpv")
    assert (status, out) == (2, "")
    assert "did you mean `vitis-dpu`?" in err


def test_a_file_is_not_replaced_unless_asked_for(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("mine")
    assert run("init", "--target", "vitis-dpu", "--output", path)[0] == 2
    assert path.read_text() == "mine"
    assert run("init", "--target", "vitis-dpu", "--output", path, "--force")[0] == 0
    assert path.read_text() != "mine"
