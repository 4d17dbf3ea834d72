"""Modules that are called more than once: AIMET takes the quantizers of their ports away."""

from __future__ import annotations

from qsimc.ir.quant import Numeric
from qsimc.planning.difference import Difference
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.rules import REUSED
from qsimc.planning.torch.state import PortResolution, Ports


def drop_reused(resolution: PortResolution) -> None:
    """Switch off the ports of modules without parameters that are called more than once; in fixed mode keep them.

    Floats and fully fixed ranges stay, since they need no calibration.
    """
    for name, times in resolution.graph.times_called.items():
        ports = resolution.ports[name]
        if times < 2 or ports.params:
            continue
        lost = [q for q in (*ports.inputs, *ports.outputs) if q.enabled and not _needs_no_data(q)]
        if lost and resolution.differences.fixed:
            _report(resolution, ports, times, lost[0])
            continue
        reason = Reason(REUSED, detail=f"`{name}` is called {times} times")
        for quantizer in lost:
            quantizer.set("enabled", False, reason)


def _needs_no_data(quantizer: Quantizer) -> bool:
    if quantizer.type is Numeric.FLOAT:
        return True
    return quantizer.range is not None and None not in quantizer.range


def _report(resolution: PortResolution, ports: Ports, times: int, lost: Quantizer) -> None:
    difference = Difference(
        code="Q0535",
        name="reused-module",
        message=f"`{ports.module.name}` ({ports.module.cls}) is called {times} times and has one set of quantizers",
        aimet=f"AIMET's torch half then takes away `{lost.tensor}`, with a warning in its log",
        instead="qsimc keeps it, with one range for all calls",
        helps=("make one module per call",),
    )
    resolution.differences.differs(("Q0535", ports.module.name), difference)
