"""The bodies of If, Loop and Scan, made ready to be written as blocks of the function that they stand in.

Two branches may use a name for two things, and hold constants of their own.  Before a model is written every name of
a body becomes unique in the model, and the constants become those of the main graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped, unused-ignore]
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
from qsimc_onnx.dtypes import DTYPE
from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.protos import ONNX_DOMAINS, attribute_graphs, graphs

from qsimc.graph import Node, Tensor

_ELEMENT = {name: number for number, name in DTYPE.items()}


@dataclass(frozen=True, slots=True)
class Body:
    """The graph that an attribute of a node holds."""

    nodes: Sequence[tuple[Node, NodeProto]]
    inputs: Sequence[str]
    outputs: Sequence[str]


Bodies = Mapping[tuple[tuple[str, ...], str], Body]
"""The outputs of a node and the name of an attribute -> the body; outputs are unique."""


def unfolded(model: OnnxModel) -> tuple[OnnxModel, Bodies]:
    """Return a model of which every name is unique, with all constants in its main graph, and its bodies."""
    if not any(attribute_graphs(node) for node in model.proto.graph.node):
        return model, {}
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    _lift(proto)
    graph = read_graph(proto)
    shapes = _shapes(proto)
    tensors = dict(graph.tensors)
    bodies = dict(_bodies(proto, zip(graph.nodes, proto.graph.node, strict=True), tensors, shapes))
    return OnnxModel(model.path, replace(graph, tensors=tensors), proto), bodies


def _lift(proto: ModelProto) -> None:
    """Make names unique and move constants."""
    main = proto.graph
    taken = {t.name for t in (*main.input, *main.initializer)} | {t for node in main.node for t in node.output}
    constants: list[NodeProto] = []
    for node in main.node:
        for body in attribute_graphs(node):
            _rename(body, {}, taken)
    for body in graphs(proto):
        if body is main:
            continue
        main.initializer.extend(body.initializer)
        del body.initializer[:]
        constants += [node for node in body.node if _is_constant(node)]
        rest = [node for node in body.node if not _is_constant(node)]
        del body.node[:]
        body.node.extend(rest)
    nodes = [*constants, *main.node]
    del main.node[:]
    main.node.extend(nodes)


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in ONNX_DOMAINS


def _rename(graph: GraphProto, outer: Mapping[str, str], taken: set[str]) -> None:
    """Give what a graph defines names that nothing else has, here and where it is read."""
    names = dict(outer)
    defined = [t.name for t in (*graph.input, *graph.initializer)] + [
        t for node in graph.node for t in node.output if t
    ]
    for name in dict.fromkeys(defined):
        number, fresh = 0, name
        while fresh in taken:
            number += 1
            fresh = f"{name}_{number}"
        names[name] = fresh
        taken.add(fresh)
    for value in (*graph.input, *graph.initializer, *graph.value_info, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(t, t) for t in node.input]
        node.output[:] = [names.get(t, t) for t in node.output]
        for body in attribute_graphs(node):
            _rename(body, names, taken)


def _shapes(proto: ModelProto) -> Mapping[str, tuple[int | None, ...]]:
    """Return the shapes that ONNX infers inside of bodies."""
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, EncodeError, ValueError):
        return {}
    values = [v for graph in graphs(inferred) for v in (*graph.input, *graph.value_info, *graph.output)]
    return {
        value.name: tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _bodies(
    model: ModelProto,
    nodes: Iterator[tuple[Node, NodeProto]],
    tensors: dict[str, Tensor],
    shapes: Mapping[str, tuple[int | None, ...]],
) -> Iterator[tuple[tuple[tuple[str, ...], str], Body]]:
    """Yield the bodies of some nodes and of those inside of them; add what is known of their tensors."""
    for node, proto in nodes:
        for attribute in proto.attribute:
            if not attribute.HasField("g"):
                continue
            alone = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
            alone.graph.CopyFrom(attribute.g)
            alone.graph.input.extend(_described(name, tensors) for name in node.captures if name in tensors)
            graph = read_graph(alone)
            for name, tensor in graph.tensors.items():
                tensors.setdefault(name, replace(tensor, shape=tensor.shape or shapes.get(name)))
            inputs = [value.name for value in attribute.g.input]
            pairs = list(zip(graph.nodes, attribute.g.node, strict=True))
            yield (node.outputs, attribute.name), Body(pairs, inputs, graph.outputs)
            yield from _bodies(model, iter(pairs), tensors, shapes)


def _described(name: str, tensors: Mapping[str, Tensor]) -> ValueInfoProto:
    element = _ELEMENT.get(tensors[name].dtype)
    if not element:
        return ValueInfoProto(name=name)
    return onnx.helper.make_tensor_value_info(name, element, tensors[name].shape)
