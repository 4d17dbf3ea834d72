"""Supergroups: chains of operators that the hardware runs as one, so only the last output is quantized."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from qsimc.diagnostics import Label
from qsimc.graph import Node
from qsimc.planning.difference import Difference
from qsimc.planning.plan import Decision, Reason
from qsimc.planning.quantizer import Resolution, Site
from qsimc.planning.words import Pattern
from qsimc.planning.written import written_out
from qsimc.spec.ops import operators


def supergroups(resolution: Resolution) -> None:
    """Switch off what lies inside a supergroup.

    Longer patterns match first, then earlier ones; a node belongs to one match.  Every node of a match but
    the last has exactly one consuming edge.
    """
    matcher = _Matcher(resolution)
    for pattern in resolution.said.patterns:
        for site in matcher.heads(*pattern.ops[:2]):
            chain = matcher.match(site, pattern)
            if chain and not (resolution.differences.fixed and _has_model_output(resolution, chain, pattern)):
                matcher.taken.update(id(s) for s in chain)
                _switch_off(chain, pattern)


class _Matcher:
    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._sites = {id(site.node): site for site in resolution.sites}
        self._by_op: defaultdict[str, list[Site]] = defaultdict(list)
        self._heads: dict[str, Mapping[str, Sequence[Site]]] = {}
        self._next: dict[int, Site | None] = {}
        self._written = {id(node) for written in written_out(resolution) for node in written.nodes}
        self.taken: set[int] = set()
        for site in resolution.sites:
            self._by_op[site.node.op].append(site)

    def heads(self, first: str, second: str) -> Sequence[Site]:
        """Return the nodes with which a match that begins with these two operators may begin."""
        if first not in self._heads:
            self._heads[first] = self._find_heads(first)
        return self._heads[first].get(second, ())

    def _find_heads(self, op: str) -> Mapping[str, Sequence[Site]]:
        """Return the nodes of one type that may begin a match, by the operator that follows them."""
        found: defaultdict[str, list[Site]] = defaultdict(list)
        convolution = operators()[op].weight_inputs is not None
        for site in self._by_op.get(op, ()):
            following = self._only_reader(site.node)
            if following is None or id(site.node) in self._written:
                continue
            if not (convolution and self._alone(site.node)):
                found[following.node.op].append(site)
        return found

    def match(self, first: Site, pattern: Pattern) -> list[Site]:
        """Return the nodes of a match that begins at `first`, nothing if there is none."""
        chain = [first]
        for op in pattern.ops[1:]:
            following = self._only_reader(chain[-1].node)
            if following is None or following.node.op != op:
                return []
            chain.append(following)
        return [] if any(id(site) in self.taken for site in chain) else chain

    def _only_reader(self, node: Node) -> Site | None:
        """Return the node at the end of the one edge that leaves `node`, None if there are more or none."""
        key = id(node)
        if key not in self._next:
            readers = self._resolution.next_nodes(node)
            self._next[key] = self._sites[id(readers[0])] if len(readers) == 1 else None
        return self._next[key]

    def _alone(self, node: Node) -> bool:
        """Whether AIMET keeps a convolution out of supergroups: three-dimensional or depthwise ones."""
        data, weight = (self._shape(tensor) for tensor in node.inputs[:2])
        if any(shape is not None and len(shape) == 5 for shape in (data, weight)):
            return True
        groups = node.attributes.get("group", 1)
        counted = operators()[node.op].weight_inputs
        if groups in (0, 1) or counted is None or weight is None or len(weight) <= counted.axis:
            return False
        channels = weight[counted.axis]
        return channels == (1 if counted.of == "group" else groups)

    def _shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Return a shape as far as AIMET looks for it: constants and model inputs."""
        graph = self._resolution.graph
        known = graph.tensors.get(tensor)
        return known.shape if known is not None and (known.constant or tensor in graph.inputs) else None


def _switch_off(chain: list[Site], pattern: Pattern) -> None:
    path = " -> ".join(f"`{site.node.name}`" for site in chain)
    off = Decision("enabled", False, Reason(pattern.reason.rule, pattern.reason.span, f"inside {path}"))
    for site in chain[:-1]:
        for quantizer in site.outputs:
            quantizer.decide(off)


def _has_model_output(resolution: Resolution, chain: list[Site], pattern: Pattern) -> bool:
    """Whether an inner tensor of a match is a model output, which fixed mode keeps quantized."""
    inner = {tensor for site in chain[:-1] for tensor in site.node.outputs}
    if resolution.graph.public.isdisjoint(inner):
        return False
    lost = next(tensor for tensor in resolution.graph.outputs if tensor in inner)
    span = pattern.reason.span
    difference = Difference(
        code="Q0524",
        name="model-output-inside-fusion",
        message=f"the model output `{lost}` lies inside `{pattern.reason.rule}`",
        labels=(Label(span, "this fusion"),) if span else (),
        aimet=f"AIMET does not count a model output as a use, so it leaves `{lost}` unquantized",
        instead="qsimc does not fuse here",
    )
    resolution.differences.differs(("Q0524", pattern.reason.rule), difference)
    return True
