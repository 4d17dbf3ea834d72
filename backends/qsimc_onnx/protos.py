"""Walking ONNX protobufs: every graph, node and tensor of a model, subgraphs and functions included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import get_attribute_value

ONNX_DOMAINS = ("", "ai.onnx")
"""Both spellings of the standard operator domain."""

BITS: Mapping[int, int] = {
    TensorProto.INT2: 2,
    TensorProto.UINT2: 2,
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
}
"""Width of the element types that are packed, several to a byte."""


_AS_SIZES = 1 << 10
"""Elements up to which a constant may be a shape, or the like, to ONNX."""


def opset(model: ModelProto) -> int:
    """Return the version of the standard operator set that a model imports, 1 when it imports none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAINS), default=1)


def attribute_graphs(node: NodeProto) -> Sequence[GraphProto]:
    """Return the bodies of an If, Loop or Scan, nothing for other nodes."""
    holders = [attribute for attribute in node.attribute if attribute.HasField("g") or attribute.graphs]
    if not holders:
        return ()
    single = [attribute.g for attribute in holders if attribute.HasField("g")]
    return [*single, *(graph for attribute in holders for graph in attribute.graphs)]


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """Yield the main graph and every graph nested in it, in training information or in functions."""
    waiting = [model.graph]
    waiting += [graph for info in model.training_info for graph in (info.initialization, info.algorithm)]
    for function in model.functions:
        waiting += [graph for node in function.node for graph in attribute_graphs(node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in attribute_graphs(node)]


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor stored in a model, wherever it hides."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            yield from _attribute_tensors(node.attribute)
    for function in model.functions:
        yield from _attribute_tensors(function.attribute_proto)
        for node in function.node:
            yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [
            *attribute.sparse_tensors,
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
        ]
        for tensor in sparse:
            yield from (tensor.values, tensor.indices)


def reads(node: NodeProto) -> Iterator[str]:
    """Yield the names a node reads, those its subgraphs mention included."""
    yield from node.input
    for graph in attribute_graphs(node):
        for inner in graph.node:
            yield from reads(inner)
        yield from (output.name for output in graph.output)


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return what a node's attributes hold, by name."""
    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def is_external(tensor: TensorProto) -> bool:
    """Return whether a tensor's bytes lie in another file."""
    return tensor.data_location == TensorProto.EXTERNAL


def count(tensor: TensorProto) -> int:
    """Return the number of elements that a tensor's dimensions promise."""
    product = 1
    for size in tensor.dims:
        product *= size
    return product


def byte_size(tensor: TensorProto) -> int:
    """Return the number of bytes that a tensor's type and dimensions promise.

    Raises:
        ValueError: a negative dimension, a string tensor or an element type nobody knows.
    """
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"its shape {list(tensor.dims)} has a negative dimension")
    if tensor.data_type == TensorProto.STRING:
        raise ValueError("strings have no fixed size")
    if tensor.data_type in BITS:
        return (count(tensor) * BITS[tensor.data_type] + 7) // 8
    return count(tensor) * _item_size(tensor.data_type)


@cache
def _item_size(data_type: int) -> int:
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)
    except KeyError:
        raise ValueError(f"its element type {data_type} is unknown") from None


def without_weights(model: ModelProto) -> ModelProto:
    """Return a model whose weights have no values, for shape inference: it copies all of a model, twice."""
    graph = model.graph
    bare = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    bare.graph.name = graph.name
    for kept in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(bare.graph, kept).extend(getattr(graph, kept))
    for tensor in graph.initializer:
        if prod(tensor.dims) <= _AS_SIZES:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.initializer.add(
                name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, data_location=TensorProto.EXTERNAL
            )
    return bare
