"""What makes an ONNX file nonsense, whatever its weights are: the structural rules that every later stage relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from google.protobuf.message import Message  # type: ignore[import-untyped, unused-ignore]
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto

from qsimc_onnx.protos import BITS, attribute_graphs, byte_size, count, is_external

_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def is_text(message: Message) -> bool:
    """Return whether every text of a message, and of those in it, is UTF-8.

    The protobuf library gives one that is not as bytes, and everything else here is built on text.
    """
    if isinstance(message, TensorProto):
        # Its fields one by one: listing them would copy the weights.
        entries = (*message.external_data, *message.metadata_props)
        return _are_text((message.name, message.doc_string)) and all(map(is_text, entries))
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_STRING and not _are_text(values):
            return False
        if field.type == field.TYPE_MESSAGE and not all(map(is_text, values)):
            return False
    return True


def _are_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def problems(model: ModelProto, stored: Sequence[TensorProto]) -> Iterator[str]:
    """Yield what is wrong with a model's structure and its stored tensors, each in one clause."""
    if not model.HasField("graph"):
        yield "it has no graph"
        return
    if not model.opset_import:
        yield "it imports no operator set"
    constants = {tensor.name for tensor in model.graph.initializer}
    if all(value.name in constants for value in model.graph.input):
        yield "its graph has no inputs"
    if not model.graph.output:
        yield "its graph has no outputs"
    yield from _graph_problems(model.graph, ())
    yield from _recursion(model.functions)
    for tensor in stored:
        if not is_external(tensor) and (problem := _tensor_problem(tensor)):
            yield f"tensor `{tensor.name}`: {problem}"


def _graph_problems(graph: GraphProto, outer: Sequence[AbstractSet[str]]) -> Iterator[str]:
    """Yield the values that are read before they exist, and those made twice."""
    known = {value.name for value in graph.input}
    made: set[str] = set()
    for tensor in graph.initializer:
        if tensor.name in made:
            yield f"`{tensor.name}` is stored twice"
        made.add(tensor.name)
    made.update(sparse.values.name for sparse in graph.sparse_initializer)
    known |= made
    scopes = (*outer, known)
    for node in graph.node:
        if not node.op_type:
            yield f"node `{node.name}` names no operator"
        for name in node.input:
            if name and not any(name in scope for scope in scopes):
                yield f"`{name}`, which node `{node.name or node.op_type}` reads, is not defined before it"
        for inner in attribute_graphs(node):
            yield from _graph_problems(inner, scopes)
        for name in filter(None, node.output):
            if name in known:
                yield f"`{name}` is produced twice"
            known.add(name)
    for output in graph.output:
        if not any(output.name in scope for scope in scopes):
            yield f"the output `{output.name}` is produced by nothing"


def _recursion(functions: Sequence[FunctionProto]) -> Iterator[str]:
    """Yield the model-local functions that call themselves, directly or not."""
    calls = {(f.domain, f.name): {(node.domain, node.op_type) for node in f.node} for f in functions}
    for start in calls:
        reached: set[tuple[str, str]] = set()
        waiting = list(calls[start])
        while waiting:
            callee = waiting.pop()
            if callee in calls and callee not in reached:
                reached.add(callee)
                waiting += calls[callee]
        if start in reached:
            yield f"function `{start[1]}` calls itself"


def _tensor_problem(tensor: TensorProto) -> str | None:
    """Return why a tensor's stored data cannot be its value, None when it can."""
    used = {field: len(data) for field in _DATA_FIELDS if (data := getattr(tensor, field))}
    if len(used) > 1:
        return f"has its data twice, in {' and '.join(f'`{field}`' for field in used)}"
    if tensor.data_type == TensorProto.STRING:
        return None
    try:
        need = byte_size(tensor)
    except ValueError as problem:
        return str(problem)
    if "raw_data" not in used:
        # Typed fields hold one number per element, except packed types (bytes) and complex ones (pairs).
        items = need if tensor.data_type in BITS else count(tensor)
        need = 2 * items if tensor.data_type in _COMPLEX else items
    have = next(iter(used.values()), 0)
    return None if have == need else f"stores {have} items where its shape {list(tensor.dims)} needs {need}"
