"""One configuration against every hardware target: which of them take it."""

from __future__ import annotations

from dataclasses import replace

from qsimc import targets
from qsimc.diagnostics import Diagnostic
from qsimc.pipeline.batch import Request, check_text
from qsimc.pipeline.inputs import Input
from qsimc.reading import read_source


def matrix(file: Input, request: Request) -> dict[str, list[Diagnostic]]:
    """Return the findings of a configuration for each hardware target by name, as `check` has them.

    What is wrong with the configuration itself is among the findings of every target.
    """
    unreadable: list[Diagnostic] = []
    source = read_source(file.reference, unreadable.append)
    if source is None:
        return dict.fromkeys(targets.hardware(), unreadable)
    return {name: check_text(source, file.settings, replace(request, target=name)) for name in targets.hardware()}
