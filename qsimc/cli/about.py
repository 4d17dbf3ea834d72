"""Commands about qsimc itself: explain, targets, capabilities."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from typing import Any

import click

import qsimc
from qsimc import explain as pages
from qsimc import formats
from qsimc import targets as builtin
from qsimc.cli import options
from qsimc.cli.output import product
from qsimc.cli.status import BUG, FINDINGS, INTERRUPTED, OK, USAGE
from qsimc.diagnostics import did_you_mean
from qsimc.ir.quant import Calib
from qsimc.planning.mode import Mode
from qsimc.render import RENDERERS
from qsimc.rewrites import REWRITES

_STYLE = click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.command()
@click.argument("code", required=False)
@click.option("--all", "everything", is_flag=True, help="Every page.")
@_STYLE
@options.output_option
def explain(code: str | None, everything: bool, style: str, output: str | None) -> int:
    """Explain a diagnostic code or a built-in rule.

    \b
    qsimc explain Q0201
    qsimc explain aimet-grid-preserving
    qsimc explain --all --format json
    """
    if (code is None) != everything:
        raise click.UsageError("name one CODE, or say --all")
    found = pages.pages() if code is None else (_page(code),)
    if style == "json":
        document = {
            "format_version": "1.0",
            "pages": [{"code": p.code, "title": p.title, "text": p.text} for p in found],
        }
        product(json.dumps(document, indent=2) + "\n", output)
    else:
        product("\n\n".join(p.text.rstrip("\n") for p in found) + "\n", output)
    return OK


def _page(code: str) -> pages.Page:
    try:
        return pages.explain(code)
    except LookupError as error:
        known = [known for folder in pages.FOLDERS for known in pages.codes(folder)]
        near = did_you_mean(code, known)
        said = f"{error.args[0]}; did you mean `{near}`?" if near else f"{error.args[0]}; `--all` shows every page"
        raise click.UsageError(said) from error


@click.command()
@click.argument("name", required=False)
@_STYLE
@options.output_option
def targets(name: str | None, style: str, output: str | None) -> int:
    """List the built-in configurations and the hardware targets, or print one.

    \b
    qsimc targets
    qsimc targets aimet:default
    qsimc targets htp-v73
    qsimc targets --format json
    """
    if name is not None and name not in (*builtin.names(), *builtin.hardware(), *builtin.families()):
        near = did_you_mean(name, (*builtin.names(), *builtin.hardware()))
        said = f"did you mean `{near}`?" if near else "`qsimc targets` lists them"
        raise click.UsageError(f"nothing built in is called `{name}`; {said}")
    listed = (*builtin.names(), *builtin.hardware()) if name is None else (name,)
    if style == "json":
        document = {"format_version": "1.0", "targets": [_target(known, text=name is not None) for known in listed]}
        product(json.dumps(document, indent=2) + "\n", output)
    elif name is not None:
        product(builtin.source(name).text, output)
    else:
        width = max(map(len, listed)) + 2
        product("".join(f"{known:<{width}}{builtin.title(known)}\n" for known in listed), output)
    return OK


def _target(name: str, *, text: bool) -> dict[str, str]:
    kind = "configuration" if name in builtin.names() else "family" if name in builtin.families() else "hardware"
    found = {"name": name, "kind": kind, "title": builtin.title(name)}
    return found | ({"text": builtin.source(name).text} if text else {})


@click.command()
@_STYLE
@options.output_option
def capabilities(style: str, output: str | None) -> int:
    """Say what this installation can do, for programs.

    \b
    qsimc capabilities --format json
    """
    found = _capabilities()
    if style == "json":
        product(json.dumps(found, indent=2) + "\n", output)
    else:
        lines = [
            f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in found.items()
        ]
        product("\n".join(lines) + "\n", output)
    return OK


def _capabilities() -> dict[str, Any]:
    from qsimc.cli.result import EXPORTS

    return {
        "format_version": "1.0",
        "qsimc": qsimc.__version__,
        "formats": list(formats.names()),
        "targets": [*builtin.names(), *builtin.hardware()],
        "backends": sorted(entry.name for entry in entry_points(group="qsimc.backends")),
        "captures": sorted(entry.name for entry in entry_points(group="qsimc.captures")),
        "calib": [str(c) for c in Calib],
        "modes": [str(m) for m in Mode],
        "rewrites": list(REWRITES),
        "diagnostic_formats": list(RENDERERS),
        "exports": list(EXPORTS),
        "codes": list(pages.codes("diagnostics")),
        "rules": list(pages.codes("rules")),
        "exit_codes": {"ok": OK, "findings": FINDINGS, "usage": USAGE, "bug": BUG, "interrupted": INTERRUPTED},
    }
