"""The order in which onnxruntime runs a graph by default, which is not the order of the file.

A vendor's histogram that several tensors share takes its range from the first of them that it sees.
"""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.graph import Graph


def execution_order(graph: Graph) -> Mapping[str, int]:
    """Return the place of each tensor's producer in onnxruntime's default order; model inputs come first.

    From the nodes that nothing reads, the last of the file first, producers are run before what reads them, and
    of several producers the last of the file first.
    Source: onnxruntime 1.31, Graph::ReverseDFSFrom with the default execution order.
    """
    numbers = {id(node): number for number, node in enumerate(graph.nodes)}
    placed: dict[int, int] = {}
    entered: set[int] = set()
    leaves = [number for number, node in enumerate(graph.nodes) if not any(o in graph.consumers for o in node.outputs)]
    stack = [(number, False) for number in leaves]
    while stack:
        number, left = stack.pop()
        if left:
            placed[number] = len(placed)
            continue
        if number in entered:
            continue
        entered.add(number)
        stack.append((number, True))
        node = graph.nodes[number]
        producers = {numbers[id(graph.producer[t])] for t in (*node.inputs, *node.captures) if t in graph.producer}
        stack += [(producer, False) for producer in sorted(producers) if producer not in entered]
    return {tensor: placed[numbers[id(node)]] for tensor, node in graph.producer.items()}
