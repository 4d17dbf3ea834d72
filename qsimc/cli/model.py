"""Commands that write a model or its encodings: build, quantize, calibrate."""

from __future__ import annotations

from typing import Any

import click

from qsimc.cli import options
from qsimc.cli.output import announce, show, write_stderr
from qsimc.cli.progress import bar
from qsimc.cli.status import OK
from qsimc.render.text import printable


@click.command()
@click.argument("config")
@options.from_option
@options.model_option
@options.out_option
@options.backend_option
@options.standalone_option
@options.choices_options
@options.force_option
def build(
    config: str,
    format: str | None,
    model: str,
    out: str,
    backend: str,
    standalone: bool,
    words: dict[str, Any],
    force: bool,
) -> int:
    """Write the instrumented model: one named quantizer per tensor, not calibrated yet.

    \b
    qsimc build config.json --model m.onnx --out built
    qsimc build config.json --model m.onnx --backend torch --standalone --out built
    """
    from qsimc.pipeline.build import build as run
    from qsimc.pipeline.plan import choices

    announce(model)
    chosen = choices(**words)
    plan, findings = run(
        config, model=model, out=out, chosen=chosen, format=format, backend=backend, standalone=standalone, force=force
    )
    show(findings)
    write_stderr(f"{len(plan.enabled())} quantizers placed; the model is in {printable(out)}\n")
    return OK


@click.command()
@click.argument("config")
@options.from_option
@options.model_option
@options.data_options
@options.out_option
@options.backend_option
@options.standalone_option
@options.choices_options
@options.force_option
def quantize(
    config: str,
    format: str | None,
    model: str,
    data: str,
    limit: int | None,
    batch_size: int | None,
    out: str,
    backend: str,
    standalone: bool,
    words: dict[str, Any],
    force: bool,
) -> int:
    """Plan, instrument, calibrate and export: the main job in one command.

    \b
    qsimc quantize config.json --model m.onnx --data calibration.npz --out result
    qsimc quantize aimet:default --model package.module:factory --data images/ --out result
    """
    from qsimc.pipeline.quantize import quantize as run

    announce(model, data)
    with bar("calibrating") as started:
        result = run(
            config, model=model, data=data, out=out, backend=backend, format=format, limit=limit,
            batch_size=batch_size, standalone=standalone, force=force, started=started, **words,
        )  # fmt: skip
    show(result.findings)
    write_stderr(
        f"{len(result.plan.enabled())} quantizers calibrated on {result.samples} samples;"
        f" the results are in {printable(out)}\n"
    )
    return OK


@click.command()
@click.argument("config")
@options.from_option
@options.model_option
@options.data_options
@options.out_option
@options.choices_options
@options.force_option
def calibrate(
    config: str,
    format: str | None,
    model: str,
    data: str,
    limit: int | None,
    batch_size: int | None,
    out: str,
    words: dict[str, Any],
    force: bool,
) -> int:
    """Find the encodings only, and keep the statistics they came from.

    \b
    qsimc calibrate config.json --model m.onnx --data calibration.npz --out result
    """
    from qsimc.pipeline.plan import choices
    from qsimc.pipeline.quantize import calibrate_into

    announce(model, data)
    with bar("calibrating") as started:
        result = calibrate_into(
            config, model=model, data=data, out=out, chosen=choices(**words), format=format,
            limit=limit, batch_size=batch_size, force=force, started=started,
        )  # fmt: skip
    show(result.findings)
    write_stderr(f"{len(result.encodings)} encodings from {result.samples} samples are in {printable(out)}\n")
    return OK
