"""Changing a model in memory: constants by name, nodes in place; the file it was opened from stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.nodes import NodeList
from qsimc_onnx.protos import opset
from qsimc_onnx.rewrite import Names, sweep


@dataclass(slots=True)
class Editor:
    """A copy of a model that is being changed.

    An edit costs what it touches, not what the model has: its nodes are not in the protobuf while they are changed.
    """

    model: OnnxModel
    names: Names = field(init=False)
    _proto: ModelProto = field(init=False)
    _nodes: NodeList = field(init=False)
    _new: dict[str, NDArray[Any]] = field(default_factory=dict)
    _stored: dict[str, TensorProto] = field(init=False)
    _outputs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._proto = ModelProto()
        self._proto.CopyFrom(self.model.proto)
        self._nodes = NodeList(self._proto.graph.node)
        self.names = Names.of(self._proto)
        self._stored = {stored.name: stored for stored in self._proto.graph.initializer}
        self._outputs = frozenset(value.name for value in self._proto.graph.output)

    @property
    def proto(self) -> ModelProto:
        """The model as it is now, to be read: its nodes are copies of those that are being changed."""
        held = self._proto.graph.node
        del held[:]
        held.extend(self._nodes)
        return self._proto

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return opset(self._proto)

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes of the main graph, in order."""
        return list(self._nodes)

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that makes a tensor."""
        return self._nodes.maker(tensor)

    def readers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor, subgraphs included, each once, in the order of the graph."""
        return self._nodes.readers(tensor)

    def touch(self, *nodes: NodeProto) -> None:
        """Say that what these nodes read or make was changed in place."""
        for node in nodes:
            self._nodes.reread(node)

    def is_output(self, tensor: str) -> bool:
        """Say whether the model puts a tensor out."""
        return tensor in self._outputs

    def stores(self, tensor: str) -> bool:
        """Say whether a tensor is a constant of the model."""
        return tensor in self._new or self.model.stores(tensor)

    def constant(self, tensor: str) -> NDArray[Any]:
        """Return a constant as it is now.

        Raises:
            KeyError: there is none of that name.
        """
        return self._new[tensor] if tensor in self._new else self.model.constant(tensor)

    def set_constant(self, tensor: str, values: NDArray[Any]) -> None:
        """Give a constant another value; a Constant node that made it becomes an initializer."""
        self._new[tensor] = values
        made = self.producer(tensor)
        if made is not None:
            self._nodes.remove(made)
        if tensor not in self._stored:
            self._stored[tensor] = self._proto.graph.initializer.add()
        self._stored[tensor].CopyFrom(onnx.numpy_helper.from_array(values, tensor))

    def store(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant under a name that is free; return it."""
        fresh = self.names.fresh(name)
        self.set_constant(fresh, values)
        return fresh

    def number(self, name: str, value: float) -> str:
        """Add a single float32 number; return its name."""
        return self.store(name, np.array(value, np.float32))

    def own(self, node: NodeProto, position: int) -> str:
        """Return the name of a node's constant operand, which no other node reads from then on.

        An Identity between the constant and the node is passed by.
        """
        tensor = self.stored_behind(node.input[position])
        if self._nodes.reader_count(tensor) > 1 or tensor != node.input[position]:
            name = node.input[position] if tensor != node.input[position] else tensor
            tensor = self.store(f"{name}_own", np.array(self.constant(tensor)))
            node.input[position] = tensor
            self.touch(node)
        return tensor

    def stored_behind(self, tensor: str) -> str:
        """Return the constant that a tensor is a copy of, else the tensor itself."""
        made = self.producer(tensor)
        while made is not None and made.op_type == "Identity":
            tensor = made.input[0]
            made = self.producer(tensor)
        return tensor

    def replace(self, node: NodeProto, nodes: Sequence[NodeProto]) -> None:
        """Put nodes in the place of one, which may be among them; else it becomes the last of them."""
        if not any(new is node for new in nodes):
            node.CopyFrom(nodes[-1])
            nodes = (*nodes[:-1], node)
        self._nodes.replace(node, nodes)

    def append(self, node: NodeProto) -> None:
        """Add a node at the end."""
        self._nodes.append(node)

    def remove(self, node: NodeProto) -> None:
        """Remove a node."""
        self._nodes.remove(node)

    def bypass(self, node: NodeProto, tensor: str) -> None:
        """Remove a node whose first output is to be made by the producer of `tensor`, which nobody else reads."""
        result = node.output[0]
        made = self.producer(tensor)
        assert made is not None, f"nothing makes {tensor}"
        made.output[list(made.output).index(tensor)] = result
        self.touch(made)
        self.remove(node)

    def done(self) -> OnnxModel:
        """Return the changed model, as if it had been opened from the same place."""
        proto = self.proto
        sweep(proto.graph)
        return OnnxModel(self.model.path, read_graph(proto), proto)


def with_constants(model: OnnxModel, values: Mapping[str, NDArray[Any]]) -> OnnxModel:
    """Return the model with other values of some constants."""
    editor = Editor(model)
    for tensor, value in values.items():
        editor.set_constant(tensor, value)
    return editor.done()
