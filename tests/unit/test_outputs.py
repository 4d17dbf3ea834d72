"""Outputs: all files or none, nobody else's file lost, no name out of a model that is a path."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, InputError
from qsimc.outputs import LOCK, safe_name, staged, write_atomic


def write(out: Path, files: dict[str, str], force: bool = False) -> None:
    with staged(out, force=force) as stage:
        for name, text in files.items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_text(text)


def refusal(out: Path, files: dict[str, str], force: bool = False) -> Diagnostic:
    before = tree(out.parent)
    with pytest.raises(InputError) as raised:
        write(out, files, force)
    assert tree(out.parent) == before
    return raised.value.findings[0]


def interrupted(out: Path, error: type[BaseException]) -> None:
    with staged(out) as stage:
        (stage / "plan.json").write_text("2")
        raise error


def tree(folder: Path) -> dict[str, str | None]:
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


def test_a_new_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged(out) as stage:
        (stage / "plan.json").write_text("{}")
        assert not out.exists()
    assert tree(tmp_path) == {"deep": None, "deep/out": None, "deep/out/plan.json": "{}"}


def test_nobody_else_can_enter_the_stage(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as stage:
        assert stat.S_IMODE(stage.parent.stat().st_mode) == 0o700
        assert stage.stat().st_dev == tmp_path.stat().st_dev


def test_a_finished_folder_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").mkdir()
    write(tmp_path / "out", {"a": "1"})
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_our_own_files_are_replaced_and_others_kept(tmp_path: Path) -> None:
    write(tmp_path / "out", {LOCK: "1", "plan.json": "1", "stats/a.bin": "1"})
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write(tmp_path / "out", {LOCK: "2", "plan.json": "2", "stats/b.bin": "2"})
    assert tree(tmp_path / "out") == {
        LOCK: "2",
        "notes.txt": "mine",
        "plan.json": "2",
        "stats": None,
        "stats/a.bin": "1",
        "stats/b.bin": "2",
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("existing", [True, False])
def test_an_exception_leaves_no_trace(error: type[BaseException], existing: bool, tmp_path: Path) -> None:
    if existing:
        write(tmp_path / "out", {LOCK: "1", "plan.json": "1"})
    before = tree(tmp_path)
    with pytest.raises(error):
        interrupted(tmp_path / "out", error)
    assert tree(tmp_path) == before


def test_a_file_that_we_did_not_write_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text("mine")
    finding = refusal(tmp_path / "out", {"plan.json": "2", LOCK: "2"})
    assert (finding.code, finding.name) == ("Q0611", "output-exists")
    assert finding.message == f"`{tmp_path / 'out' / 'plan.json'}` exists, and qsimc did not write it"


def test_force_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text("mine")
    write(tmp_path / "out", {"plan.json": "2"}, force=True)
    assert tree(tmp_path / "out") == {"plan.json": "2"}


def test_a_folder_of_other_files_can_be_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write(tmp_path / "out", {"plan.json": "1"})
    assert tree(tmp_path / "out") == {"notes.txt": "mine", "plan.json": "1"}


def test_expected_names_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("mine")
    with pytest.raises(InputError), staged(tmp_path, expected=["plan.json"]):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("force", [True, False])
def test_a_link_is_never_written_through(force: bool, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    out = tmp_path / "out"
    write(out, {LOCK: "1"})
    (out / "plan.json").symlink_to(tmp_path / "victim")
    assert refusal(out, {"plan.json": "2"}, force).message == f"`{out / 'plan.json'}` is a symbolic link"
    (out / "stats").symlink_to(tmp_path)
    assert refusal(out, {"stats/victim": "2"}, force).message == f"`{out / 'stats'}` is a symbolic link"


def test_a_link_to_a_folder_may_be_the_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    write(tmp_path / "out", {"plan.json": "1"})
    assert tree(tmp_path / "real") == {"plan.json": "1"}


def test_a_target_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert refusal(tmp_path / "file", {}).message == f"`{tmp_path / 'file'}` is a file, not a folder"
    (tmp_path / "nowhere").symlink_to("gone")
    assert refusal(tmp_path / "nowhere", {}).code == "Q0611"


def test_files_and_folders_do_not_replace_each_other(tmp_path: Path) -> None:
    write(tmp_path / "out", {LOCK: "1", "a/b": "1", "c": "1"})
    assert refusal(tmp_path / "out", {"a": "2"}, force=True).code == "Q0611"
    assert refusal(tmp_path / "out", {"c/d": "2"}, force=True).code == "Q0611"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as raised, staged(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")
    assert raised.value.findings[0].code == "Q0612"


def test_a_text_file_is_replaced_at_once(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", "1\n")
    write_atomic(tmp_path / "a.json", "2\né\n")
    assert (tmp_path / "a.json").read_bytes() == b"2\n\xc3\xa9\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_text_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    write_atomic(tmp_path / "a.json", "1")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_text_file_does_not_replace_a_link_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to("victim")
    for path in (tmp_path / "link", tmp_path):
        with pytest.raises(InputError):
            write_atomic(path, "x")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_device_is_written_to() -> None:
    write_atomic(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["model", "MobileNet_v2.onnx", "a-b.c", "conv1.weight", "x" * 120])
def test_a_portable_name_stays(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "../../x",
            "/etc/passwd",
            "a\\b",
            "a b",
            "a\nb",
            "a\0b",
            "C:x",
            "\u202egpj",
            "naïve",
            "\ud800",
        ),
        *("CON", "nul.txt", "lpt1", ".hidden", "-rf", "trailing.", "x" * 300, "model-0123456789abcdef.onnx"),
    ],
)
def test_any_other_text_becomes_a_name_of_its_own(text: str) -> None:
    name = safe_name(text)
    assert name != text
    assert re.fullmatch(r"\w[\w.-]*", name, re.ASCII)
    assert len(name) <= 120


def test_a_long_name_that_is_also_odd_stays_within_bounds() -> None:
    assert len(safe_name("../" * 500)) <= 120
    assert safe_name("con.é").startswith("_con")


@given(st.text(max_size=130), st.text(max_size=130))
def test_two_texts_never_share_a_name(a: str, b: str) -> None:
    assert (safe_name(a) == safe_name(b)) == (a == b)


@given(st.text())
def test_a_name_made_safe_collides_with_no_text(text: str) -> None:
    name = safe_name(text)
    assert name == text or safe_name(name) != name
