"""What an integer accumulator demands of weight scales, once the scales around it are known.

An accelerator adds products of integers, so an accumulator's step is input scale x weight scale.  Two things then
fail when a weight's scale is tiny: the bias, in those steps, leaves int32; and the factor that brings the
accumulator to the output's grid underflows.  AIMET raises such weight scales after calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding
from qsimc.graph import Graph, Node
from qsimc.spec.ops import operators

Constant = Callable[[str], NDArray[Any]]
"""Gives the value of a constant tensor."""

BIAS_STEPS = 2**31 - 2**15
"""Largest bias, in steps of the accumulator, that leaves the products room."""

SMALLEST_REQUANTIZATION = 2.0**-23.5
"""Smallest accumulator step, in steps of the output, that the hardware's requantization keeps apart from zero."""

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_CLIPS = ("Relu", "Clip")
"""Operators that hardware applies to the accumulator itself."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One accumulation: output = input x weight + bias.  `bias` is None where nothing constant is added."""

    node: Node
    input: str
    weight: str
    bias: str | None
    output: str


@dataclass(frozen=True, slots=True)
class Raised:
    """A weight whose scale was raised, and why.

    Attributes:
        channels, of: how many of its channels were raised.
        factor: the largest ratio of new to old scale.
        node: the name of the operator that demanded it.
        why: one clause.
    """

    weight: str
    channels: int
    of: int
    factor: float
    node: str
    why: str


def linears(graph: Graph) -> Iterator[Linear]:
    """Yield the accumulations of a graph whose weights are constants, in graph order."""
    for node in graph.nodes:
        if node.op not in _LINEAR or node.domain:
            continue
        weight, bias = (_parameter(graph, node, role) for role in ("weight", "bias"))
        if weight is None or not node.inputs[0]:
            continue
        if bias is None and node.op == "MatMul" and (added := _added(graph, node)) is not None:
            yield Linear(node, node.inputs[0], weight, *added)
        else:
            yield Linear(node, node.inputs[0], weight, bias, node.outputs[0])


def carrier(graph: Graph, tensor: str, known: Mapping[str, object]) -> str | None:
    """Return the tensor whose grid the values of `tensor` lie on: itself, or one they were only moved from."""
    preserving = operators().grid_preserving
    while tensor not in known:
        producer = graph.producer.get(tensor)
        if producer is None or producer.domain or producer.op not in preserving or not producer.inputs:
            return None
        tensor = producer.inputs[0]
    return tensor


def raise_weight_scales(
    graph: Graph, encodings: Mapping[str, Encoding], constant: Constant
) -> tuple[dict[str, Encoding], tuple[Raised, ...]]:
    """Return the encodings with weight scales raised to what their accumulators demand, and what was raised.

    Only weights with an integer encoding that are read beside an integer input are touched, and only upwards.

    Source: AIMET 2.42 `compute_encodings`, the rules for int32 biases (observed) and for HexNN's
    requantization (read).  Its accumulator-bias rule and its fp16 floor are not applied.
    """
    found = dict(encodings)
    raised: list[Raised] = []
    for linear in linears(graph):
        source = carrier(graph, linear.input, found)
        if source is None or linear.weight not in found:
            continue
        step = float(found[source].scale[0])
        for floor, why in _floors(graph, linear, step, found, constant):
            before = found[linear.weight]
            scale = np.maximum(before.scale, floor if len(floor) == len(before.scale) else floor.max())
            if (more := scale > before.scale).any():
                found[linear.weight] = replace(before, scale=scale)
                factor = float((scale / before.scale).max())
                raised.append(Raised(linear.weight, int(more.sum()), len(scale), factor, linear.node.name, why))
    return found, tuple(raised)


def _floors(
    graph: Graph, linear: Linear, step: float, encodings: Mapping[str, Encoding], constant: Constant
) -> Iterator[tuple[NDArray[np.float64], str]]:
    """Yield the smallest scales that a weight may have, shape (C,) or (1,), each with its reason."""
    if linear.bias is not None and linear.bias not in encodings:
        bias = np.abs(np.asarray(constant(linear.bias), dtype=np.float64)).reshape(-1)
        if bias.size:
            yield bias / (BIAS_STEPS * step), f"the bias `{linear.bias}` would overflow int32"
    output = _quantized_output(graph, linear, encodings)
    if output is not None:
        floor = np.array([SMALLEST_REQUANTIZATION * float(encodings[output].scale[0]) / step])
        yield floor, f"the factor that brings the accumulator to the grid of `{output}` would underflow"


def _parameter(graph: Graph, node: Node, role: str) -> str | None:
    """Return the constant in a parameter's place, through the operators that may stand between; None for none."""
    row = operators()[node.op]
    position = row.params.get(role)
    tensor = node.inputs[position] if position is not None and position < len(node.inputs) else ""
    between = (*row.through, row.transposed_through)
    while (source := graph.producer.get(tensor)) is not None and source.op in between and source.inputs:
        tensor = source.inputs[0]
    known = graph.tensors.get(tensor)
    return tensor if known is not None and known.constant else None


def _added(graph: Graph, matmul: Node) -> tuple[str, str] | None:
    """Return the constant vector that is added to a MatMul and nothing else reads, and the sum; None for none."""
    readers = graph.consumers.get(matmul.outputs[0], ())
    if len(readers) != 1 or readers[0].op != "Add" or matmul.outputs[0] in graph.outputs:
        return None
    bias = next((t for t in readers[0].inputs if t != matmul.outputs[0]), "")
    known = graph.tensors.get(bias)
    if known is None or not known.constant or known.shape is None or len(known.shape) != 1:
        return None
    return bias, readers[0].outputs[0]


def _quantized_output(graph: Graph, linear: Linear, encodings: Mapping[str, Encoding]) -> str | None:
    """Return the tensor that the accumulator is brought to: its output, or that clipped."""
    tensor = linear.output
    while tensor not in encodings:
        readers = graph.consumers.get(tensor, ())
        if len(readers) != 1 or readers[0].op not in _CLIPS:
            return None
        tensor = readers[0].outputs[0]
    return tensor
