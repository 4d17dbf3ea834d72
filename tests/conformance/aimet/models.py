"""Random small ONNX models that pass onnx.checker, shape inference included."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from hypothesis import strategies as st

from tests.conformance.aimet import layers, motifs, movement, pointwise
from tests.conformance.aimet.builder import FLOATS, Builder, Value

_FAMILIES = (
    (layers.applicable, layers.LAYERS),
    (pointwise.applicable, pointwise.POINTWISE),
    (movement.applicable, movement.MOVEMENT),
    (motifs.applicable, motifs.MOTIFS),
)
_SHAPES = ((1, 4, 2, 2), (1, 4), (2, 4, 3), (1, 2, 2, 2, 2), (2, 3))

# Beyond this a model is slow and shows nothing that a small one would not.
_MOST_ELEMENTS = 600


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model, its operators, and chains of operators that follow one another in it."""

    model: onnx.ModelProto
    operators: tuple[str, ...]
    chains: tuple[tuple[str, ...], ...]


@st.composite
def models(draw: st.DrawFn) -> Drawn:
    """Draw a model of 1 to about 20 nodes."""
    b = Builder(draw, draw(st.sampled_from((18, 21, 17, 23))))
    inputs = [Value(f"x{i}", draw(st.sampled_from(_SHAPES))) for i in range(draw(st.sampled_from((1, 1, 1, 2, 3))))]
    b.values += inputs
    for _ in range(draw(st.integers(1, 10))):
        _grow(b)
    model = b.model(inputs, _outputs(b, inputs))
    onnx.checker.check_model(model, full_check=True)
    if b.often():
        model = onnx.shape_inference.infer_shapes(model)
    return Drawn(model, tuple(sorted({n.op_type for n in model.graph.node})), tuple(sorted(_chains(model))))


def _grow(b: Builder) -> None:
    """Let something read one of the tensors, preferably a recent one."""
    x = b.pick(*b.values[-1:-4:-1], *(b.values if b.rarely() else ()))
    families = [(names, table) for find, table in _FAMILIES if (names := find(b, x))]
    names, table = b.pick(*families)
    made = table[b.pick(*names)](b, x)
    b.values += [v for v in made if _size(v) <= _MOST_ELEMENTS]


def _size(value: Value) -> int:
    size = 1
    for n in value.shape:
        size *= n
    return size


def _outputs(b: Builder, inputs: list[Value]) -> list[Value]:
    """Choose the model's outputs: most tensors that nothing reads, some that something reads."""
    read = {name for node in b.nodes for name in node.input}
    made = [v for v in b.values if v not in inputs]
    ends = [v for v in made if v.name not in read and not b.rarely()]
    inner = [v for v in made if v.name in read and v.dtype in FLOATS and b.rarely()]
    chosen = ends + inner
    return chosen or made[-1:] or [b.node("Identity", [inputs[0]], inputs[0].shape)]


def _chains(model: onnx.ModelProto) -> set[tuple[str, ...]]:
    """Return the operators along every path of two to four nodes."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: set[tuple[str, ...]] = set()
    paths: list[tuple[tuple[str, ...], onnx.NodeProto]] = [((node.op_type,), node) for node in model.graph.node]
    for _ in range(3):
        paths = [
            ((*ops, reader.op_type), reader)
            for ops, node in paths
            for name in node.output
            if name
            for reader in readers.get(name, [])
        ][:200]
        found.update(ops for ops, _ in paths)
    return found
