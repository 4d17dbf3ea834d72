"""The command `fmt`: .qsim files in one layout."""

from __future__ import annotations

import click

from qsimc.cli.output import product, show, write_stderr
from qsimc.cli.status import DIFFERENT, OK, status_of
from qsimc.diagnostics import Diagnostic
from qsimc.pipeline.fixing import write
from qsimc.pipeline.formatting import STDIN, formatted
from qsimc.render.patch import patch
from qsimc.render.text import printable


@click.command()
@click.argument("file", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit with status 4 if a file would change, and name it.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change, as a patch.")
def fmt(file: tuple[str, ...], check: bool, diff: bool) -> int:
    """Lay out .qsim files, each in its place.

    FILE is a file, a folder with .qsim files below it, a pattern such as `configs/**/*.qsim`, or `-`, which reads stdin
    and writes stdout.  What a file means does not change, and comments stay; a file that breaks the grammar is left as
    it is.

    \b
    qsimc fmt config.qsim
    qsimc fmt configs --check
    qsimc fmt config.qsim --diff
    """
    findings: list[Diagnostic] = []
    different = False
    for one in formatted(file, findings.append):
        changes = one.before != one.after
        different = different or changes
        if diff:
            product(patch(one.path, one.before, one.after), None)
        elif one.path == STDIN and not check:
            product(one.after, None)
        elif changes and not check:
            write(one)
            write_stderr(f"{printable(one.path)}: laid out\n")
        if changes and check:
            write_stderr(f"{printable(one.path)}: would change\n")
    show(findings)
    return status_of(findings) or (DIFFERENT if check and different else OK)
