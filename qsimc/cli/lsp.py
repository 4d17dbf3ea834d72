"""The command that serves editors."""

from __future__ import annotations

from importlib.util import find_spec

import click

from qsimc.cli.status import OK


@click.command()
def lsp() -> int:
    """Serve editors over stdin and stdout.

    \b
    qsimc lsp
    """
    if find_spec("pygls") is None:
        raise click.ClickException("the language server needs pygls; install `qsimc[lsp]`")
    # Imported here: pygls is optional.
    from qsimc.lsp.server import language_server

    language_server().start_io()
    return OK
