"""Running a model piece by piece, so that what one piece makes can be changed before the next reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from qsimc.backend import Batch
from qsimc.ir.quant import Numeric
from qsimc.planning.plan import Mode, Plan
from qsimc.planning.vitis.network import EDGE
from qsimc_onnx.build import instrument
from qsimc_onnx.dtypes import element_type
from qsimc_onnx.editor import Editor
from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.origins import origin
from qsimc_onnx.protos import reads
from qsimc_onnx.session import load, quiet_options, run_once

Values = Mapping[str, NDArray[Any]]
Settle = Callable[[Values], Values]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Nodes that need nothing but settled values, as a session of their own."""

    session: onnxruntime.InferenceSession
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxWalk:
    """A model as a sequence of stages; `qsimc.backend.Walk`."""

    def __init__(self, model: OnnxModel, stops: Sequence[str], watched: Sequence[str], fed: Sequence[str]) -> None:
        """Cut a model after `stops`; `fed` are constants that each run gives, `watched` are only shown."""
        self._path = model.path
        self._types = partial(element_type, model.graph)
        self._stops = frozenset(stops)
        self._shown = self._stops | frozenset(watched)
        self._fed = frozenset(fed)
        self._inputs = tuple(model.inputs)
        self._results = tuple(value.name for value in model.proto.graph.output)
        levels = _levels(model.proto.graph.node, self._stops)
        self._last_use = _last_uses(levels, self._results)
        self._stages = tuple(self._stage(model.proto, nodes, number) for number, nodes in enumerate(levels))

    def run(self, batch: Batch, constants: Values, settle: Settle) -> Values:
        """Run one batch; return the model's outputs.

        Args:
            constants: values of the fed constants.
            settle: gets the stops and the watched tensors of each stage, inputs of the model first, and returns
                the values that those stops have from then on.

        Raises:
            InputError: onnxruntime refuses the batch (Q0508).
        """
        values: dict[str, NDArray[Any]] = {**batch, **{name: constants[name] for name in self._fed}}
        values |= settle({name: values[name] for name in self._inputs if name in self._shown})
        for number, stage in enumerate(self._stages):
            given = {name: values[name] for name in stage.inputs}
            made = dict(zip(stage.outputs, run_once(stage.session, stage.outputs, given, self._path), strict=True))
            values |= made
            shown = {name: made[name] for name in stage.outputs if name in self._shown}
            if shown:
                values |= settle(shown)
            for name in [name for name in values if self._last_use.get(name, -1) <= number]:
                if name not in self._results and name not in self._fed:
                    del values[name]
        return {name: values[name] for name in self._results}

    def _stage(self, proto: ModelProto, nodes: Sequence[NodeProto], number: int) -> _Stage:
        made = {name for node in nodes for name in node.output if name}
        needed = dict.fromkeys(name for node in nodes for name in reads(node) if name and name not in made)
        stored = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name not in self._fed}
        inputs = tuple(name for name in needed if name not in stored)
        outputs = tuple(
            name
            for node in nodes
            for name in node.output
            if name and (self._last_use.get(name, -1) > number or name in self._shown or name in self._results)
        )
        model = ModelProto()
        model.ir_version = proto.ir_version
        model.opset_import.extend(proto.opset_import)
        model.functions.extend(proto.functions)
        model.graph.name = f"stage_{number}"
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(stored[name] for name in needed if name in stored)
        model.graph.input.extend(onnx.helper.make_tensor_value_info(name, self._types(name), None) for name in inputs)
        for name in outputs:
            model.graph.output.add(name=name)
        options = quiet_options()
        # What is fused rounds differently, and a stage is small.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return _Stage(load(model.SerializeToString(), options, self._path), inputs, outputs)


def _levels(nodes: Sequence[NodeProto], stops: frozenset[str]) -> list[list[NodeProto]]:
    """Return the nodes by how many stops lie before them on the longest way."""
    level: dict[str, int] = {}
    found: list[list[NodeProto]] = []
    for node in nodes:
        number = max((level[name] + (name in stops) for name in reads(node) if name in level), default=0)
        while len(found) <= number:
            found.append([])
        found[number].append(node)
        level |= dict.fromkeys((name for name in node.output if name), number)
    return [nodes for nodes in found if nodes]


def _last_uses(levels: Sequence[Sequence[NodeProto]], results: Sequence[str]) -> dict[str, int]:
    used = {name: number for number, nodes in enumerate(levels) for node in nodes for name in reads(node)}
    return {**used, **{name: max(used.get(name, -1), len(levels)) for name in results}}


def walk(
    model: OnnxModel,
    plan: Plan,
    stops: Sequence[str],
    constants: Values,
    fed: Sequence[str],
    twins: Mapping[str, Values],
) -> tuple[OnnxWalk, Mapping[str, str]]:
    """Return a walk of a model, and for each twin what it computes; see `qsimc.backend.Backend.walk`."""
    editor = Editor(model)
    around = _casts_of_inputs(editor, plan)
    copies = {output: _twin(editor, output, params, around) for output, params in twins.items()}
    for name, values in constants.items():
        editor.set_constant(name, values)
    for name in fed:
        if (node := editor.producer(name)) is not None:
            editor.remove(node)
    doubled = editor.done()
    # What the caller gives is cast already, if it is to be.
    given = {*constants, *fed}
    casts = [p for p in plan.enabled() if p.spec.type is not Numeric.INT and p.tensor not in given]
    proto = instrument(doubled, casts, {})
    cast = OnnxModel(model.path, read_graph(proto), proto)
    return OnnxWalk(cast, stops, [*copies, *copies.values()], fed), copies


def _casts_of_inputs(editor: Editor, plan: Plan) -> dict[str, str]:
    """Return, for what casts the input of one operator alone, the tensor before it.

    The original compares with the operator on that tensor: its casts make new tensors, while it quantizes integers
    where they lie.
    """
    if plan.mode is not Mode.VENDOR:
        return {}
    edges = [node for node in editor.nodes if origin(node).function == EDGE]
    casts = {p.tensor for p in plan.enabled() if p.spec.type is not Numeric.INT}
    return {node.output[0]: node.input[0] for node in edges if node.output[0] in casts}


def _twin(editor: Editor, output: str, params: Values, around: Mapping[str, str]) -> str:
    """Copy the nodes between an output and its parameters, with other values of those; return what the copy gives.

    The copy reads `around[t]` where the operator reads t.
    """
    own = {tensor: editor.store(f"{tensor}/float", np.asarray(values)) for tensor, values in params.items()}
    members: list[NodeProto] = []
    waiting = [output]
    while waiting:
        node = editor.producer(waiting.pop())
        if node is None or not any(_leads_to(editor, name, own) for name in node.input):
            continue
        members.insert(0, node)
        waiting += [name for name in node.input if name not in own and _leads_to(editor, name, own)]
    renamed = {
        **around,
        **own,
        **{name: editor.names.fresh(f"{name}/float") for node in members for name in node.output},
    }
    last = members[-1]
    copied = []
    for node in members:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = editor.names.fresh(f"{node.name}/float")
        copy.input[:] = [renamed.get(name, name) for name in node.input]
        copy.output[:] = [renamed.get(name, name) for name in node.output]
        copied.append(copy)
    editor.replace(last, [last, *copied])
    return renamed[output]


def _leads_to(editor: Editor, tensor: str, params: Mapping[str, str]) -> bool:
    """Say whether a tensor is one of some parameters, or an operator makes it of one."""
    if tensor in params:
        return True
    node = editor.producer(tensor)
    return node is not None and node.op_type in ("MatMul", "Transpose") and any(name in params for name in node.input)
