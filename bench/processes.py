"""Whole processes, with what they took."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence


def timed(command: Sequence[str]) -> tuple[float, int]:
    """Return wall seconds and peak bytes of one process, which says nothing but what is wrong.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed: {' '.join(command)}\n{said.decode(errors='replace')}")
    # Linux counts in KiB; elsewhere it is bytes.
    return seconds, usage.ru_maxrss * 1024
