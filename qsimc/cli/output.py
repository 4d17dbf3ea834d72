"""Where text goes: the product to stdout or a file, everything else to stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from qsimc.diagnostics import Diagnostic, in_order
from qsimc.render import text


def colorful(stream: object) -> bool:
    """Say whether a stream takes colours: a terminal, unless NO_COLOR is set; FORCE_COLOR overrides."""
    if os.environ.get("FORCE_COLOR"):
        return True
    isatty = getattr(stream, "isatty", None)
    return not os.environ.get("NO_COLOR") and isatty is not None and bool(isatty())


def columns(stream: object) -> int | None:
    """Return the width of a terminal; None for what is none, where lines may be as long as they are."""
    isatty = getattr(stream, "isatty", None)
    return shutil.get_terminal_size().columns if isatty is not None and isatty() else None


def show(findings: Iterable[Diagnostic]) -> None:
    """Print findings on stderr, for commands whose product is something else."""
    ordered: Sequence[Diagnostic] = in_order(findings)
    if ordered:
        write_stderr(text.full(ordered, color=colorful(sys.stderr), width=columns(sys.stderr)))


def write_stderr(message: str) -> None:
    """Print on stderr; what its encoding cannot say is escaped."""
    encoding = sys.stderr.encoding or "utf-8"
    click.echo(message.encode(encoding, "backslashreplace").decode(encoding), err=True, nl=False)


def product(content: str | Iterable[str], output: str | None) -> None:
    """Print a command's product on stdout, or write it to a file, whole or not at all.

    What stdout's encoding cannot say is escaped.
    """
    pieces = (content,) if isinstance(content, str) else content
    if output is None or output == "-":
        encoding = sys.stdout.encoding or "utf-8"
        for piece in pieces:
            sayable = piece if piece.isascii() else piece.encode(encoding, "backslashreplace").decode(encoding)
            sys.stdout.write(sayable)
        return
    from qsimc.outputs import write_atomic

    write_atomic(Path(output), "".join(pieces))


def announce(*references: str) -> None:
    """Say on stderr that the user's own Python is about to run, where a reference names some."""
    from qsimc.entry import announce as sentence
    from qsimc.entry import split_reference

    for reference in references:
        if split_reference(reference) is not None and not Path(reference).exists():
            write_stderr(f"{sentence(reference)}\n")
