"""The command `diff`: two configurations, rule by rule and tensor by tensor."""

from __future__ import annotations

import sys
from typing import Any

import click

from qsimc import formats
from qsimc.cli import options
from qsimc.cli.output import announce, colorful, product, show
from qsimc.cli.status import DIFFERENT, OK


def _known_format(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and value not in formats.names():
        raise click.BadParameter(f"no format `{value}`; there are {', '.join(formats.names())}")
    return value


@click.command()
@click.argument("config_a")
@click.argument("config_b")
@click.option(
    "--from-a", metavar="FORMAT", callback=_known_format, help="Format of CONFIG_A; guessed from its content."
)
@click.option(
    "--from-b", metavar="FORMAT", callback=_known_format, help="Format of CONFIG_B; guessed from its content."
)
@click.option("--model", metavar="M", help="Also tensor by tensor: an .onnx file, or package.module:factory.")
@options.choices_options
@click.option("--check", is_flag=True, help="Exit with status 4 if they differ.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.output_option
def diff(
    config_a: str,
    config_b: str,
    from_a: str | None,
    from_b: str | None,
    model: str | None,
    words: dict[str, Any],
    check: bool,
    style: str,
    output: str | None,
) -> int:
    """Say how two configurations differ in meaning, whatever their order and format.

    With a model, also what that does to each tensor, with both reasons.  AIMET's two halves place quantizers
    differently; `--from-b aimet-torch` compares them on one PyTorch model.

    \b
    qsimc diff old.json new.json
    qsimc diff old.json new.json --model m.onnx
    qsimc diff cfg.json cfg.json --from-b aimet-torch --model nets:resnet
    """
    from qsimc.pipeline.diff import Side
    from qsimc.pipeline.diff import diff as run
    from qsimc.pipeline.plan import choices
    from qsimc.render import diffs

    if model is not None:
        announce(model)
    found = run(Side(config_a, from_a), Side(config_b, from_b), choices(**words), model)
    show(found.findings)
    if style == "json":
        product(diffs.document(found.before, found.after, model, found.rules, found.tensors), output)
    else:
        color = output is None and colorful(sys.stdout)
        product(diffs.text(found.before, found.after, found.rules, found.tensors, color=color), output)
    return DIFFERENT if check and not found.same else OK
