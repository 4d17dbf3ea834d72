"""The runner of the fuzzers, on targets that hold and on one that does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import run, targets

Fuzz = Callable[..., int]


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fuzz:
    """Run the fuzzers on a target of the test's own, which starts from the seeds of `qsim`."""

    def fuzz_with(target: targets.Target, *arguments: str) -> int:
        monkeypatch.setattr(targets, "load", lambda name: target)
        monkeypatch.setattr(run, "FOUND", tmp_path)
        return run.main(["qsim", "--seconds", "1", *arguments])

    return fuzz_with


def holds(data: bytes) -> None:
    pass


def fails(data: bytes) -> None:
    if b"\n" in data:
        raise LookupError("a bug of ours")


def test_an_input_that_fails_is_saved(fuzz: Fuzz, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz(fails, "--engine", "hypothesis") == 1
    (saved,) = tmp_path.iterdir()
    assert b"\n" in saved.read_bytes()
    said = capsys.readouterr()
    assert said.out.endswith("1 failures\n")
    assert "a bug of ours" in said.err
    assert str(saved) in said.err


def test_without_atheris_the_runner_says_so_and_goes_on(
    fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    assert fuzz(holds) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("atheris is not installed")
    assert second.endswith("0 failures")
