"""Text to Config, and everything that can be said about it."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from os import PathLike
from pkgutil import iter_modules
from typing import cast

from qsimc import checks, formats, targets
from qsimc.checks import Check
from qsimc.diagnostics import ConfigError, Diagnostic, Report, Severity, in_order, in_vendor_order
from qsimc.ir.config import Config
from qsimc.planning.mode import Mode
from qsimc.reading import read_source
from qsimc.source import Source


def load(reference: str, report: Report, format: str | None = None) -> Config | None:
    """Return the configuration behind a path, `-` or a built-in name; None after reporting why there is none."""
    source = read_source(reference, report)
    return None if source is None else formats.read(source, report, format)


def read(path: str | PathLike[str], *, format: str | None = None) -> Config:
    """Return a configuration.

    Raises:
        ConfigError: it has errors; carries all findings.
        LookupError: `format` names no format.
    """
    findings: list[Diagnostic] = []
    config = load(str(path), findings.append, format)
    if config is None or any(d.severity is Severity.ERROR for d in findings):
        raise ConfigError(in_order(findings))
    return config


def check(
    path: str | PathLike[str],
    *,
    model: str | None = None,
    target: str | None = None,
    format: str | None = None,
    mode: str = "fixed",
) -> list[Diagnostic]:
    """Return everything wrong with a configuration, in the order of the file.

    A target's restrictions are those of `target`, else of the one that the configuration names.

    With a model the configuration is also bound to it, so that what its rules do there is checked too.
    In vendor mode an error stands if and only if the vendor's tool refuses the file as well; what it takes in
    silence is a warning.  What that tool itself would print first then comes first (`first_complaint`).

    Raises:
        LookupError: `format` or `target` names nothing.
    """
    if target is not None:
        targets.load(target)
    config, findings = examined(str(path), format=format, mode=Mode(mode), target=target)
    if config is not None and model is not None and not any(d.severity is Severity.ERROR for d in findings):
        # Imported here: binding needs a runtime, checking alone must not.
        from qsimc.pipeline.plan import bind

        bind(config, model, findings.append, mode=Mode(mode))
    return in_vendor_order(findings) if Mode(mode) is Mode.VENDOR else in_order(findings)


def examined(
    reference: str, *, format: str | None, mode: Mode, target: str | None = None
) -> tuple[Config | None, list[Diagnostic]]:
    """Return a configuration and everything wrong with it; no configuration where it cannot be read."""
    findings: list[Diagnostic] = []
    source = read_source(reference, findings.append)
    if source is None:
        return None, findings
    return check_source(source, format=format, mode=mode, target=target)


def check_source(
    source: Source, *, format: str | None = None, mode: Mode = Mode.FIXED, target: str | None = None
) -> tuple[Config | None, list[Diagnostic]]:
    """Return the configuration in a text and everything wrong with it; the text need not be that of a file."""
    findings: list[Diagnostic] = []
    config = formats.read(source, findings.append, format)
    if config is not None:
        if target is not None and target != config.target:
            config = replace(config, target=target, target_span=None)
        for run in _checks():
            run(config, findings.append)
    vendor_reads_it = config is None or config.format != "qsim"
    return config, [_as_vendor(d) for d in findings] if mode is Mode.VENDOR and vendor_reads_it else findings


def _checks() -> tuple[Check, ...]:
    """Return every check: the function `check` of each module in qsimc/checks."""
    modules = sorted(module.name for module in iter_modules(checks.__path__))
    return tuple(cast(Check, import_module(f"qsimc.checks.{name}").check) for name in modules)


def _as_vendor(d: Diagnostic) -> Diagnostic:
    """Demote an error about content that the vendor's tool accepts, and make what it stops at an error."""
    content = d.code[:3] in ("Q02", "Q03", "Q04") or d.code in ("Q0103", "Q0105")
    if d.vendor is not None and d.vendor.order:
        return replace(d, severity=Severity.ERROR)
    silent = d.severity is Severity.ERROR and d.vendor is None and content
    return replace(d, severity=Severity.WARNING) if silent else d
