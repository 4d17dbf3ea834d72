"""One voice for processes that run the same command together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import click

from qsimc.calibrate.distributed import RankError, Ranks
from qsimc.cli.output import show, write_stderr
from qsimc.cli.status import BUG, OK, USAGE, status_of
from qsimc.diagnostics import InputError
from qsimc.pipeline.plan import installed_backend
from qsimc.version import VERSION


@contextmanager
def one_voice(backend: str) -> Iterator[Ranks]:
    """Give the processes that a launcher started; only the first of them is heard, and all have the same status.

    Raises:
        InputError: Q0509, the backend is not installed; with a single process, whatever the block raises.
        Exit: one of several processes failed, and the first has said why.
    """
    with installed_backend(backend).ranks() as ranks:
        if ranks.size == 1:
            yield ranks
            return
        status = OK
        with _heard(ranks.rank == 0):
            try:
                yield ranks
            except InputError as error:
                show(error.findings)
                status = status_of(error.findings)
            except click.UsageError as error:
                error.show()
                status = USAGE
            except RankError as error:
                write_stderr(f"{error}\nThis is a bug in qsimc {VERSION}.  Please report it with the lines above.\n")
                status = BUG
        # A launcher stops all processes as soon as one fails: nobody leaves before the first one has spoken.
        ranks.gather(None)
        if status != OK:
            raise click.exceptions.Exit(status)


@contextmanager
def _heard(heard: bool) -> Iterator[None]:
    """Let what the block prints be heard, or not."""
    if heard:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
