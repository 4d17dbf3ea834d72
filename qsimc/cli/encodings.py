"""Commands about encodings files: convert, lint, diff, merge, split, rename."""

from __future__ import annotations

import json
import math
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsimc.cli import options
from qsimc.cli.output import announce, colorful, product, show
from qsimc.cli.status import DIFFERENT, LOSSY, OK, status_of
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.render import RENDERERS, text
from qsimc.render.text import printable

if TYPE_CHECKING:
    from qsimc.encodings.edit import Difference
    from qsimc.pipeline.encodings import Product

FORMS = (
    "aimet-0.6.1", "aimet-1.0.0", "aimet-2.0.0", "aimet-2.1.0", "qnn-overrides", "tensorrt-cache", "qsimc",
)  # fmt: skip

_model_option = click.option("--model", metavar="M", help="The model: knows params from activations, and channels.")
_lossless_option = click.option(
    "--lossless", is_flag=True, help="Exit with 3, and write nothing, if something is lost."
)


@click.group()
def encodings() -> None:
    """Work on encodings files: AIMET's 0.6.1 to 2.1.0, SNPE and QNN overrides, TensorRT's caches, qsimc's, QDQ models.

    \b
    qsimc encodings lint model.encodings --model m.onnx
    qsimc encodings convert model.encodings --to aimet-0.6.1
    qsimc encodings convert model.qdq.onnx --to aimet-1.0.0
    """


@encodings.command()
@click.argument("file")
@click.option("--to", required=True, type=click.Choice(FORMS), help="What to write.")
@_model_option
@_lossless_option
@options.output_option
def convert(file: str, to: str, model: str | None, lossless: bool, output: str | None) -> int:
    """Write encodings in another version, and say what that version cannot hold.

    \b
    qsimc encodings convert model.encodings --to aimet-2.0.0 --model m.onnx --output new.encodings
    """
    from qsimc.pipeline.encodings import convert as run

    announce(*filter(None, (model,)))
    return _finish(run(file, to, model=model), output, lossless=lossless)


@encodings.command()
@click.argument("file", nargs=-1, required=True)
@_model_option
@click.option(
    "--fail-on", type=click.Choice([str(s) for s in Severity]), default="error", show_default=True,
    help="The least severity that makes the exit status 1.",
)  # fmt: skip
@click.option("--format", "style", type=click.Choice(list(RENDERERS)), default="text", show_default=True)
@options.output_option
def lint(file: tuple[str, ...], model: str | None, fail_on: str, style: str, output: str | None) -> int:
    """Report everything wrong with encodings files.

    \b
    qsimc encodings lint model.encodings --model m.onnx
    """
    from qsimc.pipeline.encodings_lint import lint as run

    announce(*filter(None, (model,)))
    findings: list[Diagnostic] = [finding for path in file for finding in run(path, model=model)]
    if style == "text":
        product(text.full(findings, color=output is None and colorful(sys.stdout)), output)
    else:
        product(RENDERERS[style](findings), output)
    return status_of(findings, Severity(fail_on))


@encodings.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.01,
    show_default=True,
    help="Steps that a range may move unreported: files hold rounded numbers.",
)
@click.option("--check", is_flag=True, help="Exit with 4 if there are differences.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@options.output_option
def diff(first: str, second: str, tolerance: float, check: bool, style: str, output: str | None) -> int:
    """Compare encodings tensor by tensor, in steps of the first file; versions may differ.

    \b
    qsimc encodings diff old.encodings new.encodings --tolerance 0.5
    """
    from qsimc.pipeline.encodings import diff as run

    found, findings = run(first, second, tolerance=tolerance)
    show(findings)
    product(_document(found) if style == "json" else _table(found, output), output)
    return DIFFERENT if check and found else OK


@encodings.command()
@click.argument("file", nargs=-1, required=True)
@click.option("--to", type=click.Choice(FORMS), help="What to write; the first file's version if not said.")
@_model_option
@_lossless_option
@options.output_option
def merge(file: tuple[str, ...], to: str | None, model: str | None, lossless: bool, output: str | None) -> int:
    """Write the union of encodings files.

    \b
    qsimc encodings merge encoder.encodings decoder.encodings --output model.encodings
    """
    from qsimc.pipeline.encodings import merge as run

    announce(*filter(None, (model,)))
    return _finish(run(file, to=to, model=model), output, lossless=lossless)


@encodings.command()
@click.argument("file")
@click.option("--model", "models", multiple=True, required=True, metavar="M", help="A part of the model; repeatable.")
@options.out_option
@options.force_option
def split(file: str, models: tuple[str, ...], out: str, force: bool) -> int:
    """Write the part of an encodings file that belongs to each model, `<model>.encodings`.

    \b
    qsimc encodings split model.encodings --model encoder.onnx --model decoder.onnx --out parts
    """
    from qsimc.pipeline.encodings import split as run

    announce(*models)
    files, findings = run(file, models=models, out=Path(out), force=force)
    show(findings)
    product("".join(f"{path}\n" for path in files), None)
    return OK


@encodings.command()
@click.argument("file")
@click.argument("names", nargs=-1, required=True, metavar="OLD=NEW...")
@options.output_option
def rename(file: str, names: tuple[str, ...], output: str | None) -> int:
    """Write an encodings file with tensors renamed.

    \b
    qsimc encodings rename model.encodings conv1.weight=stem.weight --output new.encodings
    """
    from qsimc.pipeline.encodings import rename as run

    mapping: dict[str, str] = {}
    for pair in names:
        old, equals, new = pair.partition("=")
        if not equals or not old or not new:
            raise click.UsageError(f"`{pair}` is not OLD=NEW")
        mapping[old] = new
    return _finish(run(file, mapping), output)


def _finish(made: Product, output: str | None, *, lossless: bool = False) -> int:
    """Print what was found and write the product, unless it was to be lossless and is not."""
    show(made.findings)
    if lossless and made.lossy:
        return LOSSY
    product(made.text, output)
    return OK


def _document(found: tuple[Difference, ...]) -> str:
    rows: list[dict[str, Any]] = [
        # JSON has no infinity: null is "cannot be said in steps".
        {"tensor": d.tensor, "kind": d.kind, "detail": d.detail, "steps": d.steps if math.isfinite(d.steps) else None}
        for d in found
    ]
    return json.dumps({"format_version": "1.0", "differences": rows}, indent=1) + "\n"


def _table(found: tuple[Difference, ...], output: str | None) -> str:
    if not found:
        return "no differences\n"
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("tensor", "difference", "steps", box=None, pad_edge=False)
    for d in found:
        steps = f"{d.steps:.3g}" if d.kind == "range" else ""
        table.add_row(Text(printable(d.tensor)), Text(printable(d.detail) or d.kind), steps)
    out = StringIO()
    color = output is None and colorful(sys.stdout)
    console = Console(file=out, force_terminal=color, no_color=not color, width=None if color else 160)
    console.print(table)
    return out.getvalue()
