"""Which parameters have one scale per channel, and on which axis."""

from __future__ import annotations

from qsimc.diagnostics import Vendor
from qsimc.planning.difference import TOOL, Difference, label
from qsimc.planning.plan import Decision, Reason
from qsimc.planning.quantizer import Quantizer, Resolution, Site
from qsimc.planning.rules import CHANNEL_AXIS
from qsimc.spec.ops import operators

_NO_AXIS = Vendor(TOOL, "RuntimeError", "Cannot determine correct channel axis for PCQ")


def per_channel(resolution: Resolution) -> None:
    """Give parameters channel axes where the rule of their operator, or else the default, says so.

    `per_tensor` never takes an axis away: a parameter that two nodes share is per channel if either says so.
    """
    for site in resolution.sites:
        for quantizer, role in site.params:
            decision = _said(resolution, site, role)
            if decision is None:
                continue
            if decision.value:
                _split(resolution, quantizer, decision)
            elif not quantizer.per_channel:
                quantizer.decide(decision)


def _said(resolution: Resolution, site: Site, role: str) -> Decision | None:
    """Return the strongest word on the channels of a parameter."""
    said = resolution.said
    by_type = said.op_type.get(site.node.op)
    found = (by_type and by_type.per_channel(role)) or said.everything.per_channel(role)
    for words in said.of_node(site.node.name):
        found = words.per_channel(role) or found
    return found


def _split(resolution: Resolution, quantizer: Quantizer, decision: Decision) -> None:
    assert quantizer.node is not None, "a parameter without a node"
    row = operators()[quantizer.node.op]
    rank = len(resolution.graph.tensors[quantizer.tensor].shape or ())
    axis = 0 if rank == 1 else row.transposed_axis if quantizer.transposed else row.channel_axis
    known = rank == 1 or (axis is not None and row.aimet_axis)
    if not known:
        _unknown_axis(resolution, quantizer, decision, axis if rank else None)
    if axis is None or rank == 0:
        quantizer.decide(decision)
        quantizer.set("per_channel", False, Reason(CHANNEL_AXIS, detail="the parameter has no channel axis"))
        return
    quantizer.decide(decision)
    quantizer.axis = axis % rank


def _unknown_axis(resolution: Resolution, quantizer: Quantizer, decision: Decision, axis: int | None) -> None:
    node = quantizer.node
    assert node is not None, "a parameter without a node"
    instead = "qsimc quantizes it per tensor" if axis is None else f"qsimc takes axis {axis}, the output channels"
    difference = Difference(
        code="Q0522",
        name="no-channel-axis",
        message=f"`{decision.reason.rule}` asks for channels of `{quantizer.tensor}`, "
        f"the {quantizer.role} of `{node.name}` ({node.op})",
        labels=label(decision, "per channel"),
        aimet="AIMET knows no channel axis for this parameter, and stops even where its quantizer is off",
        instead=instead,
        helps=(f"say `{node.op}[param]: per_tensor` (`per_channel_quantization` of `{node.op}` in a JSON file)",),
        vendor=_NO_AXIS,
    )
    resolution.differences.fails(("Q0522", decision.reason.rule, node.op), difference)
