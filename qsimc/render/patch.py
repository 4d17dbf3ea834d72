"""What would change in a file, as a patch that `git apply` takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from io import StringIO

from qsimc.render.machine import portable_path


def patch(path: str, before: str, after: str) -> Iterator[str]:
    """Yield the lines of a unified diff between two texts of a file; only `\\n` ends a line."""
    old, new = (StringIO(said, newline="\n").readlines() for said in (before, after))
    for line in difflib.unified_diff(old, new, f"a/{portable_path(path)}", f"b/{portable_path(path)}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
