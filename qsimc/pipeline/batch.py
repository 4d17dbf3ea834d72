"""Check many files in one call, on all processors where that pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from qsimc import targets
from qsimc.diagnostics import Diagnostic, in_order
from qsimc.pipeline.check import check, check_source
from qsimc.pipeline.inputs import Input
from qsimc.planning.mode import Mode
from qsimc.processors import processors
from qsimc.settings import Settings
from qsimc.source import Source
from qsimc.spec import keymap

PAYS_FROM = 200
"""Number of files from which further processes save more time than their start costs."""

_NEVER_IGNORED = "Q0101"


@dataclass(frozen=True, slots=True)
class Request:
    """What a command line says of all files; None leaves it to their settings.

    `skip_foreign` leaves out files of no format qsimc knows, as is always done for those that a folder holds.
    """

    format: str | None = None
    target: str | None = None
    model: str | None = None
    mode: str | None = None
    skip_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with many files, in the order of the files, and which were left out as no configurations."""

    findings: tuple[Diagnostic, ...]
    skipped: tuple[str, ...]


def check_all(files: Sequence[Input], request: Request, *, jobs: int | None = None) -> Checked:
    """Check files.

    Args:
        files: what to check; stdin at most once.
        request: how.
        jobs: number of processes; None takes all processors if there is work for them.

    Raises:
        LookupError: a format or target is unknown.
    """
    require_targets(files, request)
    jobs = jobs or (processors() if len(files) >= PAYS_FROM and request.model is None else 1)
    if jobs == 1:
        results = _check_some(files, request)
    else:
        # Imported here: one file, the usual case, needs none of it.
        from concurrent.futures import ProcessPoolExecutor

        # Neighbours take about the same time; a share of every part of the list evens out what each process does.
        shares = [files[start::jobs] for start in range(jobs)]
        with ProcessPoolExecutor(jobs) as pool:
            done = list(pool.map(_check_some, shares, [request] * jobs))
        results = [done[index % jobs][index // jobs] for index in range(len(files))]
    skipped = tuple(file.reference for file, found in zip(files, results, strict=True) if found is None)
    return Checked(tuple(chain.from_iterable(found for found in results if found is not None)), skipped)


def require_targets(files: Sequence[Input], request: Request) -> None:
    """Make sure that every target exists that files are checked against.

    Raises:
        LookupError: one does not.
    """
    for target in {request.target, *(file.settings.target for file in files)} - {None}:
        targets.load(str(target))


def _check_some(files: Sequence[Input], request: Request) -> list[list[Diagnostic] | None]:
    return [_check_one(file, request) for file in files]


def _check_one(file: Input, request: Request) -> list[Diagnostic] | None:
    """Return the findings of a file that its settings do not ignore, None if it is no configuration."""
    settings = file.settings
    found = check(
        file.reference,
        format=request.format,
        target=request.target or settings.target,
        model=request.model,
        mode=request.mode or settings.mode or str(Mode.FIXED),
    )
    return None if passes_over(file, request, found) else _kept(found, file.reference, settings)


def check_text(source: Source, settings: Settings, request: Request) -> list[Diagnostic]:
    """Return the findings of a text, without a model, that settings do not ignore; `source.path` is what they match."""
    mode = Mode(request.mode or settings.mode or Mode.FIXED)
    _, found = check_source(source, format=request.format, mode=mode, target=request.target or settings.target)
    return _kept(in_order(found), source.path, settings)


def _kept(findings: Sequence[Diagnostic], path: str, settings: Settings) -> list[Diagnostic]:
    return [d for d in findings if d.code == _NEVER_IGNORED or not settings.ignores(path, d.code)]


def passes_over(file: Input, request: Request, findings: Sequence[Diagnostic]) -> bool:
    """Say whether a file is left alone: nobody named it, and its findings are those of no configuration."""
    return (request.skip_foreign or not file.named) and request.format is None and _is_foreign(findings)


def _is_foreign(findings: Sequence[Diagnostic]) -> bool:
    """Say whether findings are those of a file that is no configuration, or one of a tool that qsimc does not read.

    Text that is no JSON is a broken configuration if it holds a key by which one is recognised.
    """
    if any(d.code in ("Q0107", "Q0109") for d in findings):
        return True
    source = next((d.labels[0].span.source for d in findings if d.code == "Q0102" and d.labels), None)
    if source is None or source.text.lstrip()[:1] not in ("{", "["):
        return False
    tables = [keymap.load(name) for name in keymap.names()]
    return not any(f'"{key}"' in source.text for table in tables for key in table.recognise | table.hints)
