"""The command that reports everything wrong with configurations, and mends what it can."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsimc.cli import options
from qsimc.cli.output import colorful, columns, product, write_stderr
from qsimc.cli.status import FINDINGS, OK, UNREADABLE, status_of
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.render import RENDERERS, text
from qsimc.settings import Settings, nearest
from qsimc.settings import read as read_settings

if TYPE_CHECKING:
    from qsimc.pipeline.batch import Request
    from qsimc.pipeline.inputs import Input


@dataclass(frozen=True, slots=True)
class Report:
    """One way in which the findings are wanted: a style, and a file for it or None for stdout."""

    style: str
    file: str | None = None


class ReportType(click.ParamType[Report]):
    """`STYLE`, or `STYLE=FILE`."""

    name = "style[=file]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Report:
        if isinstance(value, Report):
            return value
        style, _, file = str(value).partition("=")
        if style not in RENDERERS:
            self.fail(f"no style `{style}`; there are {', '.join(RENDERERS)}", param, ctx)
        return Report(style, file or None)


@click.command()
@click.argument("config", nargs=-1, required=True)
@options.from_option
@click.option(
    "--target", metavar="NAME", help="Check against a hardware target (`qsimc targets`); `all` lists which accept it."
)
@click.option("--suggest", is_flag=True, help="With --target: the fewest edits that make CONFIG legal for it.")
@click.option("--model", metavar="M", help="Also bind to a model: which rules apply, and to what.")
@options.mode_or_settings_option
@click.option(
    "--fail-on", type=click.Choice([str(s) for s in Severity]),
    help="The least severity that makes the exit status 1; error unless settings say otherwise.",
)  # fmt: skip
@click.option("--exit-zero", is_flag=True, help="Findings do not change the exit status.")
@click.option(
    "--format", "reports", type=ReportType(), multiple=True, metavar="STYLE[=FILE]",
    help=f"{', '.join(RENDERERS)}; text unless said.  May be repeated, to write several reports at once.",
)  # fmt: skip
@options.output_option
@click.option("--fix", is_flag=True, help="Write the safe fixes into the files, which are otherwise left as they are.")
@click.option("--diff", is_flag=True, help="With --fix: print what would change, and change nothing.")
@click.option("--baseline", metavar="FILE", help="Report only findings that this file does not know.")
@click.option("--update-baseline", is_flag=True, help="Write all findings into the baseline.")
@click.option("--ignore-unknown", is_flag=True, help="Pass over files of no format that qsimc knows.")
@click.option("--settings", metavar="FILE", help="Settings for all files, instead of the nearest qsimc.toml of each.")
@click.option("--isolated", is_flag=True, help="Look for no settings.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; as many as pay off unless said.")
def check(
    config: tuple[str, ...],
    format: str | None,
    target: str | None,
    suggest: bool,
    model: str | None,
    mode: str | None,
    fail_on: str | None,
    exit_zero: bool,
    reports: tuple[Report, ...],
    output: str | None,
    fix: bool,
    diff: bool,
    baseline: str | None,
    update_baseline: bool,
    ignore_unknown: bool,
    settings: str | None,
    isolated: bool,
    jobs: int | None,
) -> int:
    """Report everything wrong with configurations.

    CONFIG is a file, a folder, a pattern such as `configs/**/*.json`, `-` for stdin, or a built-in name.  Of a
    folder or pattern, files that are no configurations are passed over.

    \b
    qsimc check config.json
    qsimc check configs --target vitis-dpu --fail-on warning
    qsimc check config.json --target all
    qsimc check config.json --target vitis-dpu --suggest
    qsimc check config.json --fix --diff
    qsimc check configs --format text --format sarif=findings.sarif
    qsimc check configs --baseline known.json --update-baseline
    """
    from qsimc.cli.suggestions import refuse_with_targets, show_matrix, show_suggestion
    from qsimc.pipeline.batch import Request, check_all
    from qsimc.pipeline.inputs import inputs
    from qsimc.targets import ALL

    wanted = _wanted(reports, output)
    _refuse_contradictions(config, fix=fix, diff=diff, settings=settings, isolated=isolated)
    everywhere = Settings() if isolated else None if settings is None else read_settings(Path(settings))
    here = everywhere or nearest(Path())
    known = baseline or _beside(here, here.baseline)
    if update_baseline and known is None:
        raise click.UsageError("`--update-baseline` needs `--baseline FILE`")
    missing: list[Diagnostic] = []
    files = inputs(config, missing.append, everywhere)
    request = Request(format, target, model, mode, ignore_unknown)
    if suggest or target == ALL:
        others = {"--model": model, "--fix": fix, "--baseline": baseline, "--update-baseline": update_baseline}
        refuse_with_targets(config, [name for name, given in others.items() if given])
        counted = Severity(fail_on) if fail_on else here.fail_on or Severity.ERROR
        show_ = show_suggestion if suggest else show_matrix
        status = show_(files, missing, request, [(report.style, report.file) for report in wanted], counted)
        return OK if exit_zero and status == FINDINGS else status
    try:
        if fix and not diff:
            _fix(files, request)
        checked = check_all(files, request, jobs=jobs)
        if diff:
            product(_patch(files, request), output)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error
    findings = [*missing, *checked.findings]
    if known is not None:
        findings = _new_ones(findings, known, update=update_baseline)
    for report in () if diff else wanted:
        _write(findings, report)
    _remark(findings, len(checked.skipped), wanted, quiet=diff)
    counted = Severity(fail_on) if fail_on else here.fail_on or Severity.ERROR
    status = status_of(findings, counted)
    return OK if exit_zero and not any(d.code in UNREADABLE for d in findings) else status


def _wanted(reports: Sequence[Report], output: str | None) -> list[Report]:
    """Return the reports to write: the one for stdout goes to `--output` if there is one."""
    wanted = list(reports) or [Report("text")]
    loose = [report for report in wanted if report.file is None]
    if len(loose) > 1:
        raise click.UsageError("only one report can go to stdout; write the others as `--format STYLE=FILE`")
    if output is not None and not loose:
        raise click.UsageError("every report has a file already; leave `--output` out")
    files = [report.file for report in wanted if report.file is not None] + ([output] if output else [])
    if len(set(files)) < len(files):
        raise click.UsageError("two reports cannot be written into one file")
    return [Report(report.style, report.file or output) for report in wanted]


def _refuse_contradictions(
    config: Sequence[str], *, fix: bool, diff: bool, settings: str | None, isolated: bool
) -> None:
    if diff and not fix:
        raise click.UsageError("`--diff` shows what `--fix` would change; give both")
    if isolated and settings is not None:
        raise click.UsageError("`--isolated` and `--settings` exclude one another")
    if config.count("-") > 1:
        raise click.UsageError("stdin can be read only once")
    if fix and "-" in config:
        raise click.UsageError("`--fix` changes files, stdin is none")


def _beside(settings: Settings, name: str | None) -> str | None:
    """Return a path that settings name, from their folder."""
    return None if name is None else os.path.relpath((settings.folder or Path()) / name)


def _write(findings: Sequence[Diagnostic], report: Report) -> None:
    if report.style == "text" and report.file is None:
        product(text.full(findings, color=colorful(sys.stdout), width=columns(sys.stdout)), None)
    else:
        product(RENDERERS[report.style](findings), report.file)


def _remark(findings: Sequence[Diagnostic], skipped: int, reports: Sequence[Report], *, quiet: bool) -> None:
    """Say beside the product what it does not say."""
    if skipped:
        noun = "file was" if skipped == 1 else "files were"
        write_stderr(f"{skipped} {noun} passed over: no configuration of a format that qsimc reads\n")
    if quiet:
        write_stderr(f"{text.summary(findings)}\n")
    safe = sum(any(fix.safe for fix in d.fixes[:1]) for d in findings)
    if safe and not quiet:
        write_stderr(f"{safe} of {len(findings)} have a safe fix, which `--fix` makes and `--fix --diff` shows\n")
    if os.environ.get("GITHUB_ACTIONS") == "true" and all(report.style != "github" for report in reports):
        # The runner reads both streams; on stdout the lines would break a report for a program.
        write_stderr(RENDERERS["github"](findings))


def _new_ones(findings: Sequence[Diagnostic], path: str, *, update: bool) -> list[Diagnostic]:
    """Return the findings that a baseline does not know; none are new to the one that is being written."""
    from qsimc.pipeline import baseline

    lasting = [d for d in findings if d.code not in UNREADABLE]
    if update:
        baseline.write(path, lasting)
        write_stderr(f"{path}: {text.summary(lasting)}\n")
        return [d for d in findings if d.code in UNREADABLE]
    new, gone = baseline.read(path).split(findings)
    for said in gone:
        write_stderr(f"{path}: no longer found, `--update-baseline` forgets it: {text.printable(said)}\n")
    return new


def _fix(files: Sequence[Input], request: Request) -> None:
    """Write fixed files, each whole or not at all."""
    from qsimc.pipeline.fixing import fixed, write

    for file in fixed(files, request):
        write(file)
        write_stderr(f"{text.printable(file.path)}: {file.fixes} {'fix' if file.fixes == 1 else 'fixes'} made\n")


def _patch(files: Sequence[Input], request: Request) -> Iterator[str]:
    """Yield what fixing would change, as a patch."""
    from qsimc.pipeline.fixing import fixed
    from qsimc.render.patch import patch

    for file in fixed(files, request):
        yield from patch(file.path, file.before, file.after)
