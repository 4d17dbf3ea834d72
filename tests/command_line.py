"""Running a command line in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from qsimc import cli

Run: TypeAlias = Callable[..., tuple[int, str, str]]


def command_line(capsys: pytest.CaptureFixture[str], *first: str) -> Run:
    """Return what runs a command line, `first` before its arguments: exit status, stdout, stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        status = cli.run([*first, *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return command
