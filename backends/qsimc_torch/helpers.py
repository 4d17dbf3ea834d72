"""Functions that generated modules use where PyTorch has none: those of runtime/operators_*.py, by name.

A generated module imports the few that it calls; one that stands alone holds them and what they call in turn.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Helper:
    """A function of the runtime, and the module that holds it."""

    module: str
    source: str


@cache
def helpers() -> Mapping[str, Helper]:
    """Return each function, by name."""
    found: dict[str, Helper] = {}
    folder = files("qsimc_torch").joinpath("runtime")
    for file in sorted(entry.name for entry in folder.iterdir()):
        if file.startswith("operators_") and file.endswith(".py"):
            found |= _functions(file.removesuffix(".py"), folder.joinpath(file).read_text(encoding="utf-8"))
    return found


def _functions(module: str, text: str) -> dict[str, Helper]:
    lines = text.splitlines()
    return {
        statement.name: Helper(module, "\n".join(lines[statement.lineno - 1 : statement.end_lineno]))
        for statement in ast.parse(text).body
        if isinstance(statement, ast.FunctionDef)
    }


def imports(code: str) -> Iterator[str]:
    """Yield the lines that import what some code calls."""
    used = sorted(set(re.findall(r"(?<![\w.])\w+(?=\()", code)) & {*helpers()})
    for module in sorted({helpers()[name].module for name in used}):
        names = ", ".join(name for name in used if helpers()[name].module == module)
        yield f"from qsimc_torch.runtime.{module} import {names}"


def sources(code: str) -> Sequence[str]:
    """Return the functions that some code needs, each once, what they call included."""
    needed: set[str] = set()
    waiting = [code]
    while waiting:
        read = set(re.findall(r"(?<![\w.])[a-z]\w*", waiting.pop())) & {*helpers()}
        waiting += [helpers()[name].source for name in read - needed]
        needed |= read
    return [helper.source for name, helper in helpers().items() if name in needed]
