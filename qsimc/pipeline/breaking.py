"""What a change to a configuration does to those who rely on the one before it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from qsimc.diagnostics import Diagnostic, InputError, Label, Severity, in_order
from qsimc.pipeline.diff import ConfigDiff, Side, diff
from qsimc.pipeline.plan import Choices
from qsimc.planning.compare import TensorDifference
from qsimc.planning.config_diff import RuleDifference
from qsimc.planning.plan import Reason

GIT = "git:"
"""How a reference to a commit begins: `git:main`, `git:v1.2`."""

_LISTED = 3


def breaking(config: str, against: str, chosen: Choices, *, format: str | None, model: str | None) -> list[Diagnostic]:
    """Return what a configuration does otherwise than an earlier one, each change as an error at its new place.

    Without a model every rule counts that says something else; with one only what changes a tensor of it.

    Args:
        against: the earlier one: a path, or `git:REF` for the file as it is in a commit.

    Raises:
        InputError: one of the two has errors, or git does not have the earlier one.
        LookupError: no such format.
    """
    with _earlier(config, against) as reference:
        found = diff(Side(reference, format), Side(config, format), chosen, model)
    return in_order(_changed_rules(found) if found.tensors is None else _changed_tensors(found, found.tensors))


def _changed_rules(found: ConfigDiff) -> Iterator[Diagnostic]:
    for rule in found.rules:
        yield _changed(found, rule.after, _rule_message(rule))


def _rule_message(rule: RuleDifference) -> str:
    if rule.before is None:
        assert rule.after is not None
        return f"`{rule.after.rule}` is new"
    return f"`{rule.before.rule}` is gone" if rule.after is None else f"`{rule.before.rule}` was said before"


def _changed_tensors(found: ConfigDiff, tensors: tuple[TensorDifference, ...]) -> Iterator[Diagnostic]:
    """Yield one finding for each rule that decides fields of tensors otherwise than before."""
    groups: dict[tuple[Reason, Reason, str], list[str]] = {}
    for tensor in tensors:
        for field in tensor.fields:
            change = f"{field.field}: {_word(field.before)} -> {_word(field.after)}"
            groups.setdefault((field.because_before, field.because_after, change), []).append(tensor.tensor)
    for (before, after, change), names in groups.items():
        named = ", ".join(f"`{name}`" for name in names[:_LISTED])
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        yield _changed(found, after, f"{change} of {named}{more}; before, `{before.rule}` decided")


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def _changed(found: ConfigDiff, reason: Reason | None, message: str) -> Diagnostic:
    span = None if reason is None else reason.span
    return Diagnostic(
        code="Q0321",
        name="breaking-change",
        severity=Severity.ERROR,
        message=message,
        labels=() if span is None else (Label(span),),
        path="" if span is not None else found.after.source.path,
    )


# ── git ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _earlier(config: str, against: str) -> Iterator[str]:
    """Give a path at which the earlier configuration can be read, with the files that it may extend."""
    if not against.startswith(GIT):
        yield against
        return
    path, commit = Path(config).resolve(), against.removeprefix(GIT)
    top = Path(_git(path.parent, "rev-parse", "--show-toplevel").decode().strip())
    inside = path.relative_to(top)
    archive = _git(top, "archive", "--format=tar", commit, "--", str(inside), ":(glob)**/*.qsim", missing_ok=True)
    archive = archive or _git(top, "archive", "--format=tar", commit, "--", str(inside))
    with TemporaryDirectory(prefix="qsimc-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        # What may be extended is bounded by the project, as in the checkout.
        (Path(folder) / ".git").touch()
        yield str(Path(folder) / inside)


def _git(folder: Path, *arguments: str, missing_ok: bool = False) -> bytes:
    """Return what git prints; nothing where it fails and may.

    Raises:
        InputError: git failed, or is not there.
    """
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except OSError as error:
        raise InputError([_no_earlier(f"git cannot be started: {error.strerror}")]) from error
    if done.returncode == 0 or missing_ok:
        return done.stdout if done.returncode == 0 else b""
    said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    raise InputError([_no_earlier(said.removeprefix("fatal: "))])


def _no_earlier(reason: str) -> Diagnostic:
    return Diagnostic(
        code="Q0116",
        name="no-earlier-version",
        severity=Severity.ERROR,
        message=f"there is no earlier version to compare with: {reason}",
        helps=(
            "name a commit that has the file: `--against git:main`",
            "or name an earlier file: `--against old.json`",
        ),
    )
