"""The tie: what Concat, Scatter, ReLU and Resize read is computed on the grid of their result."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc.planning.plan import Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.graph import Call, Edge
from qsimc.planning.torch.rules import TIE
from qsimc.planning.torch.state import PortResolution, Ports
from qsimc.spec.ops import operators
from qsimc.spec.torch_classes import torch_classes


def tie(resolution: PortResolution) -> None:
    """Bind the outputs above certain modules to those modules' own, last calls first.

    Only modules with a quantizer on their output tie, and only quantizers that are on are replaced.  The
    walk goes on upwards through functions that move values and through math-invariant modules; a fixed
    range does not cross a place where a value goes two ways.
    """
    tying = {name for name, ports in resolution.ports.items() if _ties(resolution, ports)}
    for call in reversed(resolution.graph.in_order):
        if call.module in tying:
            _Push(resolution, call).run()


def _ties(resolution: PortResolution, ports: Ports) -> bool:
    if not ports.outputs or not ports.outputs[0].enabled:
        return False
    row = ports.row
    if row.tie:
        return True
    joins = operators().backward
    interpolates = torch_classes().graph.interpolates if resolution.hardware is not None else frozenset()
    named = bool(row.onnx) and len(ports.outputs) == 1
    return named and (joins.issuperset(row.onnx) or interpolates.issuperset(row.onnx))


class _Push:
    """One module's output quantizer on its way up."""

    def __init__(self, resolution: PortResolution, call: Call) -> None:
        assert call.module is not None, "only modules tie"
        self._resolution = resolution
        self._first = call
        self._quantizer: Quantizer = resolution.bound[f"{call.module}.output[0]"]
        self._reason = Reason(TIE, detail=f"`{call.module}` ({call.type}) reads it")

    def run(self) -> None:
        """Bind what the first call reads, and what lies above; no call is looked at twice."""
        waiting, seen = [self._first], {self._first.name}
        while waiting:
            call = waiting.pop()
            for edge in call.inputs:
                above = self._bind(edge, call)
                if above is not None and above.name not in seen:
                    seen.add(above.name)
                    waiting.append(above)

    def _bind(self, edge: Edge, reader: Call) -> Call | None:
        """Bind one value; return the call that computes it if the walk goes on there."""
        graph = self._resolution.graph
        source = graph.source(edge)
        if source is None:
            self._bind_input(edge, reader)
            return None
        if self._quantizer.range is not None and len(graph.readers(source)) > 1:
            return None
        ports = self._resolution.of(source)
        if ports is not None:
            self._bind_output(ports)
        goes_on = source.moves or (ports is not None and ports.row.math_invariant)
        return source if goes_on else None

    def _bind_input(self, edge: Edge, reader: Call) -> None:
        """Let the reader's own input use the quantizer, whether that input was quantized or not."""
        ports = self._resolution.of(reader)
        if ports is None or edge.shape is None:
            return
        position = _position(reader.inputs, edge)
        if position < len(ports.inputs):
            self._use(ports.inputs[position])

    def _bind_output(self, ports: Ports) -> None:
        # A call has one value in AIMET's graph, even of an LSTM: it counts for the first output.
        own = ports.outputs[0] if ports.outputs else None
        if own is not None and self._resolution.bound[own.tensor].enabled:
            self._use(own)

    def _use(self, own: Quantizer) -> None:
        self._resolution.bound[own.tensor] = self._quantizer
        if own is self._quantizer:
            self._resolution.ties.pop(own.tensor, None)
        else:
            self._resolution.ties[own.tensor] = self._reason


def _position(inputs: Sequence[Edge], edge: Edge) -> int:
    """Return the first input of the same value: Mul(x, x) has one place for both."""
    return next(i for i, other in enumerate(inputs) if other.name == edge.name)
