"""The backward tie: what Concat and Scatter join takes the quantizer of the result."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc.graph import Node
from qsimc.planning.difference import Difference, label
from qsimc.planning.effective import effective, movement_above
from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer, Resolution
from qsimc.planning.rules import TIE_BACKWARD
from qsimc.planning.tie import bind
from qsimc.spec.ops import operators


def tie_backward(resolution: Resolution, order: Sequence[Node]) -> None:
    """Bind the inputs of joining operators to their outputs' quantizers, last operators first.

    An input that something else reads keeps its own quantizer.  The walk goes on upwards through movement
    and further joins.  If all inputs agree on a fixed range (or on none) the output takes it over; if they
    do not, those with a fixed range stay apart.
    """
    visited: set[int] = set()
    for node in reversed(order):
        if node.op not in operators().backward or not node.outputs or node.outputs[0] not in resolution.bound:
            continue
        joined = _Joined(resolution, visited)
        joined.walk(node)
        joined.tie(node)


class _Joined:
    """What one joining operator joins: tensors with their effective quantizers."""

    def __init__(self, resolution: Resolution, visited: set[int]) -> None:
        self._resolution = resolution
        self._visited = visited
        self._sources: dict[str, Quantizer] = {}
        self._ranges: set[tuple[float | None, float | None] | None] = set()

    def walk(self, first: Node) -> None:
        stack = [first]
        while stack:
            node = stack.pop()
            if id(node) in self._visited:
                continue
            self._visited.add(id(node))
            taken = [t for t in node.inputs if self._resolution.is_float(t) and self._take(t)]
            stack += [above for tensor in taken if (above := self._upwards(tensor))]

    def _take(self, tensor: str) -> bool:
        """Note one input; False when it is also read elsewhere, so that nothing above it is joined either."""
        quantizer = effective(self._resolution, tensor)
        if quantizer is not None:
            self._ranges.add(quantizer.range)
        source = quantizer.tensor if quantizer is not None else tensor
        if self._readers(source, tensor) > 1:
            return False
        if quantizer is not None:
            self._sources[source] = quantizer
        return True

    def _readers(self, source: str, tensor: str) -> int:
        """Count the nodes that read `source` or a moved copy of it, the movement between not included."""
        consumers = self._resolution.graph.consumers
        between = movement_above(self._resolution, tensor)
        readers = {id(node) for node in consumers.get(source, ())}
        readers.update(id(n) for moved in between for out in moved.outputs for n in consumers.get(out, ()))
        return len(readers - {id(node) for node in between})

    def _upwards(self, tensor: str) -> Node | None:
        node = self._resolution.graph.producer.get(tensor)
        if node is None or node.op == "Constant":
            return None
        moves = node.op in operators().grid_preserving and not node.domain
        return node if moves or node.op in operators().backward else None

    def tie(self, node: Node) -> None:
        output = self._resolution.bound[node.outputs[0]]
        detail = f"`{node.name}` ({node.op}) joins it into `{output.tensor}`, whose quantizer it uses"
        if len(self._ranges) == 1:
            self._take_range(node, output, next(iter(self._ranges)))
        for source, quantizer in self._sources.items():
            if len(self._ranges) == 1 or quantizer.range is None:
                bind(self._resolution, source, output, TIE_BACKWARD, detail)

    def _take_range(self, node: Node, output: Quantizer, common: tuple[float | None, float | None] | None) -> None:
        if output.range == common:
            return
        differences = self._resolution.differences
        if common is None and differences.fixed:
            said = output.last("range")
            difference = Difference(
                code="Q0526",
                name="range-dropped-by-tie",
                message=f"`{said.reason.rule}` fixes the range of `{output.tensor}`, which `{node.name}` joins",
                labels=label(said, "this range"),
                aimet="AIMET drops the range of a join whose inputs have none",
                instead="qsimc keeps it",
            )
            differences.differs(("Q0526", said.reason.rule), difference)
            return
        output.set("range", common, Reason(TIE_BACKWARD, detail=f"the range of the inputs of `{node.name}`"))
