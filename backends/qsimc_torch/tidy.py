"""An exporter's graph -> one worth reading: constants folded, names that lead back to the module, no traces of paths.

Parameters are left alone: each stays an initializer of its own, under its name in `state_dict`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Set

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript import optimizer
from torch import nn

_SCOPES = "pkg.torch.onnx.name_scopes"
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"


def tidy(model: ir.Model, module: nn.Module) -> None:
    """Rewrite the exported graph of `module` in place; it computes the same."""
    optimizer.inline(model)
    kept = set(model.graph.initializers.values())
    # Torch writes constants as nodes, and in expressions of them; weights are not constants in this sense.
    optimizer.fold_constants(model, should_fold=lambda node: False if kept.intersection(node.inputs) else None)
    _settle_shapes(model.graph)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _drop_zero_biases(model.graph, kept)
    RemoveUnusedNodesPass()(model)
    _name_parameters(model.graph, module)
    _name_nodes(model.graph)
    _name_values(model.graph, kept)
    _name_batch(model.graph)
    _strip(model)
    model.graph.name = type(module).__name__


def _settle_shapes(graph: ir.Graph) -> None:
    """Give a Reshape that computes its shape from the batch size the constant [-1, …] instead."""
    for node in list(graph):
        shape = node.outputs[0].shape
        if node.op_type != "Reshape" or shape is None or node.inputs[1] is None:
            continue
        if ir.convenience.get_const_tensor(node.inputs[1]) is not None:
            continue
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) == 1 and 0 not in sizes:
            constant = ir.node("Constant", [], {"value_ints": sizes})
            graph.insert_before(node, constant)
            node.replace_input_with(1, constant.outputs[0])


def _drop_zero_biases(graph: ir.Graph, kept: Set[ir.Value]) -> None:
    """Remove the bias that torch makes up for a convolution without one: a plan would count it as a parameter."""
    for node in graph:
        if node.op_type not in ("Conv", "ConvTranspose") or len(node.inputs) < 3:
            continue
        bias = node.inputs[2]
        if (
            bias is not None
            and bias not in kept
            and bias.const_value is not None
            and not bias.const_value.numpy().any()
        ):
            node.resize_inputs(2)


def _name_parameters(graph: ir.Graph, module: nn.Module) -> None:
    """Give tied parameters the first of their names, as `named_parameters` does; torch exports the last."""
    first: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        canonical = first.setdefault(id(tensor), name)
        if canonical != name and name in graph.initializers and canonical not in graph.initializers:
            graph.initializers[name].name = canonical


def _name_nodes(graph: ir.Graph) -> None:
    """Name each node after the module that runs it and its operator: `/layer1.0.conv1/Conv`."""
    taken: set[str] = set()
    for node in graph:
        scope = _scope(node)
        node.name = _unique(f"/{scope}/{node.op_type}" if scope else f"/{node.op_type}", taken)


def _scope(node: ir.Node) -> str:
    """Return the dotted path of the innermost module around a node, empty for the model itself."""
    text = node.metadata_props.get(_SCOPES)
    # The list ends with the node's own name: ['', 'layer1', 'layer1.0', 'conv2d'].
    scopes: list[str] = ast.literal_eval(text)[:-1] if text else []
    return scopes[-1] if scopes and scopes[-1] != _NO_MODULE else ""


def _name_values(graph: ir.Graph, kept: Set[ir.Value]) -> None:
    """Name what nodes compute after the nodes, what folding left after its reader, and outputs as such."""
    outputs = [value for value in dict.fromkeys(graph.outputs) if value.producer() is not None]
    taken = {value.name for value in (*graph.inputs, *kept) if value.name}
    folded = [value for value in graph.initializers.values() if value not in kept]
    for node in graph:
        for index, value in enumerate(node.outputs):
            if value.name and value not in outputs:  # an empty name is an optional output left out
                value.name = _unique(f"{node.name}_output_{index}", taken)
    for value in folded:
        reader, position = next(iter(value.uses()))
        value.name = _unique(f"{reader.name}_input_{position}", taken)
    for index, value in enumerate(outputs):
        value.name = _unique("output" if len(outputs) == 1 else f"output_{index}", taken)


def _name_batch(graph: ir.Graph) -> None:
    """Call the open axis of the inputs `batch`; torch now and then says `s77` instead."""
    axes = [value.shape[0] for value in graph.inputs if value.shape is not None and value.shape.rank()]
    symbol = next((axis.value for axis in axes if isinstance(axis, ir.SymbolicDim) and axis.value), None)
    if symbol is None or symbol == "batch":
        return
    pattern = re.compile(rf"\b{re.escape(symbol)}\b")
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        if value.shape is not None:
            value.shape = ir.Shape([_renamed(dim, pattern) for dim in value.shape])


def _renamed(dim: int | ir.SymbolicDim, pattern: re.Pattern[str]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    return None if dim.value is None else pattern.sub("batch", dim.value)


def _strip(model: ir.Model) -> None:
    """Drop notes of the exporter: they hold source lines and paths of the machine."""
    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None


def _unique(wish: str, taken: set[str]) -> str:
    name, count = wish, 0
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    return name
