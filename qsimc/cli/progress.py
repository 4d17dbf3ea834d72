"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qsimc.data import Data


@contextmanager
def bar(title: str) -> Iterator[Callable[[Data], Callable[[int], None] | None]]:
    """Give what starts a bar of samples on stderr once the data is open."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def start(data: Data) -> Callable[[int], None]:
            task = progress.add_task(title, total=data.samples)
            return lambda samples: progress.advance(task, samples)

        yield start
