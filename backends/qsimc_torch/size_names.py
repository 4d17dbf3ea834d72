"""Which sizes of a model have a line of their own in its module, and what they are called there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from qsimc.graph import Node
from qsimc_torch import sizes
from qsimc_torch.known import Known
from qsimc_torch.names import identifier, local
from qsimc_torch.sizes import Formula, Item, Size


def is_folded(node: Node, known: Known) -> bool:
    """Return whether a node computes sizes, which are written where they are read."""
    return all(tensor in known.values for tensor in node.outputs if tensor)


def size_names(known: Known, nodes: Sequence[Node]) -> Mapping[Item, str]:
    """Return the sizes that are worth a line, since they are read more than once, and what to call them.

    A size has the name that the model has for it, a formula that of the scalar that it is the value of.
    """
    names: dict[Item, str] = {
        Size(tensor, axis): identifier(name, otherwise="size") for (tensor, axis), name in known.sizes.items()
    }
    producer = {tensor: node for node in nodes for tensor in node.outputs}
    for tensor, value in known.values.items():
        if value.size == 1 and isinstance(item := value.item(), Formula):
            names.setdefault(item, local(tensor, producer[tensor].op))
    read = Counter(
        part
        for node in nodes
        if not is_folded(node, known)
        for tensor in {*node.inputs, *node.captures} & known.values.keys()
        for part in {part for item in known.values[tensor].reshape(-1) for part in sizes.parts(item)}
    )
    return {item: names[item] for item, count in read.items() if count > 1 and item in names}
