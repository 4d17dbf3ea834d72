"""Sequences of tensors: lists in Python."""

from __future__ import annotations

from qsimc_torch.call import Call, call, literal
from qsimc_torch.operators import operator
from qsimc_torch.operators.making import scalar


@operator("SequenceConstruct")
def construct(node: Call) -> str:
    return f"[{', '.join(node[position] for position in range(len(node.node.inputs)))}]"


@operator("SequenceEmpty")
def empty(node: Call) -> str:
    return "[]"


@operator("SequenceAt")
def at(node: Call) -> str:
    return f"{node[0]}[{scalar(node, 1)}]"


@operator("SequenceInsert")
def insert(node: Call) -> str:
    if not node.has(2):
        return f"[*{node[0]}, {node[1]}]"
    place = scalar(node, 2)
    return f"[*{node[0]}[:{place}], {node[1]}, *{node[0]}[{place}:]]"


@operator("SequenceErase")
def erase(node: Call) -> str:
    if not node.has(1):
        return f"{node[0]}[:-1]"
    place = node.let("place", f"{scalar(node, 1)} % len({node[0]})")
    return f"[*{node[0]}[:{place}], *{node[0]}[{place} + 1 :]]"


@operator("SequenceLength")
def length(node: Call) -> str:
    return f"torch.tensor(len({node[0]}), device={node.device})"


@operator("ConcatFromSequence")
def concat(node: Call) -> str:
    function = "torch.stack" if node.integer("new_axis", 0) else "torch.cat"
    return call(function, node[0], dim=node.integer("axis", 0))


@operator("SplitToSequence")
def split(node: Call) -> str:
    """Without sizes into slices of one, without that dimension if `keepdims` is 0; a number is the size of each."""
    axis = node.integer("axis", 0)
    if not node.has(1):
        parts = call(f"{node[0]}.split", "1", dim=axis) if node.integer("keepdims", 1) else f"{node[0]}.unbind({axis})"
        return f"list({parts})"
    value = node.constant(1)
    size = f"{node[1]}.tolist()" if value is None else literal(value.tolist())
    return f"list({call('torch.split', node[0], size, dim=axis)})"
