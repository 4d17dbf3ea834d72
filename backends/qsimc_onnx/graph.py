"""Read an ONNX model's graph: names, types, shapes, attributes; never the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from qsimc.graph import Attribute, Graph, Node, Tensor
from qsimc_onnx.dtypes import DTYPE, Propagation, declared
from qsimc_onnx.origins import origin, source_class

_NUMBERS = frozenset(
    set(DTYPE) - {TensorProto.UNDEFINED, TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128}
)


def read_graph(model: ModelProto) -> Graph:
    """Return the main graph of a model loaded without its external data.

    Every node gets a unique name, as AIMET gives it: an unnamed node or a second node of one name
    becomes `/Op`, `/Op_1`, ...  Element types are inferred for every tensor; shapes are those that the
    file states.  Only one-element constants that lie in the file itself are read.
    """
    graph = model.graph
    tensors = _stated(graph)
    tensors.update(_constants(graph))
    types = {name: tensor.dtype for name, tensor in tensors.items()}
    Propagation(model).run(graph.node, types)
    nodes = tuple(_nodes(graph.node))
    for name, dtype in types.items():
        known = tensors.get(name)
        # A sequence is no tensor: it has no element type of its own.
        plain = "" if dtype.startswith("seq(") else dtype
        if known is None:
            tensors[name] = Tensor(name, plain, None)
        elif known.dtype != plain:
            tensors[name] = replace(known, dtype=plain)
    for name in _mentioned(nodes, graph):
        if name not in tensors:
            tensors[name] = Tensor(name, "", None)
    initializers = {i.name for i in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    return Graph(
        name=graph.name,
        nodes=nodes,
        tensors=tensors,
        inputs=tuple(i.name for i in graph.input if i.name not in initializers),
        outputs=tuple(o.name for o in graph.output),
        source=source_class(graph.node),
    )


def _mentioned(nodes: Iterable[Node], graph: GraphProto) -> Iterator[str]:
    for node in nodes:
        yield from (name for name in (*node.inputs, *node.outputs, *node.captures) if name)
    yield from (o.name for o in graph.output)


# ── tensors ──────────────────────────────────────────────────────────────────────────────────


def _stated(graph: GraphProto) -> dict[str, Tensor]:
    """Return the tensors that the file describes, by name."""
    found: dict[str, Tensor] = {}
    for group in (graph.value_info, graph.output, graph.input):
        for value in group:
            found[value.name] = Tensor(value.name, declared(value.type), _shape(value))
    return found


def _shape(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim)


def _constants(graph: GraphProto) -> dict[str, Tensor]:
    found = {i.name: _constant(i.name, i) for i in graph.initializer}
    for sparse in graph.sparse_initializer:
        name = sparse.values.name
        found[name] = Tensor(name, DTYPE.get(sparse.values.data_type, ""), tuple(sparse.dims), constant=True)
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1 and len(node.attribute) == 1:
            found[node.output[0]] = _constant_node(node.output[0], node.attribute[0])
    return found


def _constant(name: str, value: TensorProto) -> Tensor:
    shape = tuple(value.dims)
    return Tensor(name, DTYPE.get(value.data_type, ""), shape, constant=True, scalar=_scalar(value, shape))


def _constant_node(name: str, attribute: AttributeProto) -> Tensor:
    match attribute.name:
        case "value":
            return _constant(name, attribute.t)
        case "sparse_value":
            sparse = attribute.sparse_tensor
            return Tensor(name, DTYPE.get(sparse.values.data_type, ""), tuple(sparse.dims), constant=True)
        case "value_float":
            return Tensor(name, "float32", (), constant=True, scalar=attribute.f)
        case "value_int":
            return Tensor(name, "int64", (), constant=True, scalar=float(attribute.i))
        case "value_floats":
            return Tensor(name, "float32", (len(attribute.floats),), constant=True)
        case "value_ints":
            return Tensor(name, "int64", (len(attribute.ints),), constant=True)
        case "value_string":
            return Tensor(name, "str", (), constant=True)
        case _:
            return Tensor(name, "str", (len(attribute.strings),), constant=True)


def _scalar(value: TensorProto, shape: tuple[int, ...]) -> float | None:
    """Return the number of a one-element tensor that is stored in the model's own file."""
    if prod(shape) != 1 or value.data_location == TensorProto.EXTERNAL or value.data_type not in _NUMBERS:
        return None
    try:
        return float(numpy_helper.to_array(value).reshape(()))
    except ValueError:  # as many bytes as the file has, not as the type needs
        return None


# ── nodes ────────────────────────────────────────────────────────────────────────────────────


def _nodes(protos: Iterable[NodeProto]) -> Iterator[Node]:
    """Yield the nodes with AIMET's unique names."""
    taken: set[str] = set()
    count: dict[str, int] = {}
    for proto in protos:
        name = proto.name
        if not name or name in taken:
            name = _fresh(proto.op_type, taken, count)
        taken.add(name)
        yield _node(proto, name)


def _fresh(op: str, taken: set[str], count: dict[str, int]) -> str:
    number = count.get(op, 0)
    name = f"/{op}"
    while name in taken:
        number += 1
        name = f"/{op}_{number}"
    count[op] = number + 1
    return name


def _node(proto: NodeProto, name: str) -> Node:
    attributes: dict[str, Attribute] = {}
    captures: dict[str, None] = {}
    inner: dict[str, None] = {}
    for attribute in proto.attribute:
        value = _attribute(attribute)
        if value is not None:
            attributes[attribute.name] = value
        for body in _bodies(attribute):
            read, computed = _scan(body)
            captures |= dict.fromkeys(read)
            inner |= dict.fromkeys(computed)
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(name, proto.op_type, inputs, outputs, domain, attributes, tuple(captures), tuple(inner), origin(proto))


def _attribute(attribute: AttributeProto) -> Attribute | None:
    """Return a number, a string or a list of them; None for tensors, graphs and types."""
    match attribute.type:
        case AttributeProto.INT:
            return int(attribute.i)
        case AttributeProto.FLOAT:
            return float(attribute.f)
        case AttributeProto.STRING:
            return attribute.s.decode("utf-8", errors="replace")
        case AttributeProto.INTS:
            return tuple(attribute.ints)
        case AttributeProto.FLOATS:
            return tuple(attribute.floats)
        case AttributeProto.STRINGS:
            return tuple(s.decode("utf-8", errors="replace") for s in attribute.strings)
        case _:
            return None


def _bodies(attribute: AttributeProto) -> tuple[GraphProto, ...]:
    if attribute.type == AttributeProto.GRAPH:
        return (attribute.g,)
    return tuple(attribute.graphs) if attribute.type == AttributeProto.GRAPHS else ()


def _scan(body: GraphProto) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the outer values that a subgraph reads and the values that it computes, each once, in order."""
    own: dict[str, None] = dict.fromkeys(i.name for i in (*body.input, *body.initializer))
    read: dict[str, None] = {}
    for node in body.node:
        inside = [name for name in node.input if name]
        for attribute in node.attribute:
            for deeper in _bodies(attribute):
                captured, computed = _scan(deeper)
                inside += captured
                own.update(dict.fromkeys(computed))
        read.update(dict.fromkeys(name for name in inside if name not in own))
        own.update(dict.fromkeys(name for name in node.output if name))
    read.update(dict.fromkeys(o.name for o in body.output if o.name not in own))
    return tuple(read), tuple(own)
