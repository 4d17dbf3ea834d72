"""Writing files: all of them or none, never over somebody else's, never through a link."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qsimc.diagnostics import Diagnostic, InputError, Severity

LOCK = "qsimc.lock"
"""The file that marks a folder as written by qsimc; its files may be replaced."""

_LONGEST_NAME = 120
_DIGEST_LENGTH = 16
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
_SUFFIXED = re.compile(rf"-[0-9a-f]{{{_DIGEST_LENGTH}}}(\.|$)")


@contextmanager
def staged(out: Path, *, force: bool = False, expected: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to write into, whose files appear in `out` when the block ends without an exception.

    A new `out` appears by one rename.  In an existing one, files are replaced one by one, each atomically,
    once all of them are written; `qsimc.lock` comes last.  After an exception `out` is as it was, unless the
    file system itself fails between two of these replacements.

    Args:
        out: the folder to fill; its parents are made.
        force: replace files in a folder that qsimc did not write.
        expected: names that will be written, so that a refusal comes before the work and not after it.

    Raises:
        InputError: Q0611, something in `out` would be lost; Q0612, the file system refuses.
    """
    out = _target(out)
    _refuse_conflicts(out, [Path(name) for name in expected], force)
    private = _private_folder(beside=out)
    try:
        stage = private / "out"
        stage.mkdir()
        yield stage
        _publish(stage, out, force)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def write_atomic(path: Path, text: str) -> None:
    """Write a text file as UTF-8, or leave the old one: a reader never sees half of it.

    A device or a pipe (`/dev/stdout`) is written to, not replaced.

    Raises:
        InputError: Q0611, `path` is a folder or a link; Q0612, the file system refuses.
    """
    if path.is_dir():
        raise _refused(path, f"`{path}` is a folder")
    if path.exists() and not path.is_file():
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise _unwritable(path, error) from error
        return
    if path.is_symlink():
        raise _refused(path, f"`{path}` is a symbolic link")
    private = _private_folder(beside=path)
    try:
        written = private / "text"
        written.write_text(text, encoding="utf-8", newline="\n")
        os.replace(written, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(private, ignore_errors=True)


def safe_name(text: str) -> str:
    """Return a file name for text out of a model: portable, at most 120 characters, the same every time.

    A text that is a safe name already stays as it is.  Any other gets a hash of the text as a suffix, so
    that two texts never share a name.  Texts that look suffixed count as unsafe, or they could collide.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    portable = name == text and not name.startswith((".", "-")) and not name.endswith(".")
    if portable and 0 < len(name) <= _LONGEST_NAME and not _DEVICES.match(name) and not _SUFFIXED.search(name):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    kept = name.strip(".-")[: _LONGEST_NAME - _DIGEST_LENGTH - 2]
    prefix = f"_{kept}" if _DEVICES.match(kept) else kept or "unnamed"
    return f"{prefix}-{digest}"


def _target(out: Path) -> Path:
    """Return the real folder that `out` names: the user may reach it through a link, if it leads somewhere."""
    if out.is_symlink() and not out.exists():
        raise _refused(out, f"`{out}` is a symbolic link that leads nowhere")
    if out.exists() and not out.is_dir():
        raise _refused(out, f"`{out}` is a file, not a folder")
    return out.resolve()


def _private_folder(beside: Path) -> Path:
    """Make a folder that nobody else can enter, on the same file system as `beside`.

    An existing folder may be a mount point of its own, so there the private one goes inside.
    """
    parent = beside if beside.is_dir() else beside.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".qsimc-", dir=parent))
    except OSError as error:
        raise _unwritable(beside, error) from error


def _publish(stage: Path, out: Path, force: bool) -> None:
    files = sorted((path.relative_to(stage) for path in stage.rglob("*") if not path.is_dir()), key=_lock_last)
    # Asked again: somebody may have written there since, and not every name was known before.
    _target(out)
    _refuse_conflicts(out, files, force)
    try:
        if not out.exists():
            os.rename(stage, out)
            return
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(stage / name, out / name)
    except OSError as error:
        raise _unwritable(out, error) from error


def _lock_last(name: Path) -> tuple[bool, str]:
    """Order files for publishing: the lock vouches for the others, so it must not come before them."""
    return name.name == LOCK, name.as_posix()


def _refuse_conflicts(out: Path, files: Iterable[Path], force: bool) -> None:
    findings = [finding for name in files if (finding := _conflict(out, name, force)) is not None]
    if findings:
        raise InputError(findings)


def _conflict(out: Path, name: Path, force: bool) -> Diagnostic | None:
    target = out / name
    folders = [out / parent for parent in name.parents if parent != Path(".")]
    for path in (target, *folders):
        if path.is_symlink():
            return _exists(path, f"`{path}` is a symbolic link")
    if target.is_dir():
        return _exists(target, f"`{target}` is a folder, and a file of that name is to be written")
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            return _exists(folder, f"`{folder}` is a file, and a folder of that name is to be written")
    if target.exists() and not force and not (out / LOCK).is_file():
        return _exists(
            target,
            f"`{target}` exists, and qsimc did not write it",
            notes=(f"a folder that qsimc wrote holds a `{LOCK}`; this one does not",),
            helps=("choose another folder, or say `--force` to replace the file",),
        )
    return None


def _refused(path: Path, message: str) -> InputError:
    return InputError([_exists(path, message)])


def _exists(
    path: Path, message: str, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ("choose another place",)
) -> Diagnostic:
    return Diagnostic(
        code="Q0611",
        name="output-exists",
        severity=Severity.ERROR,
        message=message,
        notes=notes,
        helps=helps,
        path=str(path),
    )


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = (error.strerror or str(error)).lower()
    finding = Diagnostic(
        code="Q0612",
        name="output-unwritable",
        severity=Severity.ERROR,
        message=f"cannot write `{path}`: {reason}",
        path=str(path),
    )
    return InputError([finding])
