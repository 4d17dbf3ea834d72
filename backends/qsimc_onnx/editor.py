"""Changing a model in memory: constants by name, nodes in place; the file it was opened from stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.protos import opset, reads
from qsimc_onnx.rewrite import Names, sweep


@dataclass(slots=True)
class Editor:
    """A copy of a model that is being changed."""

    model: OnnxModel
    proto: ModelProto = field(init=False)
    names: Names = field(init=False)
    _new: dict[str, NDArray[Any]] = field(default_factory=dict)
    _stored: dict[str, TensorProto] = field(init=False)
    _index: _Index | None = None

    def __post_init__(self) -> None:
        self.proto = ModelProto()
        self.proto.CopyFrom(self.model.proto)
        self.names = Names.of(self.proto)
        self._stored = {stored.name: stored for stored in self.proto.graph.initializer}

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return opset(self.proto)

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes of the main graph, in order."""
        return list(self.proto.graph.node)

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that makes a tensor."""
        return self._indexed().makers.get(tensor)

    def readers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor, subgraphs included, each once."""
        return list(self._indexed().readers.get(tensor, ()))

    def touch(self) -> None:
        """Say that what nodes read or make was changed in place."""
        self._index = None

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = _Index.of(self.proto.graph.node)
        return self._index

    def is_output(self, tensor: str) -> bool:
        """Say whether the model puts a tensor out."""
        return any(value.name == tensor for value in self.proto.graph.output)

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
        graph = self.proto.graph
        made = self.producer(tensor)
        if made is not None:
            graph.node.remove(made)
            self.touch()
        if tensor not in self._stored:
            self._stored[tensor] = graph.initializer.add()
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
        if len(self.readers(tensor)) > 1 or tensor != node.input[position]:
            name = node.input[position] if tensor != node.input[position] else tensor
            tensor = self.store(f"{name}_own", np.array(self.constant(tensor)))
            node.input[position] = tensor
            self.touch()
        return tensor

    def stored_behind(self, tensor: str) -> str:
        """Return the constant that a tensor is a copy of, else the tensor itself."""
        made = self.producer(tensor)
        while made is not None and made.op_type == "Identity":
            tensor = made.input[0]
            made = self.producer(tensor)
        return tensor

    def replace(self, node: NodeProto, nodes: Sequence[NodeProto]) -> None:
        """Put nodes in the place of one, which may be among them."""
        held = self.proto.graph.node
        place = next(position for position, old in enumerate(held) if old is node)
        kept = next((position for position, new in enumerate(nodes) if new is node), None)
        if kept is None:
            kept = len(nodes) - 1
            node.CopyFrom(nodes[kept])
        for new in nodes[:kept]:
            held.insert(place, new)
            place += 1
        for new in reversed(nodes[kept + 1 :]):
            held.insert(place + 1, new)
        self.touch()

    def remove(self, node: NodeProto) -> None:
        """Remove a node."""
        self.proto.graph.node.remove(node)
        self.touch()

    def bypass(self, node: NodeProto, tensor: str) -> None:
        """Remove a node whose first output is to be made by the producer of `tensor`, which nobody else reads."""
        result = node.output[0]
        made = self.producer(tensor)
        assert made is not None, f"nothing makes {tensor}"
        made.output[list(made.output).index(tensor)] = result
        self.remove(node)

    def done(self) -> OnnxModel:
        """Return the changed model, as if it had been opened from the same place."""
        sweep(self.proto.graph)
        return OnnxModel(self.model.path, read_graph(self.proto), self.proto)


@dataclass(frozen=True, slots=True)
class _Index:
    """Who makes and who reads each tensor."""

    makers: Mapping[str, NodeProto]
    readers: Mapping[str, Sequence[NodeProto]]

    @classmethod
    def of(cls, nodes: Iterable[NodeProto]) -> _Index:
        makers: dict[str, NodeProto] = {}
        readers: dict[str, list[NodeProto]] = {}
        for node in nodes:
            makers |= {name: node for name in node.output if name}
            for name in dict.fromkeys(reads(node)):
                readers.setdefault(name, []).append(node)
        return cls(makers, readers)


def with_constants(model: OnnxModel, values: Mapping[str, NDArray[Any]]) -> OnnxModel:
    """Return the model with other values of some constants."""
    editor = Editor(model)
    for tensor, value in values.items():
        editor.set_constant(tensor, value)
    return editor.done()
