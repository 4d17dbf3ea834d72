"""Element types of every tensor, from the operators' schemas alone.

`onnx.shape_inference` would copy the model, weights and all, through a string and back (10 000 nodes without
weights: 0.15 s; limit 2 GB).  A plan needs types only, and those follow from the schemas in one walk.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TensorProto, TypeProto, defs, helper

from qsimc.graph import Graph

Types: TypeAlias = MutableMapping[str, str]
"""Tensor name -> numpy's name of its element type, `seq(...)` of it for a sequence, "" when unknown."""

# Calls nest no deeper in a valid model (functions cannot recurse); deeper types stay unknown.
_MAX_CALL_DEPTH = 16


def _names() -> dict[int, str]:
    numbers = set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING}
    known = {number: str(helper.tensor_dtype_to_np_dtype(number)) for number in numbers}
    return known | {TensorProto.STRING: "str", TensorProto.UNDEFINED: ""}


DTYPE: Mapping[int, str] = _names()
"""TensorProto.DataType -> numpy's name."""

_ELEMENT = {name: number for number, name in DTYPE.items()}


def element_type(graph: Graph, tensor: str) -> int:
    """Return the TensorProto.DataType of a tensor, FLOAT where the graph does not know it."""
    known = graph.tensors.get(tensor)
    return _ELEMENT.get(known.dtype, TensorProto.FLOAT) if known is not None and known.dtype else TensorProto.FLOAT


_SCHEMA_WORD = {"float": "float32", "double": "float64", "string": "str"}


def declared(value: TypeProto) -> str:
    """Return the type that a value declares, "" when it declares none."""
    kind = value.WhichOneof("value")
    if kind == "tensor_type":
        return DTYPE.get(value.tensor_type.elem_type, "")
    if kind == "sequence_type":
        return f"seq({declared(value.sequence_type.elem_type)})"
    return ""


_WITH_BODY = frozenset({"If", "Loop", "Scan"})


@dataclass(frozen=True, slots=True)
class _Port:
    """Where one output's type comes from: fixed, or the first known of some inputs, or an attribute."""

    fixed: str = ""
    like: tuple[int, ...] = ()
    variadic_from: int | None = None


class Propagation:
    """One walk over a model: types of the main graph, of the bodies in it, and of function calls."""

    def __init__(self, model: ModelProto) -> None:
        self._opsets = {_domain(o.domain): o.version for o in model.opset_import}
        self._functions = {(_domain(f.domain), f.name): f for f in model.functions}
        self._depth = 0

    def run(self, nodes: Iterable[NodeProto], types: Types) -> None:
        """Add the types of what `nodes` compute to `types`; those already there, the declared ones, stay."""
        for node in nodes:
            if all(types.get(name) for name in node.output):
                continue
            found = self._outputs(node, types)
            for name, dtype in zip(node.output, found, strict=False):
                if name and not types.get(name):
                    types[name] = dtype

    def _outputs(self, node: NodeProto, types: Types) -> Sequence[str]:
        domain = _domain(node.domain)
        if not domain and (special := _SPECIAL.get(node.op_type)):
            return special(node, types)
        if not domain and node.op_type in _WITH_BODY:
            return self._body_outputs(node, types)
        if self._functions and (function := self._functions.get((domain, node.op_type))):
            return self._call(function, node, types)
        ports = _ports(node.op_type, domain, self._opsets.get(domain, 1))
        # A variadic output repeats the last port.
        return [_resolve(ports[min(i, len(ports) - 1)], node, types) for i in range(len(node.output))] if ports else ()

    def _body_outputs(self, node: NodeProto, types: Types) -> Sequence[str]:
        body = next((a.g for a in node.attribute if a.type == AttributeProto.GRAPH), None)
        if body is None:
            return ()
        inside: Types = ChainMap({}, types)
        inside.update({i.name: DTYPE.get(i.data_type, "") for i in body.initializer})
        for formal in body.input:
            inside[formal.name] = declared(formal.type)
        self.run(body.node, inside)
        found = [declared(o.type) or inside.get(o.name, "") for o in body.output]
        # A Loop body's first output is its condition.
        return found[1:] if node.op_type == "Loop" else found

    def _call(self, function: FunctionProto, node: NodeProto, types: Types) -> Sequence[str]:
        if self._depth >= _MAX_CALL_DEPTH:
            return ()
        inside = {formal: types.get(actual, "") for formal, actual in zip(function.input, node.input, strict=False)}
        self._depth += 1
        self.run(function.node, inside)
        self._depth -= 1
        return [inside.get(name, "") for name in function.output]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _attribute(node: NodeProto, *names: str) -> AttributeProto | None:
    return next((a for a in node.attribute if a.name in names), None)


def _resolve(port: _Port, node: NodeProto, types: Mapping[str, str]) -> str:
    if port.fixed:
        return port.fixed
    for index in port.like:
        if index < len(node.input) and (dtype := types.get(node.input[index])):
            return dtype
    if port.variadic_from is not None:
        return next((t for name in node.input[port.variadic_from :] if (t := types.get(name))), "")
    chosen = _attribute(node, "dtype", "output_dtype", "output_datatype", "to")
    return DTYPE.get(chosen.i, "") if chosen is not None else ""


@cache
def _ports(op: str, domain: str, version: int) -> tuple[_Port, ...]:
    try:
        schema = defs.get_schema(op, version, domain)
    except defs.SchemaError:
        return ()
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    variadic = defs.OpSchema.FormalParameterOption.Variadic

    def port(formal: defs.OpSchema.FormalParameter) -> _Port:
        word = formal.type_str
        if word not in allowed:
            return _Port(fixed=_schema_type(word))
        like = tuple(i for i, f in enumerate(schema.inputs) if f.type_str == word)
        if not like:
            only = allowed[word]
            return _Port(fixed=_schema_type(only[0]) if len(only) == 1 else "")
        last = like[-1]
        return _Port(like=like, variadic_from=last if schema.inputs[last].option == variadic else None)

    return tuple(port(formal) for formal in schema.outputs)


def _schema_type(word: str) -> str:
    """Turn `tensor(float)` into `float32`; other containers are no tensors."""
    if not word.startswith("tensor("):
        return ""
    inner = word[len("tensor(") : -1]
    return _SCHEMA_WORD.get(inner, inner)


def _constant(node: NodeProto, types: Types) -> Sequence[str]:
    for attribute in node.attribute:
        if attribute.name in ("value", "sparse_value"):
            tensor = attribute.t if attribute.name == "value" else attribute.sparse_tensor.values
            return (DTYPE.get(tensor.data_type, ""),)
        for kind, dtype in (("value_float", "float32"), ("value_int", "int64"), ("value_string", "str")):
            if attribute.name.startswith(kind):
                return (dtype,)
    return ("",)


def _constant_of_shape(node: NodeProto, types: Types) -> Sequence[str]:
    value = _attribute(node, "value")
    return ("float32" if value is None else DTYPE.get(value.t.data_type, ""),)


def _dtype_or(default: str | int) -> Callable[[NodeProto, Types], Sequence[str]]:
    """The attribute `dtype` decides; without it a fixed type, or that of an input."""

    def rule(node: NodeProto, types: Types) -> Sequence[str]:
        chosen = _attribute(node, "dtype", "output_dtype", "output_datatype")
        if chosen is not None and chosen.i:
            return (DTYPE.get(chosen.i, ""),)
        if isinstance(default, str):
            return (default,)
        return (types.get(node.input[default], "") if default < len(node.input) else "",)

    return rule


def _quantize_linear(node: NodeProto, types: Types) -> Sequence[str]:
    zero_point = types.get(node.input[2], "") if len(node.input) > 2 else ""
    return (zero_point,) if zero_point else _dtype_or("uint8")(node, types)


def _sequence_of_input(node: NodeProto, types: Types) -> Sequence[str]:
    return (f"seq({types.get(node.input[0], '') if node.input else ''})",)


def _element_of_input(node: NodeProto, types: Types) -> Sequence[str]:
    sequence = types.get(node.input[0], "") if node.input else ""
    return (sequence[len("seq(") : -1] if sequence.startswith("seq(") else "",)


def _sequence_empty(node: NodeProto, types: Types) -> Sequence[str]:
    return (f"seq({_dtype_or('float32')(node, types)[0]})",)


# Operators whose output type the schema's type variables do not determine.
_SPECIAL: Mapping[str, Callable[[NodeProto, Types], Sequence[str]]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "QuantizeLinear": _quantize_linear,
    "EyeLike": _dtype_or(0),
    "Bernoulli": _dtype_or(0),
    "RandomNormalLike": _dtype_or(0),
    "RandomUniformLike": _dtype_or(0),
    "RandomNormal": _dtype_or("float32"),
    "RandomUniform": _dtype_or("float32"),
    "Multinomial": _dtype_or("int32"),
    "HannWindow": _dtype_or("float32"),
    "HammingWindow": _dtype_or("float32"),
    "BlackmanWindow": _dtype_or("float32"),
    "MelWeightMatrix": _dtype_or("float32"),
    "SequenceEmpty": _sequence_empty,
    "SequenceConstruct": _sequence_of_input,
    "SplitToSequence": _sequence_of_input,
    "SequenceAt": _element_of_input,
    "ConcatFromSequence": _element_of_input,
}
