"""What qsimc says about a user's files: a diagnostic is a value that could stand alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeAlias

from qsimc.source import Span


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Order of gravity: errors are highest."""
        return {"info": 0, "warning": 1, "error": 2}[self.value]


@dataclass(frozen=True, slots=True)
class Label:
    """A span worth underlining, and why.  The first label of a diagnostic is the primary one."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of `span` by `text`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that resolve the diagnostic; a safe fix may be applied unattended."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Vendor:
    """What the vendor's own tool prints for the same mistake, so that people can search for it.

    `order` is set where the tool stops at its first mistake: the smallest of a configuration is that one.
    """

    tool: str
    id: str
    text: str
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding.

    `message` says what is wrong (lower case, code in backticks), labels say where, only `helps`
    says what to do.  `path` names the file when there is no text to point into (a model, data);
    `pointer` is the JSON pointer of the offending value, which survives reformatting.
    """

    code: str
    name: str
    severity: Severity
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    vendor: Vendor | None = None
    pointer: str = ""
    path: str = ""

    @property
    def file(self) -> str:
        """The file the finding is about: that of the primary label, else `path`."""
        return self.labels[0].span.source.path if self.labels else self.path


Report: TypeAlias = Callable[[Diagnostic], None]


class InputError(Exception):
    """Work that cannot go on because of the user's input; carries every diagnostic found so far."""

    def __init__(self, findings: Iterable[Diagnostic]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in self.findings))


class ConfigError(InputError):
    """The input at fault is the configuration."""


def in_order(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return findings by file, place and code, so that the same input always prints the same."""

    def key(d: Diagnostic) -> tuple[str, int, str, str]:
        return d.file, d.labels[0].span.start if d.labels else -1, d.code, d.message

    return sorted(findings, key=key)


def first_complaint(findings: Iterable[Diagnostic]) -> Diagnostic | None:
    """Return the finding that the vendor's tool itself would print first, None if it would go on without a word.

    What is no JSON comes before everything else.  A tool that reports all of its findings has no first one: then
    the first in the given order is taken.
    """
    said = [d for d in findings if d.severity is Severity.ERROR and (d.vendor is not None or _is_syntax(d))]
    return min(said, key=_complaint_order, default=None)


def in_vendor_order(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return findings with the vendor's first complaint at the head, and the others as `in_order` has them."""
    ordered = in_order(findings)
    first = first_complaint(ordered)
    return ordered if first is None else [first, *(d for d in ordered if d is not first)]


def _complaint_order(d: Diagnostic) -> tuple[int, ...]:
    return (0,) if _is_syntax(d) else (1, *(d.vendor.order if d.vendor else ()))


def _is_syntax(d: Diagnostic) -> bool:
    return d.code.startswith("Q01")


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """Return the known word nearest to a misspelt one, or None when nothing is near.

    Case differences win over every other match (`relu` means `Relu`, not `PRelu`), and a longer form is
    taken for its abbreviation (`Convolution` means `Conv`).
    """
    folded = {k.casefold(): k for k in known}
    if word.casefold() in folded:
        return folded[word.casefold()]
    if near := get_close_matches(word, known, n=1, cutoff=0.6):
        return near[0]
    beginnings = [k for k in known if len(k) >= 3 and word.casefold().startswith(k.casefold())]
    return max(beginnings, key=len, default=None)
