"""Calibration data on disk: an .npz, an .npy, or a folder of them.

Headers are read and checked when the data are opened; values are read a few samples at a time.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from qsimc.data import findings
from qsimc.data.check import misfits
from qsimc.data.layout import Chunk, Info, Layout
from qsimc.data.npy import UnreadableError, read_header, read_rows, read_whole
from qsimc.diagnostics import Diagnostic, InputError, Report, Severity

SUFFIXES = (".npz", ".npy")

DEFAULT_BATCH_SIZE = 32
"""Samples per batch out of one file, where neither the model nor the user says."""

_READ_ERRORS = (OSError, EOFError, UnreadableError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)

# An encrypted member is a RuntimeError, an unknown compression a NotImplementedError (which is one too).
_ZIP_ERRORS = (*_READ_ERRORS, RuntimeError)


@dataclass(frozen=True)
class ArrayFile:
    """One .npz or .npy whose headers fit the model.

    `members` maps each array to its member of the archive; it is None for an .npy, which holds one array.
    """

    path: str
    layout: Layout
    arrays: Mapping[str, Info]
    members: Mapping[str, zipfile.ZipInfo] | None

    @property
    def samples(self) -> int:
        return self.arrays[self.layout.batched[0]].shape[0] if self.layout.batched else 1

    def chunks(self, size: int | None) -> Iterator[Chunk]:
        try:
            with ExitStack() as stack:
                yield from self._chunks(self._open(stack), size or DEFAULT_BATCH_SIZE)
        except _ZIP_ERRORS as error:
            raise InputError([findings.unreadable(self.path, reason(error))]) from error

    def _chunks(self, streams: Mapping[str, IO[bytes]], size: int) -> Iterator[Chunk]:
        whole = {name: read_whole(streams[name], self.arrays[name]) for name in self.layout.whole}
        for start in range(0, self.samples, size):
            rows = min(size, self.samples - start)
            batched = {name: read_rows(streams[name], self.arrays[name], rows) for name in self.layout.batched}
            yield Chunk(self.path, start, {**batched, **whole})

    def _open(self, stack: ExitStack) -> Mapping[str, IO[bytes]]:
        """Return one stream per input, each at its first value: the members of an archive advance in lockstep."""
        if self.members is None:
            stream = stack.enter_context(open(self.path, "rb"))  # noqa: SIM115 (the caller's stack closes it)
            read_header(stream, os.fstat(stream.fileno()).st_size)
            return dict.fromkeys(self.layout.inputs, stream)
        streams: dict[str, IO[bytes]] = {}
        archive = stack.enter_context(zipfile.ZipFile(self.path))
        for name in self.layout.inputs:
            streams[name] = stack.enter_context(archive.open(self.members[name]))
            read_header(streams[name], self.members[name].file_size)
        return streams

    def digest(self) -> str:
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Folder:
    """Files in the order of their names; unless told otherwise, each is one batch."""

    path: str
    files: tuple[ArrayFile, ...]

    @cached_property
    def samples(self) -> int:
        return sum(file.samples for file in self.files)

    def chunks(self, size: int | None) -> Iterator[Chunk]:
        for file in self.files:
            yield from file.chunks(size or file.samples or None)

    def digest(self) -> str:
        """Return the SHA-256 of the files' own, in the form that `sha256sum` prints."""
        total = hashlib.sha256()
        for file in self.files:
            total.update(f"{file.digest()}  {Path(file.path).name}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()


def open_file(path: Path, layout: Layout, report: Report) -> ArrayFile | None:
    """Open an .npz or an .npy; None after reporting why it cannot serve."""
    try:
        found, members = _npz_headers(path) if path.suffix == ".npz" else _npy_header(path, layout)
    except _ZIP_ERRORS as error:
        report(findings.unreadable(str(path), reason(error), _rescue(error)))
        return None
    problems = misfits(str(path), found, layout)
    for problem in problems:
        report(problem)
    if _fatal(problems):
        return None
    return ArrayFile(str(path), layout, {name: found[name] for name in layout.inputs}, members)


def open_folder(path: Path, layout: Layout, report: Report) -> Folder | None:
    """Open every .npz and .npy of a folder, not of its subfolders; None after reporting what is wrong."""
    try:
        names = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and entry.is_file())
    except OSError as error:
        report(findings.unreadable(str(path), reason(error)))
        return None
    if not names:
        report(findings.empty(str(path), f"`{path}` holds no .npy and no .npz files"))
        return None
    files = [open_file(name, layout, report) for name in names]
    opened = tuple(file for file in files if file is not None)
    return Folder(str(path), opened) if len(opened) == len(files) else None


def reason(error: BaseException) -> str:
    """Return what kept a file from being read, in lower case."""
    match error:
        case UnreadableError():
            return str(error)
        case zipfile.BadZipFile() | zlib.error() | lzma.LZMAError() | EOFError():
            return "it is not an .npz archive, or a damaged one"
        case OSError(strerror=str(text)):
            return text.lower()
    return str(error).partition("\n")[0]


def _npz_headers(path: Path) -> tuple[dict[str, Info], dict[str, zipfile.ZipInfo]]:
    found: dict[str, Info] = {}
    members: dict[str, zipfile.ZipInfo] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                raise UnreadableError(f"its member `{name}` is not an .npy array")
            if name in members:
                raise UnreadableError(f"it holds two arrays called `{name}`")
            with archive.open(member) as stream:
                try:
                    found[name] = read_header(stream, member.file_size)
                except UnreadableError as error:
                    raise UnreadableError(f"array `{name}`: {error}") from error
            members[name] = member
    return found, members


def _npy_header(path: Path, layout: Layout) -> tuple[dict[str, Info], None]:
    if len(layout.inputs) != 1:
        raise UnreadableError(f"an .npy holds one array, and the model has {len(layout.inputs)} inputs")
    (name,) = layout.inputs
    with open(path, "rb") as stream:
        return {name: read_header(stream, os.fstat(stream.fileno()).st_size)}, None


def _rescue(error: BaseException) -> tuple[str, ...]:
    text = str(error)
    if "Fortran" in text:
        return ("save `numpy.ascontiguousarray(array)`",)
    if "pickled" in text:
        return ("save arrays of numbers: `numpy.savez(path, input=array)`",)
    if "one array" in text:
        return ("save each batch as an .npz with one array per input",)
    return ()


def _fatal(problems: list[Diagnostic]) -> bool:
    return any(problem.severity is Severity.ERROR for problem in problems)
