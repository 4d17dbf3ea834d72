"""Encodings of tensors whose values are only moved, picked, clipped or padded: they lie on a neighbour's grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qsimc.encodings.entry import Entry, Granularity
from qsimc.graph import FLOATS, Graph, Node
from qsimc.spec.ops import operators

_ALSO = frozenset({"Clip", "Max", "Min", "Where"})
"""Not grid-preserving in a plan, where it costs accuracy to tie a clip's ends; once ranges are known it is safe."""


def derived(graph: Graph, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the per-tensor encodings that follow from `known` ones.

    A result takes the encoding that all its sources share; a source that nothing else reads takes that of its
    result.  One pass forward and one backward, as AIMET does when it exports version 2.x.

    Source: files exported by aimet_onnx 2.42.0; its order of passes from its source.
    """
    moves = [node for node in graph.nodes if _moves(node)]
    found = dict(known)
    for node in (*moves, *reversed(moves)):
        found |= dict(_step(graph, node, found))
    return {tensor: entry for tensor, entry in found.items() if tensor not in known}


def _moves(node: Node) -> bool:
    return not node.domain and (node.op in operators().grid_preserving or node.op in _ALSO)


def _step(graph: Graph, node: Node, found: Mapping[str, Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield what one node adds."""
    sources, results = (_floats(graph, tensors) for tensors in (node.inputs, node.outputs))
    if not sources or not results:
        return
    # AIMET lets a padded tensor keep its grid whatever it is padded with.
    above = found.get(sources[0]) if node.op == "Pad" or _alike(sources, found) else None
    below = found.get(results[0]) if _alike(results, found) else None
    if below is not None and below.granularity is Granularity.TENSOR:
        for tensor in sources:
            if tensor not in found and len(graph.consumers.get(tensor, ())) == 1:
                yield tensor, replace(below, name=tensor)
    if above is not None and above.granularity is Granularity.TENSOR:
        for tensor in results:
            if tensor not in found:
                yield tensor, replace(above, name=tensor)


def _floats(graph: Graph, tensors: tuple[str, ...]) -> list[str]:
    return [t for t in tensors if (known := graph.tensors.get(t)) is not None and known.dtype in FLOATS]


def _alike(tensors: list[str], found: Mapping[str, Entry]) -> bool:
    """Say whether tensors have one encoding, or none of them has any."""
    first, *others = (found.get(tensor) for tensor in tensors)
    return all(_grid(entry) == _grid(first) for entry in others)


def _grid(entry: Entry | None) -> object:
    return None if entry is None else (entry.dtype, entry.bits, entry.scale, entry.offset, entry.signed)
