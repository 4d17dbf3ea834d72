"""The forward tie: Relu, AveragePool, Resize and Upsample put out values on the grid of their input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from qsimc.diagnostics import Vendor
from qsimc.graph import Node
from qsimc.ir.config import show_setting
from qsimc.planning.difference import TOOL, Difference, label
from qsimc.planning.effective import effective, path_to_effective
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer, Resolution
from qsimc.planning.rules import TIE_FORWARD
from qsimc.planning.tie import bind
from qsimc.spec.ops import operators

_Range: TypeAlias = "tuple[float | None, float | None] | None"


def tie_forward(resolution: Resolution, order: Sequence[Node]) -> None:
    """Bind outputs to the effective quantizers of inputs, producers first.

    An output whose fixed range the input does not have stays apart if the input is also read elsewhere.
    """
    edges = Counter(tensor for node in resolution.graph.nodes for tensor in (*node.inputs, *node.captures))
    for node in order:
        if node.op not in operators().forward or not node.inputs:
            continue
        quantizer = effective(resolution, node.inputs[0])
        if quantizer is None:
            continue
        for tensor in node.outputs:
            output = resolution.bound.get(tensor)
            if output is None or not output.enabled:
                continue
            apart = output.range is not None and output.range != quantizer.range
            if apart and any(edges[t] != 1 for t in path_to_effective(resolution, node.inputs[0])):
                continue
            if output is quantizer or _merge(resolution, node, quantizer, output):
                detail = f"`{node.name}` ({node.op}) keeps the grid of `{quantizer.tensor}`, whose quantizer it uses"
                bind(resolution, tensor, quantizer, TIE_FORWARD, detail)


def _merge(resolution: Resolution, node: Node, into: Quantizer, output: Quantizer) -> bool:
    """Make one quantizer fit both tensors; False when they cannot share one (fixed mode)."""
    if into.per_channel != output.per_channel:
        resolution.differences.fails(("Q0527", node.op), _channels(node, into, output))
        return False
    if into.range is not None and output.range is not None and into.range != output.range:
        keys = into.last("range").reason.rule, output.last("range").reason.rule
        resolution.differences.fails(("Q0523", *keys), _ranges(node, into, output))
        return False
    reason = Reason(TIE_FORWARD, detail=f"shared with `{output.tensor}` through `{node.name}` ({node.op})")
    into.set("bits", min(into.bits, output.bits), reason)
    into.set("symmetric", into.symmetric or output.symmetric, reason)
    into.set("unsigned_symmetric", into.unsigned_symmetric or output.unsigned_symmetric, reason)
    into.set("range", _widened(into.range or output.range, into.symmetric), reason)
    return True


def _widened(fixed: _Range, symmetric: bool) -> _Range:
    """A symmetric quantizer's fixed range reaches equally far on both sides; an open one stays as it is."""
    match fixed:
        case (int() | float() as low, int() | float() as high) if symmetric:
            reach = max(abs(low), abs(high))
            return (-reach, reach)
        case _:
            return fixed


def _ranges(node: Node, into: Quantizer, output: Quantizer) -> Difference:
    first, second = into.last("range"), output.last("range")
    return Difference(
        code="Q0523",
        name="fixed-ranges-differ",
        message=f"`{node.name}` ({node.op}) ties `{output.tensor}` to `{into.tensor}`, but their fixed ranges "
        f"differ: {show_setting('range', into.range)} and {show_setting('range', output.range)}",
        labels=(*label(second, f"range of `{output.tensor}`"), *label(first, f"range of `{into.tensor}`")),
        aimet="AIMET lets the output of this operator use its input's quantizer, and cannot merge the two ranges",
        instead=f"qsimc gives `{output.tensor}` a quantizer of its own",
        vendor=Vendor(
            TOOL, "RuntimeError", f"Can't merge quantizers with different fixed ranges: {into.range} vs {output.range}"
        ),
    )


def _channels(node: Node, into: Quantizer, output: Quantizer) -> Difference:
    return Difference(
        code="Q0527",
        name="tie-across-channels",
        message=f"`{node.name}` ({node.op}) ties `{output.tensor}` to `{into.tensor}`, "
        "but only one of them has a scale per channel",
        aimet="AIMET cannot merge a per-channel quantizer with a per-tensor one, and stops",
        instead=f"qsimc gives `{output.tensor}` a quantizer of its own",
        vendor=Vendor(TOOL, "RuntimeError", "Can't merge per-tensor and per-channel quantizer"),
    )
