"""Config and PyTorch module to a plan of ports, as AIMET's torch half makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from qsimc.backend import load_tracer
from qsimc.diagnostics import Diagnostic, InputError, Report, Severity, in_order
from qsimc.entry import split_reference
from qsimc.ir.config import Config
from qsimc.pipeline.check import examined
from qsimc.pipeline.plan import Choices, not_installed, stop_on_errors
from qsimc.planning.plan import PORT_DIALECT, Plan
from qsimc.planning.torch.graph import PortGraph
from qsimc.planning.torch.plan import PortPlan
from qsimc.planning.torch.resolve import resolve_ports

PortCapture: TypeAlias = Callable[[str, Report], PortGraph | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSession:
    """A configuration resolved on the ports of a module, and what was found on the way (no errors)."""

    config: Config
    reference: str
    ports: PortPlan
    findings: tuple[Diagnostic, ...]

    @property
    def plan(self) -> Plan:
        return self.ports.as_plan()


def port_session(config: str | PathLike[str], model: str, chosen: Choices) -> PortSession:
    """Read a configuration as AIMET's torch half does, and resolve it on a module.

    Raises:
        InputError: any of it failed; carries every finding.
    """
    read, findings = examined(str(config), format=PORT_DIALECT, mode=chosen.mode)
    stop_on_errors(findings)
    assert read is not None
    plan = resolve_model(read, model, chosen, findings.append)
    stop_on_errors(findings)
    assert plan is not None
    return PortSession(config=read, reference=model, ports=plan, findings=tuple(in_order(findings)))


def resolve_model(config: Config, model: str, chosen: Choices, report: Report) -> PortPlan | None:
    """Resolve a configuration on the module that `package.module:factory` makes; None after reporting why not."""
    graph = capture_graph(model, report)
    return None if graph is None else resolve_graph(config, graph, chosen, report)


def resolve_graph(config: Config, graph: PortGraph, chosen: Choices, report: Report) -> PortPlan | None:
    """Resolve a configuration on a captured module; None after reporting why it cannot be."""
    return resolve_ports(
        config,
        graph,
        report,
        act=chosen.act,
        param=chosen.param,
        calib=chosen.calib,
        percentile=chosen.percentile,
        mode=chosen.mode,
    )


def capture_graph(model: str, report: Report) -> PortGraph | None:
    """Return the port graph of the module that the user's factory makes; None after reporting why there is none."""
    if split_reference(model) is None or Path(model).exists():
        report(_no_module(model))
        return None
    try:
        capture: PortCapture = load_tracer("torch")
    except LookupError as error:
        raise InputError([not_installed(str(error.args[0]), "torch")]) from error
    return capture(model, report)


def _no_module(model: str) -> Diagnostic:
    return Diagnostic(
        code="Q0514",
        name="no-torch-module",
        severity=Severity.ERROR,
        message=f"`{model}` is no PyTorch module, and `{PORT_DIALECT}` puts quantizers on modules",
        path=model,
        helps=("name a function that returns one: `--model package.module:factory`", "or say `--from aimet`"),
    )
