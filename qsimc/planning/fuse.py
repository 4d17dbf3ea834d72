"""Graph passes (`supergroup_pass_list`): decompositions that AIMET folds into one operator before it looks.

The model stays as it is; only the graph that resolution sees is rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qsimc.graph import Graph, Node
from qsimc.planning.patterns import Match, View, layer_norms, masked_softmaxes, matmul_adds, rms_norms

DOMAIN = "aimet.supergroup"

_PASSES: Mapping[str, Callable[[View], Iterator[Match]]] = {
    "LayerNormalization": layer_norms,
    "RMSNormalization": rms_norms,
    "MatmulAdd": matmul_adds,
    "MaskedSoftmax": masked_softmaxes,
}
"""In AIMET's order, whatever the list's."""


@dataclass(frozen=True, slots=True)
class Fused:
    """The graph after the passes.

    `inside` gives, for each tensor that a fused operator hides, the fused operator; `users` the node of the
    model that reads a tensor which a fused operator reads now; `unused` are tensors dropped with dead nodes.
    """

    graph: Graph
    inside: Mapping[str, Match] = field(default_factory=dict)
    users: Mapping[str, Node] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()


def fuse(graph: Graph, passes: Sequence[str]) -> Fused:
    """Fold every match of the passes asked for; a graph with a match also loses its dead nodes."""
    found: list[Match] = []
    fused = graph
    for name, matches in _PASSES.items():
        if name in passes:
            fused, folded = fold(fused, matches)
            found += folded
    if not found:
        return Fused(graph)
    inside = {tensor: match for match in found for node in match.members[:-1] for tensor in node.outputs if tensor}
    users = {tensor: node for match in found for tensor, node in match.users().items()}
    pruned = _prune(fused)
    kept = {tensor for node in pruned.nodes for tensor in node.outputs}
    unused = frozenset(t for node in fused.nodes for t in node.outputs if t and t not in kept)
    return Fused(pruned, inside, users, unused)


def fold(graph: Graph, find: Callable[[View], Iterator[Match]]) -> tuple[Graph, list[Match]]:
    """Put each match's operator in the place of its last member; a node belongs to the first match that has it."""
    view = View(graph)
    folded: dict[int, Match] = {}
    for match in find(view):
        view.gone.update(id(node) for node in match.members)
        folded[id(match.members[-1])] = match
    nodes: list[Node] = []
    for node in graph.nodes:
        if id(node) in folded:
            nodes.append(_operator(folded[id(node)]))
        elif id(node) not in view.gone:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), list(folded.values())


def _operator(match: Match) -> Node:
    first, last = match.members[0], match.members[-1]
    name = first.name.rpartition("/")[0] or f"fused_{last.name}"
    return Node(name, match.op, match.inputs, last.outputs[:1], DOMAIN, match.attributes, origin=first.origin)


def _prune(graph: Graph) -> Graph:
    """Drop nodes whose outputs nothing uses, and unused state outputs of recurrent operators."""
    used = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):  # users before producers, so one walk reaches everything
        if not any(tensor in used for tensor in node.outputs):
            continue
        used.update((*node.inputs, *node.captures))
        kept.append(_without_unused_outputs(node, used))
    return replace(graph, nodes=tuple(reversed(kept)))


def _without_unused_outputs(node: Node, used: set[str]) -> Node:
    if node.op not in ("LSTM", "GRU", "RNN"):
        return node
    outputs = [tensor if tensor in used else "" for tensor in node.outputs]
    while not outputs[-1]:
        outputs.pop()
    return replace(node, outputs=tuple(outputs))
