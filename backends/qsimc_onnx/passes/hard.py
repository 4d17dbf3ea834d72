"""Hard sigmoid and Hardswish in the DPU's arithmetic: a sixth is 2731 / 16384, and the gate has 8 bits.

Source: vai_q_pytorch 3.5, its modules for these activations; runs of the original.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto
from onnx.helper import make_node

from qsimc.backend import Change
from qsimc.planning.vitis.network import Network
from qsimc_onnx.editor import Editor
from qsimc_onnx.graph import read_graph
from qsimc_onnx.origins import tag

SIXTH = 2731 / 16384

_STEPS = 128.0
"""The gate of Hardswish in steps of 1 / 128, from -128 to 127."""


def hard_activations(editor: Editor) -> Sequence[Change]:
    """Put the DPU's arithmetic in the place of each hard sigmoid and each Hardswish."""
    changes: list[Change] = []
    network = Network.of(read_graph(editor.proto))
    for layer in network.layers:
        if layer.kind not in ("hsigmoid", "hswish"):
            continue
        node = editor.producer(layer.output)
        assert node is not None, "a layer's output is made by a node"
        op = "HardSigmoid" if layer.kind == "hsigmoid" else "HardSwish"
        changes.append(Change("hard-activations", node.name, ""))
        editor.replace(node, _Gate(editor, node, layer.inputs[0], op).nodes())
    return changes


class _Gate:
    """The nodes of one activation."""

    def __init__(self, editor: Editor, node: NodeProto, x: str, op: str) -> None:
        self._editor = editor
        self._node = node
        self._x = x
        self._op = op
        self._made: list[NodeProto] = []

    def nodes(self) -> list[NodeProto]:
        """Return clip(x + 3, 0, 6) * SIXTH; for Hardswish that in 8 bits, times x."""
        shifted = self._add("Add", self._x, self._number("three", 3.0))
        capped = self._clip(shifted, 0.0, 6.0)
        gate = self._add("Mul", capped, self._number("sixth", SIXTH))
        if self._op == "HardSwish":
            steps = self._add("Mul", gate, self._number("steps", _STEPS))
            # Ties go up; no step is large enough for the sum to round.
            rounded = self._add("Floor", self._add("Add", steps, self._number("half", 0.5)))
            gate = self._add("Mul", self._clip(rounded, -128.0, 127.0), self._number("step", 1 / _STEPS))
            self._add("Mul", self._x, gate)
        self._made[-1].output[0] = self._node.output[0]
        return self._made

    def _clip(self, value: str, low: float, high: float) -> str:
        raised = self._add("Max", value, self._number("low", low))
        return self._add("Min", raised, self._number("high", high))

    def _number(self, name: str, value: float) -> str:
        return self._editor.number(f"{self._node.output[0]}/{name}", value)

    def _add(self, op: str, *inputs: str) -> str:
        result = self._editor.names.fresh(f"{self._node.output[0]}/{op}")
        call = self._node.name or self._node.output[0]
        made = make_node(op, list(inputs), [result], name=self._editor.names.fresh(f"{call}/{op}"))
        self._made.append(tag(made, call, f"qsimc.{self._op}", self._node))
        return result
