"""The wheel holds what a checkout holds: every module, every data file, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOMES = {"qsimc": "qsimc", "backends": "", "grammar": "qsimc/_data/grammar", "specs": "qsimc/_data/specs"}
HOMES |= {"templates": "qsimc/_data/templates"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def tracked(folder: str) -> set[str]:
    files = (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(ROOT / folder).as_posix() for p in files}


@pytest.mark.slow
@pytest.mark.parametrize("folder", HOMES)
def test_every_file_is_in_the_wheel(wheel: zipfile.ZipFile, folder: str) -> None:
    home = HOMES[folder]
    expected = {f"{home}/{name}" if home else name for name in tracked(folder)}
    assert expected <= set(wheel.namelist())


@pytest.mark.slow
def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"qsimc", "qsimc_onnx", "qsimc_torch"}
    binaries = [name for name in wheel.namelist() if name.endswith((".pyc", ".so", ".so.1", ".pkl"))]
    assert binaries == ["qsimc/native/libkernels.so.1"]
    assert wheel.filename is not None
    assert "-py3-none-" in wheel.filename  # for any Python, and with the kernels for one platform


@pytest.mark.slow
def test_without_a_compiler_the_wheel_is_pure(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "tests"))
    (checkout / "qsimc/native/libkernels.so.1").unlink(missing_ok=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(
        command, cwd=checkout, env={**os.environ, "CC": "no-such-compiler"}, capture_output=True, text=True, check=True
    )
    (built,) = tmp_path.glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(built).namelist() if ".so" in name]
    assert "built without kernels" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_checks_a_config_away_from_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    command = [sys.executable, "-P", "-c", "import qsimc, sys; from qsimc.cli import run; sys.exit(run(sys.argv[1:]))"]
    for arguments in (["check", "aimet:default"], ["explain", "Q0201"]):
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_public_names_are_what_they_say_whatever_was_imported_before() -> None:
    script = (
        "import importlib, pkgutil, qsimc\n"
        "for m in pkgutil.walk_packages(qsimc.__path__, 'qsimc.'):\n"
        "    if m.name != 'qsimc.__main__': importlib.import_module(m.name)\n"
        "assert all(hasattr(qsimc, n) for n in qsimc.__all__)\n"
        "assert all(callable(getattr(qsimc, n)) for n in qsimc.__all__ if n != '__version__')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
