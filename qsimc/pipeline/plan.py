"""Config and model to Plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from qsimc.backend import Backend, Model, load_backend, load_capture
from qsimc.diagnostics import Diagnostic, InputError, Report, Severity, in_order
from qsimc.entry import split_reference
from qsimc.garbage import uncollected
from qsimc.ir.config import Config
from qsimc.ir.quant import Calib, precision
from qsimc.outputs import safe_name
from qsimc.pipeline.check import examined
from qsimc.pipeline.rewritten import rewritten_findings
from qsimc.planning.matches import report_counts
from qsimc.planning.plan import PORT_DIALECT, Mode, Plan
from qsimc.planning.resolve import resolve
from qsimc.planning.unsimulated import report_unsimulated
from qsimc.planning.vitis.resolve import DIALECT
from qsimc.planning.vitis.resolve import resolve as resolve_vitis
from qsimc.planning.vitis.rewrites import rewrites


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user decides outside the configuration: precisions it does not state, and how ranges are estimated.

    `rewrites` are what the float model goes through besides what the configuration asks for.
    """

    act: str = "int8"
    param: str = "int8"
    calib: Calib = Calib.MINMAX
    percentile: float | None = None
    mode: Mode = Mode.FIXED
    rewrites: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse words that are no precision.

        Raises:
            ValueError: the message says what a precision looks like.
        """
        precision(self.act)
        precision(self.param)


def choices(act: str, param: str, calib: str, mode: str, rewrites: tuple[str, ...] = ()) -> Choices:
    """Return the choices that words spell.

    Raises:
        ValueError: a word is none of those that its choice has.
    """
    return Choices(act=act, param=param, calib=Calib(calib), mode=Mode(mode), rewrites=rewrites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A configuration resolved on an opened model, and what was found on the way (no errors).

    `reference` is the model in the user's words; `model.path` is the ONNX file, captured or not, and `model` what
    rewrites made of it, if there were any.
    """

    config: Config
    reference: str
    model: Model
    backend: Backend
    plan: Plan
    findings: tuple[Diagnostic, ...]
    rewritten: bool = False


@contextmanager
def session(
    config: Config | str | PathLike[str],
    model: str | PathLike[str],
    chosen: Choices,
    *,
    format: str | None = None,
    backend: str = "onnx",
) -> Iterator[Session]:
    """Read a configuration, open a model and resolve the one on the other.

    A model captured from Python lives in a private folder until the block ends.

    Raises:
        InputError: any of it failed; carries every finding.
        LookupError: no such format.
    """
    runtime = installed_backend(backend)
    read: Config | None = config if isinstance(config, Config) else None
    findings: list[Diagnostic] = []
    if read is None:
        read, findings = examined(str(config), format=format, mode=chosen.mode)
    stop_on_errors(findings)
    if read is not None and read.dialect == PORT_DIALECT:
        raise InputError([_ports_only(read)])
    with opened(str(model), findings.append, runtime) as opened_model:
        stop_on_errors(findings)
        assert read is not None
        assert opened_model is not None
        bound = resolve_on(runtime, opened_model, read, chosen, findings.append)
        stop_on_errors(findings)
        assert bound is not None
        yield Session(
            config=read,
            reference=str(model),
            model=bound.model,
            backend=runtime,
            plan=bound.plan,
            findings=tuple(in_order(findings)),
            rewritten=bound.rewritten,
        )


def stop_on_errors(findings: list[Diagnostic]) -> None:
    """Raise InputError with all findings if there is an error among them."""
    if any(d.severity is Severity.ERROR for d in findings):
        raise InputError(in_order(findings))


@contextmanager
def opened(reference: str, report: Report, backend: Backend | None = None) -> Iterator[Model | None]:
    """Open a model: an .onnx file, or `package.module:factory`, which is captured to one first.

    Gives None after reporting what is wrong.
    """
    backend = backend or installed_backend("onnx")
    if split_reference(reference) is None or Path(reference).exists():
        yield backend.open(reference, report)
        return
    with TemporaryDirectory(prefix="qsimc-") as folder:
        try:
            capture = load_capture("torch")
        except LookupError as error:
            raise InputError([not_installed(str(error.args[0]), "torch")]) from error
        path = capture(reference, Path(folder), report)
        yield None if path is None else backend.open(str(path), report)


def installed_backend(name: str) -> Backend:
    """Return a backend.

    Raises:
        InputError: Q0509, it is not installed.
    """
    try:
        return load_backend(name)
    except LookupError as error:
        raise InputError([not_installed(str(error.args[0]), name)]) from error


def not_installed(message: str, extra: str) -> Diagnostic:
    """Return Q0509: a package that this work needs is not there; `extra` names what to install."""
    return Diagnostic(
        code="Q0509",
        name="not-installed",
        severity=Severity.ERROR,
        message=message,
        helps=(f"install it: `pip install 'qsimc[{extra}]'`",),
    )


def _ports_only(config: Config) -> Diagnostic:
    return Diagnostic(
        code="Q0515",
        name="ports-cannot-be-built",
        severity=Severity.ERROR,
        message=f"`{PORT_DIALECT}` puts quantizers on the ports of modules, and this command needs them on tensors",
        path=config.source.path,
        helps=("read the configuration as `--from aimet`", "`plan`, `why`, `check` and `diff` know ports"),
    )


@dataclass(frozen=True, slots=True)
class Bound:
    """A plan and the model that it is for: the one that was opened, or what rewrites made of it."""

    model: Model
    plan: Plan
    rewritten: bool = False


@uncollected()
def resolve_on(backend: Backend, model: Model, config: Config, chosen: Choices, report: Report) -> Bound | None:
    """Rewrite an opened model as asked and resolve a configuration on it; None after reporting why it cannot be."""

    # What no line of the configuration is to blame for is about the model.
    def placed(d: Diagnostic) -> None:
        report(d if d.file else replace(d, path=model.path))

    if report_unsimulated(config, placed):
        return None
    vitis = config.dialect == DIALECT
    asked = (*(rewrites(config, chosen.mode) if vitis else ()), *chosen.rewrites)
    rewritten, changes = backend.rewrite(model, asked) if asked else (model, ())
    for finding in rewritten_findings(changes, config, chosen.rewrites):
        placed(finding)
    plan = _resolved(rewritten, config, chosen, placed)
    if plan is not None and plan.edges:
        rewritten = backend.split_edges(rewritten, plan.edges)
        # Everything that there is to report has been.
        plan = _resolved(rewritten, config, chosen, lambda _: None)
    if plan is None:
        return None
    made_by = tuple(dict.fromkeys(change.rewrite for change in changes))
    return Bound(rewritten, replace(plan, rewrites=made_by), rewritten is not model)


def _resolved(model: Model, config: Config, chosen: Choices, report: Report) -> Plan | None:
    if config.dialect == DIALECT:
        return resolve_vitis(config, model.graph, report, model=safe_name(Path(model.path).stem), mode=chosen.mode)
    return resolve(
        config,
        model.graph,
        report,
        act=chosen.act,
        param=chosen.param,
        calib=chosen.calib,
        percentile=chosen.percentile,
        mode=chosen.mode,
    )


def bind(config: Config, model: str, report: Report, *, mode: Mode) -> None:
    """Resolve a configuration on a model for the sake of what there is to report about it."""
    if config.dialect == PORT_DIALECT:
        from qsimc.pipeline.ports import resolve_model  # it imports this module

        resolve_model(config, model, Choices(mode=mode), report)
        return
    backend = installed_backend("onnx")
    with opened(model, report, backend) as opened_model:
        if opened_model is not None:
            bound = resolve_on(backend, opened_model, config, Choices(mode=mode), report)
            if bound is not None and config.dialect != DIALECT:
                report_counts(config, bound.model.graph, report)


def plan(
    config: Config | str | PathLike[str],
    model: str | PathLike[str],
    *,
    act: str = "int8",
    param: str = "int8",
    calib: str = "minmax",
    mode: str = "fixed",
) -> Plan:
    """Return one resolved specification per tensor of a model.

    Args:
        config: a configuration, or where it is.
        model: an .onnx file or `package.module:factory`.
        act, param: precision of activations and params that the configuration does not state.
        calib: how ranges are estimated where the configuration does not say.

    Raises:
        InputError: the configuration or the model has errors, or they do not go together.
        ValueError: `act`, `param`, `calib` or `mode` is no such word.
    """
    with session(config, model, choices(act, param, calib, mode)) as made:
        return made.plan
