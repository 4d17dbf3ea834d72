"""What a model is: nodes and tensors, whatever framework they came from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

Attribute: TypeAlias = "int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]"

FLOATS = frozenset({"float32", "float16", "bfloat16"})
"""Element types that can carry a quantizer (double tensors are left alone, as AIMET does)."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph, by its ONNX name.

    `dtype` is numpy's name of the element type, empty when it cannot be inferred; `shape` is None when
    even the rank is unknown, and an unknown dimension is None.  `constant` says that the value is an
    initializer or the output of a Constant node; `scalar` holds it when it is a single number.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    constant: bool = False
    scalar: float | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the source model a node comes from; all of it is empty where the file does not say.

    Attributes:
        path: the module, as in the keys of a state dict: `layer1.0.conv1`.
        module: the class of that module: `torch.nn.modules.conv.Conv2d`.
        call: the call that the node is, or is a part of; unique within the model.
        function: what was called: `aten.silu.default`.
    """

    path: str = ""
    module: str = ""
    call: str = ""
    function: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator.  `inputs` keeps "" where an optional input is absent, so positions mean what ONNX says.

    `captures` are the outer values that the node's subgraphs (If, Loop, Scan) read, `inner` the values
    that they compute.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    captures: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    origin: Origin = Origin()


@dataclass(frozen=True)
class Graph:
    """A model's main graph: nodes in the file's own (topological) order, every name unique.

    `source` is the class of the model that the file was exported from, empty where the file does not say.
    """

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str = ""

    @cached_property
    def producer(self) -> Mapping[str, Node]:
        """Tensor name -> the node that makes it; inputs and initializers have none."""
        return {tensor: node for node in self.nodes for tensor in node.outputs if tensor}

    @cached_property
    def public(self) -> frozenset[str]:
        """What the model puts out, to look names up in: a decoder has two outputs per layer."""
        return frozenset(self.outputs)

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Tensor name -> the nodes that read it, one entry per edge: Mul(x, x) appears twice under x."""
        found: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for tensor in (*node.inputs, *node.captures):
                if tensor:
                    found[tensor].append(node)
        return {tensor: tuple(nodes) for tensor, nodes in found.items()}
