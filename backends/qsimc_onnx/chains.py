"""Elementwise operators with numbers, one after the other, that the kernels make and count in one pass.

Between its convolutions a network may scale, shift and gate every value, and a plan may quantize each result.  As
nodes of their own they read and write memory once each, and are read once more to be counted; as a chain they stay in
registers, and most of them are counted together (`qsimc.calibrate.together`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import isfinite, prod
from typing import Literal

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array, to_array

from qsimc import native
from qsimc.calibrate import together
from qsimc.calibrate.tally import BINS, COUNTS
from qsimc_onnx import blocked
from qsimc_onnx.protos import ONNX_DOMAINS, attributes, is_external, reads
from qsimc_onnx.rewrite import Names
from qsimc_onnx.session import run

_TENSORS, _COUNTED, _WIDTH = 16, 8, 16
"""What the kernels bear: tensors of a chain, those of them that are counted, and channels that lie together."""

_KINDS = ("", "Add", "Mul", "Gate")
"""What makes a tensor of a chain, in the kernels' order; nothing makes the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """What the kernels make and count.

    Attributes:
        results: what each chain makes in the end.
        counted: tensors that need not be counted otherwise.
        groups: those that are counted together.
    """

    results: Sequence[str]
    counted: Collection[str]
    groups: Sequence[together.Group]


def chain_up(model: ModelProto, rows: Mapping[str, int], kept: Collection[str], tally: str, *, threads: int) -> Chained:
    """Let the kernels make and count the chains of a model.

    Args:
        rows: tensor -> the row of the tally to count it in, if nothing else is to be done with it.
        kept: tensors that must stay, because something else is to be done with them.
        tally: the input of the model that holds the tally.
        threads: how many take part.
    """
    graph, names = model.graph, Names.of(model)
    counted: dict[str, int] = {}
    groups: list[together.Group] = []
    results: list[str] = []
    standing: dict[int, NodeProto | None] = dict(enumerate(graph.node))
    for chain in _Finder(graph, rows, kept).chains():
        found = {name: rows[name] for name in chain.tensors if name in rows and name not in counted}
        program = _Program(chain, found)
        node, constants = program.node(names, tally, threads)
        graph.initializer.extend(constants)
        standing |= dict.fromkeys(chain.places)
        standing[chain.places[0]] = node
        results.append(chain.tensors[-1])
        counted |= found
        groups += program.groups
    if results:
        nodes = [node for node in standing.values() if node is not None]
        del graph.node[:]
        graph.node.extend(nodes)
    return Chained(results=results, counted=counted, groups=groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What makes a tensor of a chain of the one before, `x`.

    Attributes:
        kind: x + number, x * number, or x * clip(x * number + number, 0, 1).
        numbers: one, or the two of a gate; none if there is one for each channel.
        channels: the tensor that holds those; "" if there is none.
        block: how many channels lie together.
        places: of the nodes that it stands for.
        result: what it makes.
    """

    kind: Literal["Add", "Mul", "Gate"]
    numbers: Sequence[float] = ()
    channels: str = ""
    block: int = 1
    places: Sequence[int]
    result: str

    @property
    def steady(self) -> together.Step | None:
        """Itself, if it keeps the order of all values or turns it around."""
        return None if self.kind == "Gate" or self.channels else (self.kind, np.float32(self.numbers[0]))


class _Chain:
    """Steps from a source on, one after the other; but for the last, nobody else reads what they make.

    Attributes:
        tensors: the source, and what the steps make.
        places: of the nodes that it stands for.
    """

    def __init__(self, source: str, steps: Sequence[_Step]) -> None:
        self.steps = steps
        self.tensors = [source, *(step.result for step in steps)]
        self.places = [place for step in steps for place in step.places]


class _Finder:
    """What has to be known of a graph to find its chains."""

    def __init__(self, graph: GraphProto, rows: Mapping[str, int], kept: Collection[str]) -> None:
        self._nodes = list(graph.node)
        self._rows, self._kept = rows, kept
        fed = {entry.name for entry in graph.input}
        numbers = (tensor for tensor in graph.initializer if tensor.name not in fed and _is_number(tensor))
        self._numbers = {tensor.name: to_array(tensor) for tensor in numbers}
        types = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)}
        self._ranks = {name: len(found.shape.dim) for name, found in types.items() if found.HasField("shape")}
        self._ranks |= {tensor.name: len(tensor.dims) for tensor in graph.initializer}
        self._readers: dict[str, list[int]] = defaultdict(list)
        for place, node in enumerate(self._nodes):
            for name in dict.fromkeys(reads(node)):
                self._readers[name].append(place)
            self._learn_rank(node)

    def _learn_rank(self, node: NodeProto) -> None:
        """Note the rank of what a node makes, where the model does not say it: of blocked tensors."""
        if node.domain == blocked.DOMAIN:
            self._ranks.update(dict.fromkeys(node.output, 4))
        elif node.op_type in blocked.ELEMENTWISE and all(name in self._ranks for name in node.input):
            self._ranks.setdefault(node.output[0], max((self._ranks[name] for name in node.input), default=0))

    def chains(self) -> Iterator[_Chain]:
        """Yield chains that share no node, in order, each with two tensors to count at least."""
        taken: set[int] = set()
        for place, node in enumerate(self._nodes):
            if place in taken:
                continue
            found = (self._chain(source, place) for source in dict.fromkeys(node.input))
            for chain in found:
                if chain is not None and self._counted(chain.tensors) > 1:
                    taken.update(chain.places)
                    yield chain
                    break

    def _counted(self, tensors: Sequence[str]) -> int:
        return sum(name in self._rows for name in tensors)

    def _chain(self, source: str, place: int) -> _Chain | None:
        """Return the longest chain from a source that begins with the node in a place."""
        step = self._step(source, place)
        steps: list[_Step] = []
        while step is not None:
            tensors = [source, *(one.result for one in (*steps, step))]
            channels = {one.channels for one in (*steps, step) if one.channels}
            if len(tensors) > _TENSORS or self._counted(tensors) > _COUNTED or len(channels) > 1:
                break
            steps.append(step)
            step = self._next(step.result)
        return _Chain(source, steps) if steps else None

    def _next(self, x: str) -> _Step | None:
        """Return the step from a tensor that nobody wants but for this step."""
        readers = self._readers[x]
        step = self._step(x, readers[0]) if readers and x not in self._kept else None
        return step if step is not None and sorted(step.places) == readers else None

    def _step(self, x: str, place: int) -> _Step | None:
        """Return the step from a tensor that begins with the node in a place."""
        node = self._nodes[place]
        if node.op_type == "HardSigmoid" and node.domain in ONNX_DOMAINS:
            return self._gate(x, place)
        if node.op_type not in ("Add", "Mul"):
            return None
        kind: Literal["Add", "Mul"] = "Add" if node.op_type == "Add" else "Mul"
        if node.domain == native.DOMAIN:
            block = attributes(node)["block"]
            if node.input[0] != x or _WIDTH % block:
                return None
            return _Step(kind=kind, channels=node.input[1], block=block, places=(place,), result=node.output[0])
        if node.domain not in ONNX_DOMAINS or x not in node.input:
            return None
        number = self._numbers.get(node.input[node.input[0] == x])
        if number is None or self._ranks.get(x, 0) < number.ndim or (kind == "Mul" and not number.any()):
            return None
        return _Step(kind=kind, numbers=(number.item(),), places=(place,), result=node.output[0])

    def _gate(self, x: str, place: int) -> _Step | None:
        """Return x * HardSigmoid(x), if nobody wants to know the second factor."""
        node = self._nodes[place]
        share, readers = node.output[0], self._readers[node.output[0]]
        if node.input[0] != x or len(readers) != 1 or share in self._kept or share in self._rows:
            return None
        product = self._nodes[readers[0]]
        if product.op_type != "Mul" or product.domain not in ONNX_DOMAINS or {*product.input} != {x, share}:
            return None
        given = attributes(node)
        numbers = (given.get("alpha", 0.2), given.get("beta", 0.5))
        if not all(map(isfinite, numbers)) or not _gates_as_the_kernels():
            return None
        return _Step(kind="Gate", numbers=numbers, places=(place, readers[0]), result=product.output[0])


def _is_number(tensor: TensorProto) -> bool:
    """Return whether a constant is one float32, and finite."""
    if tensor.data_type != TensorProto.FLOAT or prod(tensor.dims) != 1 or is_external(tensor):
        return False
    return bool(np.isfinite(to_array(tensor)).all())


class _Program:
    """What the kernels are told of a chain: facts and numbers of each of its tensors (qsimc/native/chain.c)."""

    def __init__(self, chain: _Chain, rows: Mapping[str, int]) -> None:
        """Count the tensors of a chain that have a row."""
        self._chain = chain
        self._rows = [rows.get(name) for name in chain.tensors]

    @cached_property
    def _places(self) -> list[list[int]]:
        """Where in the chain the members of each group are.

        A group ends where the order of values is lost.
        """
        found: list[list[int]] = []
        goes_on = False
        for place, row in enumerate(self._rows):
            goes_on = goes_on and self._chain.steps[place - 1].steady is not None
            if row is None:
                continue
            if not goes_on:
                found.append([])
            found[-1].append(place)
            goes_on = True
        return found

    @cached_property
    def groups(self) -> list[together.Group]:
        """What is counted together."""
        return [self._group(places) for places in self._places]

    def _group(self, places: Sequence[int]) -> together.Group:
        steps = [
            [step.steady for step in self._chain.steps[before:place] if step.steady is not None]
            for before, place in zip([places[0], *places], places, strict=False)
        ]
        return together.Group([row for place in places if (row := self._rows[place]) is not None], steps)

    def node(self, names: Names, tally: str, threads: int) -> tuple[NodeProto, list[TensorProto]]:
        """Return the kernels' node, and the constants that it reads."""
        chain = self._chain
        facts = [[0, 0, -1 if row is None else row, 0, 0] for row in self._rows]
        numbers = np.zeros((len(facts), 2), np.float32)
        for place, step in enumerate(chain.steps, 1):
            facts[place][:2] = _KINDS.index(step.kind), bool(step.channels)
            numbers[place, : len(step.numbers)] = step.numbers
        for places, group in zip(self._places, self.groups, strict=True):
            for place, falls in zip(places, group.falls(), strict=True):
                facts[place][3:] = place == places[0], falls
        constants = [
            from_array(np.array(facts, np.int64), names.fresh(f"probe/{chain.tensors[0]}/facts")),
            from_array(numbers, names.fresh(f"probe/{chain.tensors[0]}/numbers")),
        ]
        channels = [step.channels for step in chain.steps if step.channels][:1]
        node = make_node(
            "Chain",
            [chain.tensors[0], *(constant.name for constant in constants), tally, *channels],
            [chain.tensors[-1]],
            domain=native.DOMAIN,
            threads=threads,
            block=max(step.block for step in chain.steps),
        )
        return node, constants


@cache
def _gates_as_the_kernels() -> bool:
    """Return whether onnxruntime's gates have the kernels' bits on this machine."""
    gate = _Step(kind="Gate", numbers=(1 / 6, 0.5), places=(), result="inside")
    inside, constants = _Program(_Chain("x", [gate]), {"x": 0}).node(Names(), "tally", 1)
    graph = make_graph(
        [
            make_node("HardSigmoid", ["x"], ["share"], alpha=1 / 6, beta=0.5),
            make_node("Mul", ["x", "share"], ["plain"]),
            inside,
        ],
        "gate",
        [
            make_tensor_value_info("x", TensorProto.FLOAT, [None]),
            make_tensor_value_info("tally", TensorProto.INT64, None),
        ],
        [make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("plain", "inside")],
        constants,
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 13), make_opsetid(native.DOMAIN, 1)], ir_version=8)
    x = np.random.default_rng(0).standard_normal(4_099, dtype=np.float32) * np.float32(3)
    feeds = {"x": x, "tally": np.zeros((1, COUNTS + BINS), np.int64)}
    (made,) = run(model.SerializeToString(), [feeds], optimise=False)
    return made["plain"].tobytes() == made["inside"].tobytes()
