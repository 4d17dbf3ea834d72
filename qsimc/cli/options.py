"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

import click

from qsimc import formats
from qsimc.calibrate.shard import Shard
from qsimc.ir.quant import Calib, precision
from qsimc.planning.mode import Mode
from qsimc.rewrites import REWRITES

Command = TypeVar("Command", bound=Callable[..., Any])


class Precision(click.ParamType[str]):
    """A precision such as int8 or float16."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            precision(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def _known_format(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and value not in formats.names():
        raise click.BadParameter(f"no format `{value}`; there are {', '.join(formats.names())}")
    return value


def _shard(_: click.Context, __: click.Parameter, value: str | None) -> Shard | None:
    try:
        return None if value is None else Shard.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


from_option = click.option(
    "--from", "format", metavar="FORMAT", callback=_known_format, help="Format of CONFIG; guessed from its content."
)
shard_option = click.option(
    "--shard",
    metavar="I/N",
    callback=_shard,
    help="Observe every Nth batch, from the Ith on: 1/4, 2/4, 3/4, 4/4; `qsimc merge` puts shards together.",
)
backend_option = click.option("--backend", default="onnx", show_default=True, help="What the model is written for.")
standalone_option = click.option(
    "--standalone", is_flag=True, help="Write a PyTorch module that needs torch only, the runtime in it."
)
model_option = click.option(
    "--model", required=True, metavar="M", help="An .onnx file, or package.module:factory (runs that code)."
)
data_option = click.option(
    "--data", required=True, metavar="D", help="An .npz, a folder of .npy/.npz batches, or package.module:factory."
)
out_option = click.option("--out", required=True, metavar="DIR", help="Folder for the results; written whole or not.")
output_option = click.option("--output", metavar="FILE", help="Write there instead of to stdout.")
_mode = partial(
    click.option,
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    help="vendor: the vendor tool's own verdicts and numbers; fixed: what its document intends.",
)
mode_option = _mode(default=str(Mode.FIXED), show_default=True)
mode_or_settings_option = _mode(default=None)
force_option = click.option("--force", is_flag=True, help="Replace files in DIR that qsimc did not write.")


def choices_options(command: Command) -> Command:
    """Add what the user decides outside the configuration; the command gets it as `words`, for `choices(**words)`."""

    @wraps(command)
    def with_words(*, act: str, param: str, calib: str, mode: str, rewrite: tuple[str, ...], **others: Any) -> Any:
        return command(words={"act": act, "param": param, "calib": calib, "mode": mode, "rewrites": rewrite}, **others)

    found: Any = with_words
    for option in (
        mode_option,
        click.option(
            "--rewrite", multiple=True, type=click.Choice(REWRITES),
            help="Rewrite the float model first; may be repeated.",
        ),
        click.option(
            "--calib", type=click.Choice([str(c) for c in Calib]), default="minmax", show_default=True,
            help="How ranges are estimated where the configuration does not say.",
        ),
        click.option("--param", type=Precision(), default="int8", show_default=True, help="Precision of params."),
        click.option("--act", type=Precision(), default="int8", show_default=True, help="Precision of activations."),
    ):  # fmt: skip
        found = option(found)
    return cast(Command, found)


def data_options(command: Command) -> Command:
    """Add what chooses and cuts the data."""
    for option in (
        click.option("--batch-size", type=click.IntRange(min=1), help="Samples per run of the model."),
        click.option("--limit", type=click.IntRange(min=0), help="Use at most so many samples."),
        data_option,
    ):
        command = option(command)
    return command
