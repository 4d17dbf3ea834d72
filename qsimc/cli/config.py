"""Commands about what a configuration does to a model: plan, why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from qsimc import formats
from qsimc.cli import options
from qsimc.cli.output import announce, colorful, product, show
from qsimc.cli.status import OK
from qsimc.render.text import printable

if TYPE_CHECKING:
    from qsimc.pipeline.plan import Choices, Session
    from qsimc.pipeline.ports import PortSession


@click.command()
@click.argument("config")
@options.from_option
@options.model_option
@options.choices_options
@click.option(
    "--format", "style", type=click.Choice(["table", "json", "md", "html"]), default="table", show_default=True
)
@options.output_option
def plan(
    config: str,
    format: str | None,
    model: str,
    words: dict[str, Any],
    style: str,
    output: str | None,
) -> int:
    """Show what happens to each tensor of a model, and which rule said so.

    \b
    qsimc plan config.json --model m.onnx
    qsimc plan aimet:default --model m.onnx --act int16 --format json
    """
    from qsimc.pipeline.plan import choices

    announce(model)
    with _session(config, model, choices(**words), format) as made:
        show(made.findings)
        product(_rendered(made, style, output), output)
    return OK


@contextmanager
def _session(config: str, model: str, chosen: Choices, format: str | None) -> Iterator[Session | PortSession]:
    """Resolve a configuration on a model: on its tensors, or for AIMET's torch half on its modules' ports."""
    if format in formats.READINGS:
        from qsimc.pipeline.ports import port_session

        yield port_session(config, model, chosen)
        return
    from qsimc.pipeline.plan import session

    with session(config, model, chosen, format=format) as made:
        yield made


def _rendered(made: Session | PortSession, style: str, output: str | None) -> Iterable[str]:
    """Return a plan in one of the styles of `qsimc plan`, in pieces."""
    if style == "json":
        from qsimc.planning.dump import plan_text

        config = {"path": made.config.source.path, "format": made.config.format}
        return plan_text(made.plan, config=config, model=made.reference)
    if style == "html":
        from qsimc.pipeline.plan import Session
        from qsimc.pipeline.report import plan_page

        if not isinstance(made, Session):
            raise click.UsageError("a plan of ports has no page; `--format` may be table, json or md")
        return (plan_page(made),)
    from qsimc.render import plans

    if style == "md":
        return (plans.markdown(made.plan),)
    color = output is None and colorful(sys.stdout)
    return (plans.table(made.plan, color=color),)


@click.command()
@click.argument("config")
@options.from_option
@options.model_option
@click.argument("tensor")
@click.argument("field", required=False)
@options.choices_options
def why(
    config: str,
    format: str | None,
    model: str,
    tensor: str,
    field: str | None,
    words: dict[str, Any],
) -> int:
    """Say which rule decided a tensor's quantization, which rules lost, and where they stand.

    \b
    qsimc why config.json --model m.onnx conv1.weight
    qsimc why config.json --model m.onnx conv1.weight bits
    """
    from qsimc.pipeline.plan import choices
    from qsimc.planning.why import render
    from qsimc.planning.why import why as explain

    announce(model)
    with _session(config, model, choices(**words), format) as made:
        try:
            answer = render(explain(made.plan, tensor, field))
        except LookupError as error:
            raise click.UsageError(printable(str(error.args[0]))) from error
        product("\n".join(map(printable, answer.split("\n"))), None)
    return OK
