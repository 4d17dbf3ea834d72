"""What `check` shows besides findings: which targets take a configuration, and what would make one take it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from qsimc.cli.output import product, show
from qsimc.cli.status import FINDINGS, OK, UNREADABLE, USAGE
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.pipeline.batch import Request
from qsimc.pipeline.inputs import Input

Reports = Sequence[tuple[str, str | None]]
"""Styles and files, None for stdout."""


def refuse_with_targets(config: Sequence[str], given: Sequence[str]) -> None:
    """Make sure that one configuration is asked for, and nothing that has no meaning here.

    Raises:
        UsageError: otherwise.
    """
    if len(config) != 1:
        raise click.UsageError("`--target all` and `--suggest` are about one CONFIG")
    if given:
        raise click.UsageError(f"`--target all` and `--suggest` look at the file alone; leave `{given[0]}` out")


def show_matrix(
    files: Sequence[Input], missing: Sequence[Diagnostic], request: Request, reports: Reports, fail_on: Severity
) -> int:
    """Show which targets take a configuration; the status is 1 if none does."""
    from qsimc.pipeline.matrix import matrix
    from qsimc.render.targets import matrix_json, matrix_text

    file = _only(files, missing)
    if file is None:
        return USAGE
    rows = matrix(file, request)
    _write(matrix_text(rows), matrix_json(rows), reports)
    findings = [d for found in rows.values() for d in found]
    if unreadable := [d for d in findings if d.code in UNREADABLE]:
        show(unreadable[:1])
        return USAGE
    return OK if any(all(d.severity.rank < fail_on.rank for d in found) for found in rows.values()) else FINDINGS


def show_suggestion(
    files: Sequence[Input], missing: Sequence[Diagnostic], request: Request, reports: Reports, fail_on: Severity
) -> int:
    """Show the fewest edits that make a configuration legal for a target; the status is 1 if it is not yet."""
    from qsimc import targets
    from qsimc.pipeline.suggest import suggest
    from qsimc.reading import read_source
    from qsimc.render.targets import suggestion_json, suggestion_text

    file = _only(files, missing)
    if file is None:
        return USAGE
    name = request.target or file.settings.target
    if name is None or name == targets.ALL:
        raise click.UsageError("`--suggest` needs `--target NAME`")
    findings: list[Diagnostic] = []
    source = read_source(file.reference, findings.append)
    if source is None:
        show(findings)
        return USAGE
    try:
        targets.load(name)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error
    found = suggest(source, target=name, format=request.format)
    edits = None if found.proposals is None else [(edit.title, edit.span) for edit in found.proposals]
    text = suggestion_text(source.path, name, edits, found.blocked)
    _write(text, suggestion_json(source.path, name, edits, found.after, found.blocked), reports)
    return OK if edits == [] else FINDINGS


def _only(files: Sequence[Input], missing: Sequence[Diagnostic]) -> Input | None:
    """Return the one configuration that there is, None after showing why there is none.

    Raises:
        UsageError: there are several.
    """
    if len(files) > 1:
        raise click.UsageError("`--target all` and `--suggest` are about one CONFIG")
    show(missing)
    return files[0] if files else None


def _write(text: str, json: str, reports: Reports) -> None:
    """Write a product in each of the styles that are wanted.

    Raises:
        UsageError: one of them is for findings alone.
    """
    for style, _ in reports:
        if style not in ("text", "json"):
            raise click.UsageError(f"`--target all` and `--suggest` have no style `{style}`; there are text, json")
    for style, file in reports:
        product(text if style == "text" else json, file)
