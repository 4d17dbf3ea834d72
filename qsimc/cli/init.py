"""The command `init`: a configuration to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from qsimc import targets
from qsimc.cli import options
from qsimc.cli.output import product
from qsimc.cli.status import OK
from qsimc.diagnostics import did_you_mean


def _known_target(_: click.Context, __: click.Parameter, name: str) -> str:
    if name in (*targets.hardware(), *targets.families()):
        return name
    near = did_you_mean(name, targets.hardware())
    said = f"did you mean `{near}`?" if near else f"there are {', '.join(targets.hardware())}"
    raise click.BadParameter(f"no target `{name}`; {said}")


@click.command()
@click.option(
    "--target", required=True, metavar="NAME", callback=_known_target, help="A hardware target (`qsimc targets`)."
)
@options.output_option
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
def init(target: str, output: str | None, force: bool) -> int:
    """Print a configuration to begin with: what a target sets and requires, and how to say something else.

    \b
    qsimc init --target htp-v73
    qsimc init --target vitis-dpu --output config.qsim
    """
    from qsimc.pipeline.starter import starter

    if output is not None and Path(output).is_file() and not force:
        raise click.UsageError(f"`{output}` exists; say `--force` to replace it")
    product(starter(target), output)
    return OK
