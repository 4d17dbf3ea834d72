"""Nodes that are one operator to vai_q_pytorch: what exporters take apart, and what qsimc's rewrites put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from math import sqrt

from qsimc.graph import Graph, Node
from qsimc.planning.fuse import fold
from qsimc.planning.patterns import Match, View, layer_norms, matmul_adds, number, only_reader

REWRITTEN = "qsimc."
"""What the function of a node begins with that a rewrite made; then follows the operator, as `HardSwish`."""

_CLOSE = 1e-3
"""How near a constant of a decomposed operator must be to its value."""


def whole_operators(graph: Graph) -> tuple[Graph, Mapping[str, tuple[Node, ...]]]:
    """Return the graph with each operator as one node, wherever several nodes of the model are one.

    With it, the nodes of each such operator by the tensor that they give.
    """
    members: dict[str, tuple[Node, ...]] = {}
    for find in (_rewritten, _silus, _gelus, _hard_swishes, _slices, layer_norms, matmul_adds):
        graph, found = fold(graph, find)
        members |= {match.members[-1].outputs[0]: match.members for match in found}
    return graph, members


def _rewritten(view: View) -> Iterator[Match]:
    """Yield the operators that qsimc's own rewrites wrote as several nodes, which say so."""
    tagged = [node for node in view.nodes() if node.origin.function.startswith(REWRITTEN)]
    for call, nodes in groupby(tagged, key=lambda node: node.origin.call):
        members = tuple(nodes)
        op = members[0].origin.function.removeprefix(REWRITTEN)
        made = {tensor for node in members for tensor in node.outputs}
        inputs = (t for node in members for t in node.inputs if t and t not in made and _is_computed(view, t))
        if call:
            yield Match(op, members, tuple(dict.fromkeys(inputs)), members[0].attributes)


def _silus(view: View) -> Iterator[Match]:
    """Yield x * sigmoid(x)."""
    for gate in view.nodes():
        product = only_reader(view, gate) if gate.op == "Sigmoid" else None
        if product is not None and product.op == "Mul" and gate.inputs[0] in product.inputs:
            yield Match("Silu", (gate, product), gate.inputs[:1])


def _gelus(view: View) -> Iterator[Match]:
    """Yield x * (1 + erf(x / sqrt(2))) / 2, the halving anywhere."""
    for divided in view.nodes():
        if not _scales(view, divided, {"Div": sqrt(2), "Mul": sqrt(0.5)}):
            continue
        x = divided.inputs[0]
        members = [divided]
        for op in ("Erf", "Add"):
            following = only_reader(view, members[-1])
            if following is None or following.op != op:
                break
            members.append(following)
        if len(members) < 3:
            continue
        tail = _gelu_tail(view, members[-1], x)
        if tail:
            yield Match("Gelu", (*members, *tail), (x,))


def _gelu_tail(view: View, added: Node, x: str) -> tuple[Node, ...]:
    """Return the multiplications by x and by a half that follow, in either order."""
    first = only_reader(view, added)
    second = only_reader(view, first) if first is not None else None
    if first is None or second is None or first.op != "Mul":
        return ()
    half = {"Mul": 0.5, "Div": 2.0}
    by_x_first = x in first.inputs and _scales(view, second, half)
    by_half_first = _scales(view, first, half) and second.op == "Mul" and x in second.inputs
    if by_x_first or by_half_first:
        return first, second
    # x is halved beforehand: (x / 2) * (1 + erf(...)).
    return ()


def _hard_swishes(view: View) -> Iterator[Match]:
    """Yield x * clip(x + 3, 0, 6) / 6."""
    for added in view.nodes():
        if not _scales(view, added, {"Add": 3.0}):
            continue
        x = next(t for t in added.inputs if number(view.graph, t) is None)
        clipped = only_reader(view, added)
        if clipped is None or clip_bounds(view.graph, clipped) != (0.0, 6.0):
            continue
        first = only_reader(view, clipped)
        second = only_reader(view, first) if first is not None else None
        if first is None or second is None:
            continue
        sixth = {"Div": 6.0, "Mul": 1 / 6}
        if (first.op == "Mul" and x in first.inputs and _scales(view, second, sixth)) or (
            _scales(view, first, sixth) and second.op == "Mul" and x in second.inputs
        ):
            yield Match("HardSwish", (added, clipped, first, second), (x,))


def _slices(view: View) -> Iterator[Match]:
    """Yield slices of slices: `x[:, 1:7, 1:7]` is one operator in PyTorch."""
    for first in view.nodes():
        if first.op != "Slice" or id(first) in view.gone:
            continue
        members = [first]
        while (following := only_reader(view, members[-1])) is not None and following.op == "Slice":
            members.append(following)
        if len(members) > 1:
            yield Match("Slice", tuple(members), first.inputs[:1])


def clip_bounds(graph: Graph, node: Node) -> tuple[float | None, float | None]:
    """Return the bounds of a Clip: attributes before operator set 11, inputs from then on; None where open."""
    if node.op != "Clip":
        return None, None
    found: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        said = node.attributes.get(name)
        if isinstance(said, (int, float)):
            found.append(float(said))
            continue
        tensor = node.inputs[position] if position < len(node.inputs) else ""
        known = graph.tensors.get(tensor)
        found.append(known.scalar if known is not None else None)
    return found[0], found[1]


def _scales(view: View, node: Node, by: dict[str, float]) -> bool:
    """Say whether a node applies one of these operators with a constant that is close to the number given."""
    if node.op not in by:
        return False
    numbers = [number(view.graph, tensor) for tensor in node.inputs]
    if node.op == "Div":
        numbers = numbers[1:]
    return any(number is not None and abs(number - by[node.op]) < _CLOSE for number in numbers)


def _is_computed(view: View, tensor: str) -> bool:
    known = view.graph.tensors.get(tensor)
    return known is None or not known.constant
