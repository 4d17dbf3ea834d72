"""Putting nodes between a tensor and its readers."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from onnx import GraphProto, ModelProto, NodeProto

from qsimc_onnx.protos import ONNX_DOMAINS, attribute_graphs, graphs, reads

_T = TypeVar("_T")
_Item = TypeVar("_Item", covariant=True)


@dataclass(frozen=True, slots=True)
class Names:
    """Names no value of a model has yet."""

    taken: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)
    """Name -> the last number that was tried with it: those before are taken, and stay so."""

    @classmethod
    def of(cls, model: ModelProto) -> Names:
        taken: set[str] = set()
        for graph in graphs(model):
            taken.update(value.name for value in (*graph.input, *graph.output, *graph.initializer))
            taken.update(name for node in graph.node for name in (node.name, *node.input, *node.output))
        return cls(taken)

    def fresh(self, name: str) -> str:
        """Return `name`, numbered when the model has it already."""
        chosen = name
        if name in self.taken:
            number = self._numbers.get(name, 1)
            while chosen in self.taken:
                number += 1
                chosen = f"{name}_{number}"
            self._numbers[name] = number
        self.taken.add(chosen)
        return chosen


@dataclass(frozen=True, slots=True)
class Cut:
    """A tensor cut in two: nodes are to be put between `source` (as produced) and `result` (as read)."""

    source: str
    result: str


def cut(graph: GraphProto, tensors: Iterable[str], names: Names) -> dict[str, Cut]:
    """Separate the producers of `tensors` from their readers, which leaves the graph incomplete until `place`.

    Readers of `t`, those in nested graphs included, read `t_dq` afterwards; `t` stays what is produced.  Only a
    graph output keeps its public name for what is read: its producer makes `t_raw`.
    """
    inputs = {value.name for value in graph.input}
    public = {value.name for value in graph.output} - inputs
    cuts = {t: Cut(names.fresh(f"{t}_raw"), t) if t in public else Cut(t, names.fresh(f"{t}_dq")) for t in tensors}
    _rename_reads(graph, {t: c.result for t, c in cuts.items() if c.result != t})
    _rename_definitions(graph, {t: c.source for t, c in cuts.items() if c.source != t})
    return cuts


def _rename_reads(graph: GraphProto, new: Mapping[str, str]) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in new:
                node.input[position] = new[name]
        for inner in attribute_graphs(node):
            own = {value.name for value in (*inner.input, *inner.initializer)}
            own.update(name for nested in inner.node for name in nested.output)
            _rename_reads(
                inner, {old: name for old, name in new.items() if old not in own} if own & new.keys() else new
            )


def _rename_definitions(graph: GraphProto, new: Mapping[str, str]) -> None:
    if not new:
        return
    for tensor in graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for node in graph.node:
        for position, name in enumerate(node.output):
            if name in new:
                node.output[position] = new[name]


@dataclass(frozen=True, slots=True)
class Insertion:
    """Nodes that turn `source` into `result`, in order; `result` is "" when the graph reads nothing of theirs."""

    source: str
    result: str
    nodes: Sequence[NodeProto]


def place(graph: GraphProto, insertions: Iterable[Insertion]) -> None:
    """Add nodes where a reader of the file expects them, in topological order.

    They follow the node that makes their source; where none does (inputs, initializers) they precede the first
    node that reads their result, or everything when they have none.
    """
    made = {name for node in graph.node for name in node.output}
    after: dict[str, list[Insertion]] = {}
    before: dict[str, Insertion] = {}
    nodes: list[NodeProto] = []
    for insertion in insertions:
        if insertion.source in made:
            after.setdefault(insertion.source, []).append(insertion)
        elif insertion.result:
            before[insertion.result] = insertion
        else:
            nodes += insertion.nodes
    nodes += _merged(graph.node, after, before)
    nodes += [node for insertion in before.values() for node in insertion.nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _merged(
    nodes: Iterable[NodeProto], after: Mapping[str, Sequence[Insertion]], before: dict[str, Insertion]
) -> Iterator[NodeProto]:
    """Yield `nodes` with the insertions among them; those of `before` that were needed are removed from it."""
    for node in nodes:
        for name in reads(node):
            if name in before:
                yield from before.pop(name).nodes
        yield node
        for name in node.output:
            for insertion in after.get(name, ()):
                yield from insertion.nodes


def only_fed_inputs(graph: GraphProto) -> None:
    """Take the initializers out of a graph's inputs, where IR 3 wants them; from IR 4 on they would be variables."""
    stored = {tensor.name for tensor in graph.initializer}
    _remove(graph.input, lambda value: value.name in stored)


def sweep(graph: GraphProto) -> None:
    """Remove the initializers and Constant nodes that nobody reads any more."""
    used = {value.name for value in graph.output}
    used.update(name for node in graph.node for name in reads(node))
    gone = {tensor.name for tensor in graph.initializer} - used
    _remove(graph.initializer, lambda tensor: tensor.name in gone)
    _remove(graph.node, lambda node: is_constant(node) and node.output[0] not in used)
    # Before IR 4 every initializer is listed among the inputs as well.
    _remove(graph.input, lambda value: value.name in gone)


def drop_makers(graph: GraphProto, tensors: Container[str]) -> None:
    """Remove the Constant nodes of tensors that are initializers now."""
    _remove(graph.node, lambda node: is_constant(node) and node.output[0] in tensors)


class _Repeated(Protocol[_Item]):
    """A repeated field of messages, as far as it is needed here."""

    def __iter__(self) -> Iterator[_Item]: ...

    def __delitem__(self, position: slice) -> None: ...

    def sort(self, *, key: Callable[[_Item], bool]) -> None:
        """Bring the messages into another order, without copying them."""


def _remove(items: _Repeated[_T], unwanted: Callable[[_T], bool]) -> None:
    """Delete the unwanted items: they go to the end first, as each deletion moves all that follows.

    Protobuf's own `remove` compares whole tensors.
    """
    items.sort(key=unwanted)
    kept = sum(not unwanted(item) for item in items)
    del items[kept:]


def is_constant(node: NodeProto) -> bool:
    """Return whether a node is ONNX's Constant."""
    return node.op_type == "Constant" and node.domain in ONNX_DOMAINS
