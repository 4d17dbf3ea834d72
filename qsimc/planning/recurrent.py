"""The recurrent tie: the inputs, outputs and states of an RNN, GRU or LSTM share quantizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from qsimc.diagnostics import Vendor
from qsimc.graph import Node
from qsimc.planning.difference import TOOL, Difference
from qsimc.planning.effective import effective
from qsimc.planning.quantizer import Quantizer, Resolution
from qsimc.planning.rules import TIE_RECURRENT
from qsimc.planning.tie import bind
from qsimc.spec.ops import operators


def tie_recurrent(resolution: Resolution) -> None:
    """Bind X, Y, Y_h and initial_h to Y's quantizer, and initial_c to that of Y_c, in node order.

    What used a quantizer that is given up follows it.
    """
    nodes = [node for node in resolution.graph.nodes if operators()[node.op].states]
    if not nodes:
        return
    users: defaultdict[int, list[str]] = defaultdict(list)
    for tensor, quantizer in resolution.bound.items():
        users[id(quantizer)].append(tensor)
    # All ties are found before the first is made; of two ties of one quantizer the later counts.
    replacements: dict[int, tuple[Quantizer, Quantizer, Node]] = {}
    for node in nodes:
        replacements.update({id(old): (old, new, node) for old, new in _replacements(resolution, node)})
    for old, new, node in replacements.values():
        detail = f"`{node.name}` ({node.op}) computes it on the grid of"
        for tensor in users.pop(id(old), []) if old is not new else []:
            bind(resolution, tensor, new, TIE_RECURRENT, f"{detail} `{new.tensor}`, whose quantizer it uses")
            users[id(new)].append(tensor)


def _replacements(resolution: Resolution, node: Node) -> Sequence[tuple[Quantizer, Quantizer]]:
    """Return (given up, used instead); of two ties of one quantizer the later counts."""
    found: dict[int, tuple[Quantizer, Quantizer]] = {}
    for state in operators()[node.op].states:
        new = resolution.bound.get(_port(node.outputs, state.to))
        ports = [effective(resolution, _port(node.inputs, i)) for i in state.inputs]
        ports += [resolution.bound.get(_port(node.outputs, i)) for i in state.outputs]
        if new is None:
            if state.to == 0 and not node.outputs[0] and any(ports):
                resolution.differences.fails(("Q0540", node.op), _no_sequence(node))
            continue
        found.update({id(old): (old, new) for old in ports if old is not None})
    return tuple(found.values())


def _no_sequence(node: Node) -> Difference:
    return Difference(
        code="Q0540",
        name="recurrent-without-sequence",
        message=f"`{node.name}` ({node.op}) puts out its last state, but not the sequence `Y`",
        aimet="AIMET lets states use the quantizer of `Y` without asking whether `Y` is there",
        instead=f"the states of `{node.name}` keep quantizers of their own",
        helps=("give the output `Y` a name",),
        vendor=Vendor(TOOL, "KeyError", "''"),
    )


def _port(tensors: Sequence[str], position: int) -> str:
    return tensors[position] if position < len(tensors) else ""
