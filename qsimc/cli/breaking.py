"""The command `breaking`: what a change to a configuration does to those who rely on the one before it."""

from __future__ import annotations

from typing import Any

import click

from qsimc.cli import options
from qsimc.cli.output import announce, product
from qsimc.cli.status import status_of
from qsimc.render import RENDERERS


@click.command()
@click.argument("config")
@click.option("--against", required=True, metavar="EARLIER", help="A file, or git:REF for CONFIG as it is in a commit.")
@options.from_option
@click.option("--model", metavar="M", help="Count only what changes a tensor of this model.")
@options.choices_options
@click.option("--format", "style", type=click.Choice(list(RENDERERS)), default="text", show_default=True)
@options.output_option
def breaking(
    config: str,
    against: str,
    format: str | None,
    model: str | None,
    words: dict[str, Any],
    style: str,
    output: str | None,
) -> int:
    """Say what a configuration does otherwise than it did; exit with status 1 if there is anything.

    Comments, order and layout do not count, nor does another way to say the same.

    \b
    qsimc breaking cfg.qsim --against git:main
    qsimc breaking cfg.json --against git:v1.2 --model m.onnx --format github
    """
    from qsimc.pipeline.breaking import breaking as changes
    from qsimc.pipeline.plan import choices

    if model is not None:
        announce(model)
    found = changes(config, against, choices(**words), format=format, model=model)
    product(RENDERERS[style](found) if found or style != "text" else "nothing changes\n", output)
    return status_of(found)
