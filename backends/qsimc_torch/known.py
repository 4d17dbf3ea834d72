"""What is known of a model's tensors before it runs: values of constants, shapes, element types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.protos import without_weights

from qsimc.graph import Graph
from qsimc_torch.sizes import Value

Shape = tuple[int | None, ...]

_SMALL = 1 << 16
"""Elements up to which a constant may steer a shape; a weight is never read for that."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of each tensor, by name.

    `quantized` constants are not known: what reads them gets other values.

    Attributes:
        values: what follows from shapes (`qsimc_torch.shape_values`).
        sizes: (tensor, axis) -> what the model calls the size.
    """

    graph: Graph
    shapes: Mapping[str, Shape]
    value: Callable[[str], NDArray[Any]]
    stored: Callable[[str], bool]
    quantized: Set[str]
    values: Mapping[str, Value] = field(default_factory=dict)
    sizes: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: OnnxModel, quantized: Set[str]) -> Known:
        shapes = _inferred(model.proto)
        for name, tensor in model.graph.tensors.items():
            if tensor.shape is not None:
                shapes[name] = _both(tensor.shape, shapes.get(name, ()))
        return cls(model.graph, shapes, model.constant, model.stores, quantized, sizes=dict(_names(model.proto)))

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """Return the value of a small constant, or of what is one as soon as shapes are known."""
        if tensor in self.values:
            return _number(self.values[tensor], self.dtype(tensor))
        if tensor in self.quantized or not self.stored(tensor):
            return None
        size = 1
        for dimension in self.shapes.get(tensor, ()):
            size *= dimension or 0
        return self.value(tensor) if size <= _SMALL else None

    def shape(self, tensor: str) -> Shape | None:
        """Return the shape of a tensor, None where even the rank is unknown."""
        return self.shapes.get(tensor)

    def dtype(self, tensor: str) -> str:
        """Return numpy's name of an element type, empty where it is unknown."""
        known = self.graph.tensors.get(tensor)
        return known.dtype if known is not None else ""


def _inferred(model: ModelProto) -> dict[str, Shape]:
    """Return the shapes that follow from those that the file states; nothing where ONNX cannot infer them."""
    try:
        inferred = onnx.shape_inference.infer_shapes(without_weights(model), data_prop=True)
    except (onnx.shape_inference.InferenceError, EncodeError, ValueError):
        return {}
    return {v.name: shape for v in inferred.graph.value_info if (shape := _shape(v)) is not None}


def _number(value: Value, dtype: str) -> NDArray[Any] | None:
    whole = all(isinstance(item, int | float) for item in value.reshape(-1))
    return value.astype(dtype) if whole else None


def _both(stated: Shape, inferred: Shape) -> Shape:
    """Return what a file states of a shape, and where it states nothing what follows."""
    if len(stated) != len(inferred):
        return stated
    return tuple(a if a is not None else b for a, b in zip(stated, inferred, strict=True))


def _names(model: ModelProto) -> Iterator[tuple[tuple[str, int], str]]:
    graph = model.graph
    for value in (*graph.value_info, *graph.output, *graph.input):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_param:
                yield (value.name, axis), dimension.dim_param


def _shape(value: ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim)
