"""Baselines: findings that a project knows already, so that only new ones are reported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.outputs import write_atomic
from qsimc.render.machine import fingerprint, portable_path

_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Baseline:
    """How often each known finding occurs, by its fingerprint, and how it is described."""

    known: Counter[str]
    said: dict[str, str]

    def split(self, findings: Iterable[Diagnostic]) -> tuple[list[Diagnostic], list[str]]:
        """Return the findings that are new, and descriptions of known ones that occur no longer."""
        left = self.known.copy()
        new: list[Diagnostic] = []
        for d in findings:
            mark = fingerprint(d)
            if left[mark] > 0:
                left[mark] -= 1
            else:
                new.append(d)
        return new, [self.said[mark] for mark, count in left.items() if count > 0]


def read(path: str) -> Baseline:
    """Return a baseline.

    Raises:
        InputError: Q0111, there is none in the file.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        entries = document["findings"]
        known = Counter({str(entry["fingerprint"]): int(entry["count"]) for entry in entries})
        said = {str(e["fingerprint"]): f"{e['path']}: {e['code']}: {e['message']}" for e in entries}
    except OSError as error:
        raise InputError([_bad(path, f"cannot read the baseline: {(error.strerror or str(error)).lower()}")]) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError([_bad(path, "the file is no baseline")]) from None
    return Baseline(known, said)


def write(path: str, findings: Sequence[Diagnostic]) -> None:
    """Write the baseline in which all of the findings are known, sorted so that it merges well.

    Raises:
        InputError: Q0611, Q0612, the file cannot be written.
    """
    count = Counter(map(fingerprint, findings))
    entries = {mark: _entry(d, mark, count[mark]) for d in findings if (mark := fingerprint(d))}
    ordered = sorted(entries.values(), key=lambda e: (e["path"], e["code"], e["fingerprint"]))
    write_atomic(Path(path), json.dumps({"format_version": _VERSION, "findings": ordered}, indent=1) + "\n")


def _entry(d: Diagnostic, mark: str, count: int) -> dict[str, Any]:
    return {"fingerprint": mark, "count": count, "path": portable_path(d.file), "code": d.code, "message": d.message}


def _bad(path: str, message: str) -> Diagnostic:
    return Diagnostic(
        code="Q0111",
        name="bad-baseline",
        severity=Severity.ERROR,
        message=message,
        path=path,
        helps=("write it with `qsimc check ... --baseline FILE --update-baseline`",),
    )
