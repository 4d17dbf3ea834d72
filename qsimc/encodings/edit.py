"""Merging, splitting, renaming and comparing encodings files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.encodings.entry import EncodingsFile, Entry


@dataclass(frozen=True, slots=True)
class Difference:
    """How the encodings of one tensor differ.

    Attributes:
        kind: `only first`, `only second`, `type` (`detail` says which) or `range`.
        steps: `range`: how far an end of the range has moved at most, in steps of the first file.
    """

    tensor: str
    kind: str
    detail: str = ""
    steps: float = 0.0


def diff(first: EncodingsFile, second: EncodingsFile, *, tolerance: float = 0.0) -> tuple[Difference, ...]:
    """Return what differs between two files of any layouts, in the order of the first, then of the second.

    What a layout cannot say (an axis, a flag) is no difference.  `tolerance` is in steps.
    """
    ours, theirs = first.by_name(), second.by_name()
    found = [d for key, entry in ours.items() if (d := _difference(key, entry, theirs.get(key), tolerance)) is not None]
    return (*found, *(Difference(key, "only second") for key in theirs if key not in ours))


def _difference(key: str, a: Entry, b: Entry | None, tolerance: float) -> Difference | None:
    if b is None:
        return Difference(key, "only first")
    for title, x, y in _types(a, b):
        if x is not None and y is not None and x != y:
            return Difference(key, "type", f"{title}: {x} / {y}")
    moved = _moved(a, b)
    return Difference(key, "range", steps=moved) if moved > tolerance else None


def _types(a: Entry, b: Entry) -> Iterator[tuple[str, object, object]]:
    yield "type", a.dtype, b.dtype
    yield "bits", a.bits, b.bits
    # One channel is one tensor.
    yield "scales", len(a.scale), len(b.scale)
    yield "axis", a.axis, b.axis
    yield "symmetric", a.symmetric, b.symmetric
    yield "block size", a.blocks and a.blocks.size, b.blocks and b.blocks.size


def _moved(a: Entry, b: Entry) -> float:
    """Return by how many of `a`'s steps the ends of a range differ at most."""
    top = (1 << a.bits) - 1
    rows = zip(a.scale, a.offset, b.scale, b.offset, strict=True)
    ends = ((abs(s * o - t * p), abs(s * (o + top) - t * (p + top)), s) for s, o, t, p in rows)
    moved = max((max(low, high) / scale for low, high, scale in ends), default=0.0)
    if a.blocks is not None and b.blocks is not None and a.blocks.steps != b.blocks.steps:
        return max(moved, float("inf"))
    return moved


def merge(files: Sequence[tuple[str, EncodingsFile]], report: Report) -> EncodingsFile:
    """Return the union of files, all in one layout, in their order.  Each has a name for findings.

    Two different encodings of one tensor are reported (Q0819); the first one stays.
    """
    names = dict.fromkeys(entry.key for _, file in files for entry in file.entries)
    kept: dict[str, tuple[str, Entry]] = {}
    for path, file in files:
        for entry in file.entries:
            origin, other = kept.setdefault(entry.key, (path, entry))
            if _content(other) != _content(entry):
                report(_conflict(entry.key, origin, path))
    first = files[0][1]
    extra: dict[str, object] = {}
    for _, file in reversed(files):
        extra |= file.extra
    return replace(first, entries=tuple(kept[name][1] for name in names), extra=extra)


def _content(entry: Entry) -> Entry:
    return replace(entry, where=())


def split(file: EncodingsFile, names: Mapping[str, frozenset[str]]) -> tuple[dict[str, EncodingsFile], tuple[str, ...]]:
    """Return the part of a file for each set of tensor names, and the entries that are in none of them."""
    parts = {
        part: replace(file, entries=tuple(e for e in file.entries if e.name in tensors))
        for part, tensors in names.items()
    }
    left = tuple(e.key for e in file.entries if not any(e.name in tensors for tensors in names.values()))
    return parts, left


def rename(file: EncodingsFile, names: Mapping[str, str], report: Report, *, path: str = "") -> EncodingsFile:
    """Return a file with tensors renamed; reports names it does not have (Q0820) and names that collide (Q0811)."""
    present = {entry.name for entry in file.entries}
    for old in names:
        if old not in present:
            report(_nothing_to_rename(old, path))
    entries = tuple(replace(e, name=names.get(e.name, e.name)) for e in file.entries)
    seen: set[str] = set()
    for entry in entries:
        if entry.key in seen and entry.name in names.values():
            report(_collision(entry.key, path))
        seen.add(entry.key)
    return replace(file, entries=entries)


def _conflict(tensor: str, first: str, second: str) -> Diagnostic:
    return Diagnostic(
        code="Q0819",
        name="merge-conflict",
        severity=Severity.ERROR,
        message=f"`{first}` and `{second}` encode `{tensor}` differently",
        helps=("take it out of one of them",),
        path=second,
    )


def _nothing_to_rename(old: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0820",
        name="nothing-to-rename",
        severity=Severity.ERROR,
        message=f"no encoding is called `{old}`",
        path=path,
    )


def _collision(new: str, path: str) -> Diagnostic:
    return Diagnostic(
        code="Q0811",
        name="duplicate-encoding",
        severity=Severity.ERROR,
        message=f"after renaming, `{new}` has two encodings",
        path=path,
    )
