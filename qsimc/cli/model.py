"""Commands that write a model or its encodings: build, quantize, calibrate, merge."""

from __future__ import annotations

from typing import Any

import click

from qsimc.calibrate.shard import Shard
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
    from qsimc.cli.ranks import one_voice
    from qsimc.pipeline.quantize import quantize as run

    with one_voice(backend) as ranks:
        announce(model, data)
        with bar("calibrating") as started:
            result = run(
                config, model=model, data=data, out=out, backend=backend, format=format, limit=limit, ranks=ranks,
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
@options.backend_option
@options.shard_option
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
    backend: str,
    shard: Shard | None,
    words: dict[str, Any],
    force: bool,
) -> int:
    """Find the encodings only, and keep the statistics they came from; of one shard, only the statistics.

    \b
    qsimc calibrate config.json --model m.onnx --data calibration.npz --out result
    qsimc calibrate config.json --model m.onnx --data calibration.npz --shard 2/4 --out shard2
    """
    from qsimc.cli.ranks import one_voice
    from qsimc.pipeline.merge import calibrate_shard
    from qsimc.pipeline.plan import choices
    from qsimc.pipeline.quantize import Inputs, calibrate_into

    chosen = choices(**words)
    with one_voice(backend) as ranks:
        if shard is not None and ranks.size > 1:
            raise click.UsageError("`--shard` is for one process; the processes of a launcher share the data anyway")
        announce(model, data)
        inputs = Inputs(config, model, data, format=format, backend=backend, limit=limit, batch_size=batch_size)
        with bar("calibrating") as started:
            if shard is None:
                result = calibrate_into(inputs, out=out, chosen=chosen, force=force, started=started, ranks=ranks)
            else:
                result = calibrate_shard(inputs, shard, out=out, chosen=chosen, force=force, started=started)
        show(result.findings)
        found = f"{len(result.encodings)} encodings from" if shard is None else f"statistics of shard {shard} of"
        write_stderr(f"{found} {result.samples} samples are in {printable(out)}\n")
    return OK


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...")
@options.out_option
@click.option("--config", metavar="CONFIG", help="Where the configuration is now, if it has moved.")
@click.option("--model", metavar="M", help="Where the model is now, if it has moved.")
@options.force_option
def merge(folders: tuple[str, ...], out: str, config: str | None, model: str | None, force: bool) -> int:
    """Merge all shards of a calibration: the encodings are those that one process would have found.

    \b
    qsimc merge shard1 shard2 shard3 shard4 --out result
    """
    from qsimc.pipeline.merge import merge as run

    announce(*filter(None, (model,)))
    result = run(folders, out=out, config=config, model=model, force=force)
    show(result.findings)
    write_stderr(f"{len(result.encodings)} encodings from {result.samples} samples are in {printable(out)}\n")
    return OK
