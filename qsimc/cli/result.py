"""Commands about a folder that `qsimc quantize` wrote: export, evaluate."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsimc.cli import options
from qsimc.cli.output import announce, colorful, product, show
from qsimc.cli.status import OK
from qsimc.render.text import printable

if TYPE_CHECKING:
    from qsimc.pipeline.evaluate import Evaluation

EXPORTS = ("qdq", "aimet-0.6.1", "aimet-1.0.0", "aimet-2.0.0", "aimet-2.1.0", "vitis")


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--to", required=True, type=click.Choice(EXPORTS), help="What to write.")
@click.option("--model", metavar="M", help="Where the model is now, if it has moved.")
@click.option("--out", metavar="DIR", help="Folder to write into; DIR itself if not said.")
def export(folder: str, to: str, model: str | None, out: str | None) -> int:
    """Write a result in another form.

    \b
    qsimc export result --to aimet-0.6.1
    """
    from qsimc.pipeline.export import export as run

    announce(*filter(None, (model,)))
    files, findings = run(Path(folder), to, model=model, out=None if out is None else Path(out))
    show(findings)
    product("".join(f"{file}\n" for file in files), None)
    return OK


@click.command()
@click.argument("folder", metavar="DIR")
@options.model_option
@options.data_options
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@options.output_option
def evaluate(
    folder: str,
    model: str,
    data: str,
    limit: int | None,
    batch_size: int | None,
    style: str,
    output: str | None,
) -> int:
    """Compare float model, simulation and QDQ model: SQNR per tensor, worst tensors first.

    \b
    qsimc evaluate result --model m.onnx --data test.npz
    """
    from qsimc.pipeline.evaluate import evaluate as run

    announce(model, data)
    found = run(Path(folder), model=model, data=data, limit=limit, batch_size=batch_size)
    show(found.findings)
    product(_document(found) if style == "json" else _table(found, output), output)
    return OK


def _document(found: Evaluation) -> str:
    document = {
        "format_version": "1.0",
        "samples": found.samples,
        "qdq_equals_simulation": found.qdq_equals_simulation,
        "outputs": [_finite(asdict(o)) for o in found.outputs],
        "tensors": [_finite(asdict(t)) for t in found.tensors],
    }
    return json.dumps(document, indent=2) + "\n"


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as JSON can say it: infinity (no error) and NaN (no signal, or not finite) become null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}


def _table(found: Evaluation, output: str | None) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    outputs = Table("output", "float / simulation", "float / QDQ", "simulation = QDQ", box=None, pad_edge=False)
    for o in found.outputs:
        apart = f"differs by up to {o.max_abs_simulation_qdq:.3g}" if o.finite else "not finite"
        between = "bit for bit" if o.equal else apart
        outputs.add_row(Text(printable(o.name)), _db(o.sqnr_float_simulation), _db(o.sqnr_float_qdq), between)
    tensors = Table("tensor, worst first", "operator", "SQNR", box=None, pad_edge=False)
    for t in found.tensors:
        tensors.add_row(Text(printable(t.tensor)), t.op or "", _db(t.sqnr))
    out = StringIO()
    color = output is None and colorful(sys.stdout)
    console = Console(file=out, force_terminal=color, no_color=not color, width=None if color else 160)
    console.print(outputs)
    console.print()
    console.print(tensors)
    console.print(f"{found.samples} samples", highlight=False)
    return out.getvalue()


def _db(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "exact" if math.isinf(value) else f"{value:.1f} dB"
