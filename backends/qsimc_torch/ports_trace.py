"""Reading a trace: the calls of modules and functions, in order, with what flows into each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import nn

from qsimc.planning.torch.graph import Call, Edge, Feed, Module, call_type
from qsimc.spec.torch_classes import torch_classes

_Value: TypeAlias = "Edge | _Scope | tuple[_Value, ...]"
_Values: TypeAlias = "dict[str, _Value]"

# Types whose parameters are inputs of their calls in AIMET's graph, in this order.
_WITH_PARAMS = {
    "Conv": ("weight", "bias"),
    "ConvTranspose": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}


@dataclass(frozen=True, slots=True)
class _Scope:
    """A part of the model and its trace."""

    module: nn.Module
    traced: Any


class Trace:
    """Turns the trace of a module into calls.

    A module without parts is one call, whatever it does inside.  Everything else is entered, and functions
    called there are calls of their own.
    """

    def __init__(self, model: nn.Module, modules: Mapping[str, Module]) -> None:
        self._model = type(model).__name__
        self._modules = modules
        self._names = {id(part): name for name, part in model.named_modules()}
        self._root = model
        self._calls: list[Call] = []
        self._constants = 0

    def run(self, traced: Any) -> tuple[tuple[Call, ...], tuple[str, ...]]:
        """Return the calls in order, and the names of those that compute the outputs."""
        inputs = [
            Edge(f"input_{i}", Feed.INPUT, shape=_shape(value))
            for i, value in enumerate(list(traced.graph.inputs())[1:])
        ]
        outputs = self._enter(_Scope(self._root, traced), traced.graph, inputs)
        return tuple(self._calls), tuple(edge.source for edge in _flat(outputs) if edge.source)

    def _enter(self, scope: _Scope, graph: Any, arguments: Iterable[_Value]) -> list[_Value]:
        """Read the graph of one part and return what it returns."""
        own, *inputs = graph.inputs()
        values: _Values = {own.debugName(): scope}
        values.update(zip((value.debugName() for value in inputs), arguments, strict=True))
        for node in graph.nodes():
            self._read(node, values)
        return [values[value.debugName()] for value in graph.outputs()]

    def _read(self, node: Any, values: _Values) -> None:
        kind = node.kind()
        inputs = [values[value.debugName()] for value in node.inputs()]
        outputs = [value.debugName() for value in node.outputs()]
        if kind == "prim::GetAttr":
            values[outputs[0]] = self._attribute(inputs[0], node.s("name"))
        elif kind == "prim::Constant":
            values[outputs[0]] = self._constant(node)
        elif kind == "prim::CallMethod":
            values[outputs[0]] = self._method(node, inputs)
        elif kind in ("prim::ListConstruct", "prim::TupleConstruct", "prim::DictConstruct"):
            values[outputs[0]] = tuple(inputs)
        elif kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            values.update(zip(outputs, _unpacked(inputs[0], len(outputs)), strict=True))
        else:
            values.update(self._function(node, kind, inputs, outputs))

    def _attribute(self, owner: _Value, name: str) -> _Value:
        assert isinstance(owner, _Scope), "only modules have attributes"
        value = getattr(owner.module, name)
        if isinstance(value, nn.Module):
            return _Scope(value, getattr(owner.traced, name))
        prefix = self._names.get(id(owner.module), "")
        path = ".".join(part for part in (self._model, prefix, name) if part)
        if isinstance(value, nn.Parameter):
            return Edge(path, Feed.PARAM, shape=tuple(value.shape))
        return self._tensor(path, value) if isinstance(value, torch.Tensor) else Edge(path, Feed.CONSTANT, known=True)

    def _constant(self, node: Any) -> Edge:
        name = f"constant_{self._constants}"
        self._constants += 1
        value = node.output().toIValue()
        if isinstance(node.output().type(), torch.TensorType):  # `x * 2.0` holds a tensor without axes
            return self._tensor(name, torch.as_tensor(value))
        return Edge(name, Feed.CONSTANT, known=isinstance(value, int | float))

    def _tensor(self, name: str, value: torch.Tensor) -> Edge:
        positive = value.numel() == 1 and bool(value > 0)
        return Edge(name, Feed.CONSTANT, shape=tuple(value.shape), known=True, positive_scalar=positive)

    def _method(self, node: Any, inputs: list[_Value]) -> _Value:
        scope, *arguments = inputs
        assert isinstance(scope, _Scope), "methods are called on modules"
        graph = _graph_of(scope.traced, node.s("name"))
        name = self._names[id(scope.module)]
        if name not in self._modules:
            returned = self._enter(scope, graph, arguments)
            return returned[0] if len(returned) == 1 else tuple(returned)
        if isinstance(scope.module, nn.Identity):  # a trace leads past it, mostly without giving it an argument
            return arguments[0] if arguments else ()
        edges = list(_flat(arguments))
        if not type(scope.module).__module__.startswith("torch."):
            edges = self._inner_inputs(scope, graph, arguments) or edges
        edges += self._params(self._modules[name], scope.module)
        return self._call(call_type(self._modules[name].cls), edges, self._modules[name])

    def _inner_inputs(self, scope: _Scope, graph: Any, arguments: list[_Value]) -> list[Edge]:
        """Return the inputs of the one function that a module consists of, nothing if there are more.

        A number that a module is called with is no argument in a trace: it is a constant inside.
        """
        if sum(node.kind().startswith("aten::") for node in graph.nodes()) != 1:
            return []
        own, *inputs = graph.inputs()
        values: _Values = {own.debugName(): scope}
        values.update(zip((value.debugName() for value in inputs), arguments, strict=True))
        for node in graph.nodes():
            if node.kind().startswith("aten::"):
                return list(_flat(values[value.debugName()] for value in node.inputs()))
            self._read(node, values)
        return []

    def _params(self, module: Module, live: nn.Module) -> Iterator[Edge]:
        for param in _WITH_PARAMS.get(call_type(module.cls), ()):
            value = getattr(live, param, None)
            if isinstance(value, torch.Tensor):
                yield Edge(f"{self._model}.{module.name}.{param}", Feed.PARAM, shape=tuple(value.shape))

    def _function(self, node: Any, kind: str, inputs: list[_Value], outputs: list[str]) -> _Values:
        table = torch_classes().functional
        name = kind.rpartition("::")[2].strip("_")
        if name in table.transparent:
            return dict.fromkeys(outputs, inputs[0])
        edge = self._call(table.named.get(name, name), list(_flat(inputs)), None)
        return {value.debugName(): replace(edge, shape=_shape(value)) for value in node.outputs()}

    def _call(self, type_: str, edges: list[Edge], module: Module | None) -> Edge:
        """Note a call and return its result."""
        name = f"{type_}_{len(self._calls)}"
        named = tuple(replace(edge, name=_edge_name(edge, name)) for edge in edges)
        groups = module.groups if module is not None and "Conv" in type_ else None
        self._calls.append(Call(name, type_, None if module is None else module.name, named, groups))
        return Edge(name, Feed.CALL, name)


def _graph_of(traced: Any, method: str) -> Any:
    """Return the trace of one call: of several calls of one module, the later ones are `forward1`, `forward2`, ..."""
    return traced.graph if method == "forward" else getattr(traced, method).graph


def _edge_name(edge: Edge, call: str) -> str:
    return edge.name if edge.feed is Feed.PARAM and "." in edge.name else f"{edge.name}_to_{call}"


def _unpacked(value: _Value, count: int) -> Iterable[_Value]:
    """Return the parts of a value; those of a call's result are all that call's."""
    return value if isinstance(value, tuple) else (value,) * count


def _flat(values: Iterable[_Value]) -> Iterator[Edge]:
    for value in values:
        if isinstance(value, Edge):
            yield value
        elif isinstance(value, tuple):
            yield from _flat(value)


def _shape(value: Any) -> tuple[int, ...] | None:
    type_ = value.type()
    sizes = type_.sizes() if isinstance(type_, torch.TensorType) else None
    return None if sizes is None else tuple(sizes)
