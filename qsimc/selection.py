"""Which nodes of a graph a selector means: by operator, by name, or as the last of a chain."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from qsimc.graph import Graph, Node
from qsimc.ir.select import AnyOf, Chain, Everything, NodeName, OpType, Selector


def selected(graph: Graph, selector: Selector) -> Iterator[Node]:
    """Yield the nodes that a selector means, in the order of the graph; of a chain the last one."""
    for node in graph.nodes:
        if any(True for _ in _first(graph, node, selector)):
            yield node


def _first(graph: Graph, node: Node, selector: Selector) -> Iterator[Node]:
    """Yield the first node of every match of a selector that ends at `node`: the node itself unless it is a chain."""
    match selector:
        case Everything():
            yield node
        case OpType(name):
            if node.op == name:
                yield node
        case NodeName(pattern, glob):
            if fnmatchcase(node.name, pattern) if glob else node.name == pattern:
                yield node
        case AnyOf(choices):
            for choice in choices:
                yield from _first(graph, node, choice)
        case Chain((*before, last)):
            for head in _first(graph, node, last):
                if not before:
                    yield head
                for above in _above(graph, head) if before else ():
                    yield from _first(graph, above, Chain(tuple(before)))


def _above(graph: Graph, node: Node) -> Iterator[Node]:
    """Yield the nodes whose only edge leads to `node`."""
    for tensor in dict.fromkeys(node.inputs):
        producer = graph.producer.get(tensor)
        if producer is not None and sum(len(graph.consumers.get(t, ())) for t in producer.outputs) == 1:
            yield producer
