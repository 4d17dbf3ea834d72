"""Chains of calls: supergroups, whose inner ports are off, and BatchNorms that are folded into what is before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set

from qsimc.diagnostics import Label
from qsimc.planning.difference import Difference
from qsimc.planning.plan import Decision, Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.graph import Call, PortGraph
from qsimc.planning.torch.rules import FOLD
from qsimc.planning.torch.section import obey_all
from qsimc.planning.torch.state import PortResolution, Ports
from qsimc.planning.words import Pattern
from qsimc.spec.ops import operators
from qsimc.spec.torch_classes import torch_classes

_BATCH_NORM = "BatchNormalization"


def supergroups(resolution: PortResolution) -> None:
    """Switch off what lies inside supergroups; the result of a folded pair is that of its BatchNorm.

    Longer patterns match first, then earlier ones; a call belongs to one match.  Folded BatchNorms are
    passed over.
    """
    folded = list(_folded_pairs(resolution.graph))
    finder = _Finder(resolution.graph, {norm.name for _, norm in folded}, _may_begin)
    for pattern in resolution.said.patterns:
        for chain in finder.find(pattern.ops):
            if not (resolution.differences.fixed and _has_model_output(resolution, chain, pattern)):
                finder.taken.update(call.name for call in chain)
                _switch_off(resolution, chain, pattern)
    for before, norm in folded:
        _fold(resolution, before, norm)


class _Finder:
    """Finds chains of calls by their types; every call but the last has exactly one reader."""

    def __init__(self, graph: PortGraph, passed_over: Set[str], may_begin: Callable[[Call], bool]) -> None:
        self._graph = graph
        self._passed_over = passed_over
        self._may_begin = may_begin
        self.taken: set[str] = set()

    def find(self, types: tuple[str, ...]) -> Iterator[list[Call]]:
        """Yield the chains of some types, in the order of their first calls; the caller says which it takes."""
        for first in self._graph.calls:
            if first.type == types[0] and self._may_begin(first):
                chain = self._follow(first, types)
                if chain and not any(call.name in self.taken for call in chain):
                    yield chain

    def _follow(self, first: Call, types: tuple[str, ...]) -> list[Call]:
        chain: list[Call] = []
        call: Call | None = first
        for type_ in types:
            if chain:
                call = self._only_reader(chain[-1])
            while call is not None and call.name in self._passed_over:
                call = self._only_reader(call)
            if call is None or call.type != type_:
                return []
            chain.append(call)
        return chain

    def _only_reader(self, call: Call) -> Call | None:
        readers = self._graph.readers(call)
        return readers[0] if len(readers) == 1 else None


def _folded_pairs(graph: PortGraph) -> Iterator[tuple[Call, Call]]:
    """Yield each call into which a following BatchNorm is folded, with that BatchNorm's."""
    finder = _Finder(graph, frozenset(), lambda _: True)
    for type_ in torch_classes().graph.folds:
        for before, norm in finder.find((type_, _BATCH_NORM)):
            finder.taken.update((before.name, norm.name))
            module = None if before.module is None else graph.modules[before.module]
            if module is None or module.groups == 1 or module.row.folds_grouped:
                yield before, norm


def _may_begin(call: Call) -> bool:
    """Whether a supergroup may begin here: not with three-dimensional or depthwise convolutions."""
    counted = operators()[call.type].weight_inputs
    if counted is None:
        return True
    data, weight = ([edge.shape for edge in call.inputs] + [None, None])[:2]
    if any(shape is not None and len(shape) == 5 for shape in (data, weight)):
        return False
    groups = call.groups or 1
    if groups == 1 or weight is None:
        return True
    return weight[counted.axis] != (1 if counted.of == "group" else groups)


def _switch_off(resolution: PortResolution, chain: list[Call], pattern: Pattern) -> None:
    path = " -> ".join(f"`{call.module or call.name}`" for call in chain)
    off = (Decision("enabled", False, Reason(pattern.reason.rule, pattern.reason.span, f"inside {path}")),)
    for place, call in enumerate(chain):
        ports = resolution.of(call)
        if ports is not None:
            obey_all(_inner(ports, place == 0, place == len(chain) - 1), off)


def _inner(ports: Ports, first: bool, last: bool) -> Iterator[Quantizer]:
    """Yield the ports of a member of a chain that lie inside it."""
    if not first:
        yield from ports.inputs
    if first or not last:
        yield from ports.outputs


def _fold(resolution: PortResolution, before: Call, norm: Call) -> None:
    """Move what is decided about the result of `before` to that of `norm`; the other ports of `norm` are off."""
    ports, normed = resolution.of(before), resolution.of(norm)
    if ports is None or normed is None:
        return
    reason = Reason(FOLD, detail=f"`{norm.module}` is folded into `{before.module}`")
    for quantizer in (*normed.inputs, *normed.params.values()):
        quantizer.set("enabled", False, reason)
    for own, result in zip(ports.outputs, normed.outputs, strict=False):
        result.set("enabled", own.enabled, reason)
        own.set("enabled", False, reason)


def _has_model_output(resolution: PortResolution, chain: list[Call], pattern: Pattern) -> bool:
    """Whether an inner result of a match is a model output, which fixed mode keeps quantized."""
    lost = next((call for call in chain[:-1] if call.name in resolution.graph.outputs), None)
    if lost is None:
        return False
    span = pattern.reason.span
    difference = Difference(
        code="Q0524",
        name="model-output-inside-fusion",
        message=f"the model output of `{lost.module or lost.name}` lies inside `{pattern.reason.rule}`",
        labels=(Label(span, "this fusion"),) if span else (),
        aimet="AIMET does not count a model output as a use, so it leaves this one unquantized",
        instead="qsimc does not fuse here",
    )
    resolution.differences.differs(("Q0524", pattern.reason.rule), difference)
    return True
