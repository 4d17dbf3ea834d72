"""What is known of a model's tensors before it runs: values of constants, shapes, element types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto
from qsimc_onnx.model import OnnxModel

from qsimc.graph import Graph

Shape = tuple[int | None, ...]

_SMALL = 1 << 16
"""Elements up to which a constant may steer a shape; a weight is never read for that."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of each tensor, by name.

    `quantized` constants are not known: what reads them gets other values.
    """

    graph: Graph
    shapes: Mapping[str, Shape]
    value: Callable[[str], NDArray[Any]]
    stored: Callable[[str], bool]
    quantized: Collection[str]

    @classmethod
    def of(cls, model: OnnxModel, quantized: Collection[str]) -> Known:
        shapes = {name: t.shape for name, t in model.graph.tensors.items() if t.shape is not None}
        return cls(model.graph, {**_inferred(model.proto), **shapes}, model.constant, model.stores, quantized)

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """Return the value of a small constant."""
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
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, EncodeError, ValueError):
        return {}
    return {v.name: shape for v in inferred.graph.value_info if (shape := _shape(v)) is not None}


def _shape(value: ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
