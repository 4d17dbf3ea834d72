"""The command `translate`: a configuration in another vendor's format, with every loss reported."""

from __future__ import annotations

from typing import Any

import click

from qsimc import formats
from qsimc.cli import options
from qsimc.cli.output import announce, product, write_stderr
from qsimc.cli.output import show as show_findings
from qsimc.cli.status import LOSSY, OK
from qsimc.render import RENDERERS


def _writable(_: click.Context, __: click.Parameter, value: str) -> str:
    if value not in formats.writable():
        from qsimc.pipeline.translate import not_writable

        raise click.BadParameter(not_writable(value))
    return value


@click.command()
@click.argument("config")
@click.option("--to", required=True, metavar="FORMAT", callback=_writable, help="Format to write.")
@options.from_option
@click.option(
    "--model", metavar="M", help="An .onnx file, or package.module:factory: losses then name the tensors they change."
)
@options.choices_options
@click.option("--lossless", is_flag=True, help="Write nothing and exit with status 3 if anything is lost.")
@click.option(
    "--format",
    "style",
    type=click.Choice(list(RENDERERS)),
    default="text",
    show_default=True,
    help="How losses are printed on stderr.",
)
@options.output_option
def translate(
    config: str,
    to: str,
    format: str | None,
    model: str | None,
    words: dict[str, Any],
    lossless: bool,
    style: str,
    output: str | None,
) -> int:
    """Write a configuration in another format, and say what that format cannot hold.

    Losses go to stderr, each with the place in CONFIG that it comes from.  With a model, what can be said by names only
    is said by the names on that model, and every loss names the tensors that it changes.

    \b
    qsimc translate cfg.json --to qsim
    qsimc translate vitis.json --to quark --model m.onnx --output quark.json
    qsimc translate htp.qsim --to aimet --lossless
    """
    from qsimc.pipeline.plan import choices
    from qsimc.pipeline.translate import translated

    if model is not None:
        announce(model)
    done = translated(config, to, format=format, model=model, chosen=choices(**words))
    reported = done.reported()
    if style == "text":
        show_findings(reported)
    else:
        write_stderr(RENDERERS[style](reported))
    if lossless and not done.lossless:
        return LOSSY
    product(done.text, output)
    return OK
