"""The command `schema`: what a file may hold, for editors and validators."""

from __future__ import annotations

import json

import click

from qsimc import schemas
from qsimc.cli import options
from qsimc.cli.output import product
from qsimc.cli.status import OK


@click.command()
@click.argument("format", required=False)
@options.output_option
def schema(format: str | None, output: str | None) -> int:
    """Print the JSON Schema (2020-12) of a file that qsimc reads or writes; without FORMAT, list them.

    \b
    qsimc schema
    qsimc schema aimet --output aimet.schema.json
    """
    if format is None:
        listed = (f"{name:<10} {schemas.schema(name)['title']}\n" for name in schemas.names())
        product("".join(listed), output)
        return OK
    try:
        product(json.dumps(schemas.schema(format), indent=2) + "\n", output)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error
    return OK
