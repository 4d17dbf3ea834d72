"""What ties have in common: binding a tensor to another one's quantizer, and the order of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc.graph import Node
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer, Resolution


def bind(resolution: Resolution, tensor: str, quantizer: Quantizer, rule: str, detail: str) -> None:
    """Let a tensor use another tensor's quantizer instead of its own."""
    resolution.bound[tensor] = quantizer
    if resolution.made[tensor] is quantizer:
        resolution.ties.pop(tensor, None)
    else:
        resolution.ties[tensor] = Reason(rule, detail=detail)


def depth_first(resolution: Resolution) -> Sequence[Node]:
    """Return the nodes producers first, in the order in which AIMET visits them.

    That is a depth-first walk from the nodes that no other node feeds, reversed; where ties meet, the
    order decides, so it must be this one.
    """
    nodes = [site.node for site in resolution.sites]
    computed = {tensor for node in nodes for tensor in node.outputs if tensor}
    stack = [node for node in nodes if not any(tensor in computed for tensor in node.inputs)][::-1]
    done: set[int] = set()
    finished: list[Node] = []
    readers = {id(node): iter(resolution.next_nodes(node)) for node in nodes}
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        waiting = next((reader for reader in readers[id(node)] if id(reader) not in done), None)
        if waiting is not None:
            stack.append(waiting)
            continue
        done.add(id(node))
        finished.append(node)
        stack.pop()
    return finished[::-1]
