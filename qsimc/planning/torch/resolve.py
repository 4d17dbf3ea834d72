"""Config and port graph to plan, as aimet_torch 2.42 resolves them: quantizers on module ports, one pass per step."""

from __future__ import annotations

from qsimc.diagnostics import Report, Vendor
from qsimc.ir.config import Config
from qsimc.ir.quant import Calib
from qsimc.planning.difference import AimetError, Difference, Differences
from qsimc.planning.initial import initial
from qsimc.planning.plan import PORT_DIALECT, Mode
from qsimc.planning.torch.chains import supergroups
from qsimc.planning.torch.channels import per_channel
from qsimc.planning.torch.complete import bare, complete
from qsimc.planning.torch.exceptions import hardware, scalars
from qsimc.planning.torch.graph import PortGraph
from qsimc.planning.torch.names import Entries
from qsimc.planning.torch.plan import PortPlan
from qsimc.planning.torch.realise import realise
from qsimc.planning.torch.reuse import drop_reused
from qsimc.planning.torch.sections import Sections
from qsimc.planning.torch.state import TOOL, PortResolution, make_ports
from qsimc.planning.torch.tie import tie
from qsimc.planning.words import compile_words


def resolve_ports(
    config: Config,
    graph: PortGraph,
    report: Report,
    *,
    act: str = "int8",
    param: str = "int8",
    calib: Calib = Calib.MINMAX,
    percentile: float | None = None,
    mode: Mode = Mode.FIXED,
) -> PortPlan | None:
    """Return what happens to each port of a model's modules, None after reporting an error.

    In vendor mode AIMET's verdict to the letter, its exceptions included; in fixed mode the work goes on
    where AIMET fails, with a warning for each such place.

    Args:
        act, param: precisions of activations and parameters, which AIMET's configs do not state.
        calib, percentile: how ranges are estimated.

    Raises:
        ValueError: `act` or `param` is not a precision.
    """
    differences = Differences(mode)
    resolution = PortResolution(
        graph=graph,
        said=compile_words(config),
        differences=differences,
        ports=make_ports(graph, initial("act", act, calib, percentile), initial("param", param, calib, percentile)),
    )
    try:
        _check_classes(resolution)
        _run(resolution)
    except AimetError as stop:
        report(stop.diagnostic)
        return None
    differences.flush(report)
    return PortPlan(
        graph=graph,
        ports=complete(resolution),
        dialect=PORT_DIALECT,
        mode=mode,
        target=config.target,
        bare=bare(graph),
    )


def _run(resolution: PortResolution) -> None:
    """Run every pass, in AIMET's order: a later one outranks an earlier one."""
    entries = Entries(resolution)
    sections = Sections(resolution, entries)
    sections.defaults()
    sections.named_params()
    sections.op_types()
    sections.module_names()
    supergroups(resolution)
    sections.model_input()
    sections.model_output()
    per_channel(resolution, entries)
    hardware(resolution)
    scalars(resolution)
    realise(resolution)
    drop_reused(resolution)
    tie(resolution)


def _check_classes(resolution: PortResolution) -> None:
    """Report modules of the user's own classes, for which AIMET has no quantized module."""
    for module in resolution.graph.modules.values():
        if module.known:
            continue
        difference = Difference(
            code="Q0536",
            name="unknown-module-class",
            message=f"`{module.name}` is a `{module.cls}`, which AIMET's torch half does not know",
            aimet="AIMET's torch half stops at a module without parts whose class nobody has registered with it",
            instead="qsimc quantizes it like an ordinary module, with one port per argument and result",
            helps=("build it from PyTorch's or AIMET's modules",),
            vendor=Vendor(TOOL, "RuntimeError", f"The quantized module definition of {module.cls} is not registered."),
        )
        resolution.differences.fails(("Q0536", module.cls), difference)
