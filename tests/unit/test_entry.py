"""The user's own Python: recognised, imported, run, and blamed at the right line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qsimc.diagnostics import Diagnostic
from qsimc.entry import announce, load_reference, run, split_reference


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, whose modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def complaint(text: str) -> Diagnostic:
    found: list[Diagnostic] = []
    assert load_reference(text, found.append) is None
    (finding,) = found
    assert (finding.code, finding.name, finding.path) == ("Q0510", "python-entry", text)
    return finding


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("package.module:factory", ("package.module", "factory")),
        ("m:f", ("m", "f")),
        ("m:Class.make", ("m", "Class.make")),
        ("modèle:usine", ("modèle", "usine")),
        ("model.onnx", None),
        ("C:\\models\\x.onnx", None),
        ("C:/models/x.onnx", None),
        ("dir/module:factory", None),
        ("module.py:factory()", None),
        ("1module:factory", None),
        ("module:", None),
        (":factory", None),
        ("a:b:c", None),
        ("a b:c", None),
        ("-", None),
        ("", None),
        ("https://host:80", None),
        ("m:f\n", None),
    ],
)
def test_references_are_told_from_paths(text: str, split: tuple[str, str] | None) -> None:
    assert split_reference(text) == split


def test_a_module_in_the_current_folder_is_found(folder: Path) -> None:
    (folder / "theirs.py").write_text("def make():\n    return 7\n")
    found: list[Diagnostic] = []
    factory = load_reference("theirs:make", found.append)
    assert factory is not None
    assert run("theirs:make", factory, found.append) == 7
    assert found == []


def test_an_attribute_may_be_nested(folder: Path) -> None:
    (folder / "theirs.py").write_text("class A:\n    @staticmethod\n    def make():\n        return 7\n")
    assert load_reference("theirs:A.make", list[Diagnostic]().append) is not None


def test_a_missing_module_is_named(folder: Path) -> None:
    assert complaint("nowhere:make").message == "no Python module `nowhere`"
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    assert complaint("package.nowhere:make").message == "no Python module `package.nowhere`"


def test_a_missing_attribute_has_a_neighbour(folder: Path) -> None:
    (folder / "theirs.py").write_text("def make_model(): pass\n")
    finding = complaint("theirs:make_modle")
    assert finding.message == "module `theirs` has no `make_modle`"
    assert finding.helps == ("did you mean `make_model`?",)
    assert finding.notes == (f"the module was read from `{folder / 'theirs.py'}`",)


@pytest.mark.parametrize("value", ["7", "None"])
def test_what_cannot_be_called_is_refused(value: str, folder: Path) -> None:
    (folder / "theirs.py").write_text(f"make = {value}\n")
    assert "cannot be called" in complaint("theirs:make").message


@pytest.mark.parametrize(
    ("source", "notes"),
    [
        ("\nimport nowhere\n", ("ModuleNotFoundError: No module named 'nowhere'", "raised at {file}:2")),
        ("1 / 0\n", ("ZeroDivisionError: division by zero", "raised at {file}:1")),
        ("import sys\nsys.exit(3)\n", ("SystemExit: 3", "raised at {file}:2")),
        ("def make(:\n", ("SyntaxError: invalid syntax", "raised at {file}:1")),
        ("import json\njson.loads('{')\n", None),
        ("raise ValueError('one\\ntwo')\n", ("ValueError: one", "raised at {file}:1")),
        ("raise KeyboardInterrupt\n", None),
    ],
)
def test_an_import_that_raises_is_located(source: str, notes: tuple[str, str] | None, folder: Path) -> None:
    (folder / "theirs.py").write_text(source)
    if "KeyboardInterrupt" in source:
        with pytest.raises(KeyboardInterrupt):
            load_reference("theirs:make", list[Diagnostic]().append)
        return
    finding = complaint("theirs:make")
    assert finding.message == "importing module `theirs` raised an exception"
    if notes is not None:
        assert finding.notes == tuple(note.format(file=folder / "theirs.py") for note in notes)
    else:  # raised inside the standard library: the user's line is the one to show
        assert finding.notes[1] == f"raised at {folder / 'theirs.py'}:2"


def test_a_factory_that_raises_is_located(folder: Path) -> None:
    (folder / "theirs.py").write_text("def make():\n    raise RuntimeError('no GPU')\n")
    found: list[Diagnostic] = []
    factory = load_reference("theirs:make", found.append)
    assert factory is not None
    assert run("theirs:make", factory, found.append) is None
    assert found[0].message == "`theirs:make` raised an exception"
    assert found[0].notes == ("RuntimeError: no GPU", f"raised at {folder / 'theirs.py'}:2")


def test_a_factory_must_return_something() -> None:
    found: list[Diagnostic] = []
    assert run("m:f", lambda: None, found.append) is None
    assert found[0].message == "`m:f` returned nothing"


def test_what_user_code_prints_stays_out_of_the_product(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "theirs.py").write_text("print('importing')\ndef make():\n    print('making')\n    return 1\n")
    factory = load_reference("theirs:make", list[Diagnostic]().append)
    assert factory is not None
    run("theirs:make", factory, list[Diagnostic]().append)
    assert capsys.readouterr() == ("", "importing\nmaking\n")


def test_running_user_code_is_said_out_loud() -> None:
    assert announce("m:f") == "running your Python code: `m:f`"


def test_only_a_reference_can_be_loaded() -> None:
    with pytest.raises(ValueError, match=r"not of the form `package\.module:factory`"):
        load_reference("model.onnx", list[Diagnostic]().append)
