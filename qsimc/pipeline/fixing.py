"""Fix files: the safe fixes of their findings, and nothing else of their text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsimc.diagnostics import Diagnostic
from qsimc.fixes import fix_text
from qsimc.outputs import write_atomic
from qsimc.pipeline.batch import Request, check_text, passes_over, require_targets
from qsimc.pipeline.inputs import Input
from qsimc.reading import read_source
from qsimc.source import Source

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class FixedFile:
    """A file's text before and after, and how many fixes lie between; `mark` if a byte order mark begins it."""

    path: str
    before: str
    after: str
    fixes: int
    mark: bool


def fixed(files: Sequence[Input], request: Request) -> Iterator[FixedFile]:
    """Yield the files that safe fixes change; ignored findings are left alone, built-in names and stdin too.

    Raises:
        LookupError: a target is unknown; no file has been yielded then.
    """
    require_targets(files, request)
    for file in files:
        if not Path(file.reference).is_file():
            continue
        source = read_source(file.reference, lambda _: None)
        if source is None:
            continue

        def find(now: Source, file: Input = file) -> list[Diagnostic]:
            found = check_text(now, file.settings, request)
            return [] if passes_over(file, request, found) else found

        after, count = fix_text(source, find)
        if after != source.text:
            with Path(file.reference).open("rb") as raw:
                mark = raw.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK
            yield FixedFile(file.reference, source.text, after, count, mark)


def write(file: FixedFile) -> None:
    """Write a fixed file over the old one, whole or not at all; its permissions stay.

    Raises:
        InputError: Q0611, Q0612, it is a link or cannot be written; it is as it was.
    """
    path = Path(file.path)
    permissions = path.stat().st_mode
    write_atomic(path, ("\ufeff" if file.mark else "") + file.after)
    path.chmod(permissions)
