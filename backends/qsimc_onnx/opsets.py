"""Raising a model to a later operator set, without moving its weights.

`onnx.version_converter` does this as well, but it serialises the whole model (limit 2 GB), drops model-local
functions and node metadata, takes names without asking whether they are free, and gives other numbers for linear
Upsample and Resize, and for Hardmax.  Here every tensor keeps its name, and what cannot be raised is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, defs

from qsimc_onnx.dtypes import DTYPE, Propagation, declared
from qsimc_onnx.opset_steps import STEPS, CannotRaiseError, Scope
from qsimc_onnx.protos import ONNX_DOMAINS, attribute_graphs, graphs, opset, reads
from qsimc_onnx.rewrite import Names

_OLDEST = 7
"""The operator set before which addition and its kin spelled broadcasting otherwise; nothing older is raised."""


def raised(model: ModelProto, version: int) -> tuple[ModelProto, str | None]:
    """Return a copy of a model that imports at least `version`, and None.

    When one of its nodes cannot be said in that version, return a plain copy and the reason, in one clause.
    """
    copy = _copy(model)
    if opset(model) >= version:
        return copy, None
    try:
        _raise(copy, version)
    except CannotRaiseError as refusal:
        return _copy(model), str(refusal)
    return copy, None


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _raise(model: ModelProto, version: int) -> None:
    """Rewrite the nodes of a model where they stand, functions and nested graphs included."""
    if opset(model) < _OLDEST:
        raise CannotRaiseError(f"operator set {opset(model)} is older than {_OLDEST}")
    if model.training_info:
        raise CannotRaiseError("it holds training information")
    raiser = _Raiser(Propagation(model), Names.of(model), _used(model), version)
    raiser.graph(model.graph, opset(model), Scope(raiser.names, raiser.used, {}, {}, {}))
    _import(model, version)
    for function in model.functions:
        raiser.function(function)
        _import(function, version)


def _import(holder: ModelProto | FunctionProto, version: int) -> None:
    for entry in holder.opset_import:
        if entry.domain in ONNX_DOMAINS:
            entry.version = max(entry.version, version)


def _used(model: ModelProto) -> set[str]:
    """Return the names of all values that something reads or that a graph or function gives back."""
    used = {value.name for graph in graphs(model) for value in graph.output}
    nodes = [node for graph in graphs(model) for node in graph.node]
    for function in model.functions:
        used.update(function.output)
        nodes += function.node
    return used.union(*(reads(node) for node in nodes))


class _Raiser:
    """One pass over all nodes of a model, with what the pass needs to know about the whole of it."""

    def __init__(self, propagation: Propagation, names: Names, used: set[str], version: int) -> None:
        self.propagation = propagation
        self.names = names
        self.used = used
        self.version = version

    def graph(self, graph: GraphProto, start: int, outer: Scope) -> None:
        """Raise a graph from version `start`; its nodes see the values of the graphs around it."""
        scope = outer.inside()
        _describe(graph, scope)
        self.propagation.run(graph.node, scope.types)
        self._rewrite(graph, start, scope)

    def function(self, function: FunctionProto) -> None:
        """Raise a model-local function, whose values have types only where it is called."""
        start = max((entry.version for entry in function.opset_import if entry.domain in ONNX_DOMAINS), default=0)
        if start < self.version:
            self._rewrite(function, start, Scope(self.names, self.used, {}, {}, {}))

    def _rewrite(self, holder: GraphProto | FunctionProto, start: int, scope: Scope) -> None:
        scope.stored.update(_constants(holder.node))
        nodes = [after for before in holder.node for after in self._node(before, start, scope)]
        del holder.node[:]
        holder.node.extend(nodes)

    def _node(self, node: NodeProto, start: int, scope: Scope) -> Iterator[NodeProto]:
        for body in attribute_graphs(node):
            self.graph(body, start, scope)
        if node.domain not in ONNX_DOMAINS:
            yield node
            return
        for after in _stepped(node, start, self.version, scope):
            _demand_valid(after, self.version)
            yield after


def _stepped(node: NodeProto, start: int, stop: int, scope: Scope) -> Iterator[NodeProto]:
    """Take a node over each version, after `start` and up to `stop`, that changed the meaning of its operator."""
    step = min((since for op, since in STEPS if op == node.op_type and start < since <= stop), default=None)
    if step is None:
        yield node
        return
    for after in STEPS[node.op_type, step](node, scope):
        yield from _stepped(after, step, stop, scope)


def _demand_valid(node: NodeProto, version: int) -> None:
    """Refuse a node that its operator, as of `version`, has no room for: then a step is missing.

    Raises:
        CannotRaiseError: the operator is unknown or gone, or lacks one of the node's attributes or inputs.
    """
    try:
        schema = defs.get_schema(node.op_type, version, "")
    except defs.SchemaError:
        raise CannotRaiseError(f"`{node.op_type}` is not an operator of ONNX") from None
    known = {attribute.name for attribute in node.attribute} <= schema.attributes.keys()
    if schema.deprecated or not known or not schema.min_input <= len(node.input) <= schema.max_input:
        raise CannotRaiseError(f"`{node.op_type}` changed before operator set {version}")


def _describe(graph: GraphProto, scope: Scope) -> None:
    """Note what a graph says of its values; a name given anew hides the outer value of that name."""
    for value in (*graph.value_info, *graph.output, *graph.input):
        scope.types[value.name] = declared(value.type)
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            scope.ranks[value.name] = len(tensor.shape.dim)
    for tensor in graph.initializer:
        scope.types[tensor.name] = DTYPE.get(tensor.data_type, "")
        scope.stored[tensor.name] = tensor


def _constants(nodes: Iterable[NodeProto]) -> Mapping[str, TensorProto]:
    found: MutableMapping[str, TensorProto] = {}
    for node in nodes:
        if node.op_type == "Constant" and node.domain in ONNX_DOMAINS:
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return found
