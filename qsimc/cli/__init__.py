"""The command line: parse, call one function, render, choose the exit status.

A command's module is imported when the command is used, so that `qsimc check` stays light.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

import qsimc
from qsimc.cli.output import show
from qsimc.cli.status import BUG, INTERRUPTED, OK, USAGE, status_of
from qsimc.diagnostics import InputError

_HOME = {
    "breaking": "breaking",
    "build": "model",
    "calibrate": "model",
    "capabilities": "about",
    "check": "check",
    "diff": "diff",
    "encodings": "encodings",
    "evaluate": "result",
    "explain": "about",
    "export": "result",
    "fmt": "fmt",
    "init": "init",
    "lsp": "lsp",
    "merge": "model",
    "plan": "config",
    "quantize": "model",
    "schema": "schema",
    "targets": "about",
    "translate": "translate",
    "why": "config",
}


class _Commands(click.Group):
    """Commands by name, each imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_HOME)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOME:
            return None
        module = import_module(f"qsimc.cli.{_HOME[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit status: 0 no findings, 1 findings, 2 usage or unreadable input, 101 a bug in qsimc, 130 interrupted.",
)
@click.version_option(qsimc.__version__, prog_name="qsimc")
def qsimc_command() -> None:
    """The compiler for quantization configurations.

    \b
    qsimc check config.json                                    what is wrong with it
    qsimc plan config.json --model m.onnx                      what happens to each tensor
    qsimc why config.json --model m.onnx conv1.weight          which rule decided
    qsimc quantize config.json --model m.onnx --data d.npz --out result
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    # What a command makes lives until it ends; looking for garbage often would be a fifth of a large plan's time.
    gc.set_threshold(2_000_000, 20, 20)
    try:
        status = qsimc_command.main(args=list(arguments), prog_name="qsimc", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else OK
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE
    except InputError as error:
        show(error.findings)
        return status_of(error.findings)
    except (KeyboardInterrupt, click.Abort) as interrupt:
        click.echo(f"interrupted{_where(interrupt)}; nothing was written", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone, which is no mistake; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception:  # the only place that catches everything: what arrives here is a bug of ours
        click.echo(_bug(arguments), err=True)
        return BUG


def _where(interrupt: BaseException) -> str:
    """Return where work stood, if the interrupted part said so; click wraps the interrupt in its own."""
    said = (interrupt.__cause__ or interrupt).args
    return f" {said[0]}" if said and isinstance(said[0], str) else ""


def _bug(arguments: Sequence[str]) -> str:
    return (
        f"{traceback.format_exc()}\n"
        f"This is a bug in qsimc {qsimc.__version__}, not a mistake of yours.  Please report it with the lines above,\n"
        f"the command `qsimc {' '.join(arguments)}` and, if you can share them, the files it names."
    )


def main() -> None:
    """Entry point of the `qsimc` program.

    Ends without taking a large plan apart object by object; every file is closed and every stream flushed by then.
    """
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
