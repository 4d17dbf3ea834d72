"""Observers inside the graph: every tensor is counted right after it is made, and nothing leaves the session.

They sit on the graph that onnxruntime has already optimised: its fusions survive, and tensors in its blocked layout
are not converted first.  Where the kernels are not installed (`qsimc.native`) the same tensors leave the session
instead, and NumPy counts them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import make_node, make_opsetid, make_tensor_value_info

from qsimc import native
from qsimc.calibrate.together import Group
from qsimc_onnx import blocked
from qsimc_onnx.chains import chain_up
from qsimc_onnx.rewrite import Insertion, Names, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to observe.

    Attributes:
        tensors: what to count or fetch, in order.
        rows: tensor -> its row in the tally, of those that have one.
        grids: tensor -> its rows among the counts on grids.
        values: tensors that have to leave the session, as they are.
        threads: those of the session.
    """

    tensors: Sequence[str]
    rows: Mapping[str, int]
    grids: Mapping[str, Sequence[int]]
    values: Collection[str]
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """How to run a model that has probes.

    Attributes:
        outputs: what to fetch; never nothing, which onnxruntime would take for everything.
        found: tensor -> the output that holds its values; maybe in another order, if not all of them were asked for.
        tally, grids: the names of the inputs that the probes count into; empty if none do.
        groups: streams of the tally that are counted together.
    """

    outputs: Sequence[str]
    found: Mapping[str, str]
    tally: str
    grids: str
    groups: Sequence[Group]


def attach(model: ModelProto, wanted: Wanted, *, inside: bool) -> Probed:
    """Add probes to an optimised model whose outputs include every tensor that is wanted; only needed outputs stay.

    Args:
        inside: count inside the session, by the kernels' operators.
    """
    blocked.keep_blocked(model, inside=inside)
    probes = _Probes(model, wanted)
    for tensor in wanted.tensors:
        if not inside or tensor in wanted.values:
            probes.fetch(tensor)
    probes.drop_unread()
    if inside:
        probes.count()
    return probes.finish()


@dataclass(slots=True)
class _Probes:
    """Probes of one model so far."""

    model: ModelProto
    wanted: Wanted
    names: Names = field(init=False)
    types: dict[str, ValueInfoProto] = field(init=False)
    blocked: dict[str, str] = field(init=False)
    tally: str = field(init=False)
    grids: str = field(init=False)
    insertions: list[Insertion] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    found: dict[str, str] = field(default_factory=dict)
    groups: Sequence[Group] = ()

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.names = Names.of(self.model)
        self.types = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
        self.blocked = {n.output[0]: n.input[0] for n in graph.node if blocked.is_whole(n)}
        self.tally, self.grids = self.names.fresh("probe/tally"), self.names.fresh("probe/grids")

    def count(self) -> None:
        """Count all tensors: in chains where there are some, others right after what makes them."""
        sources = {tensor: self._source(tensor) for tensor in self.wanted.tensors}
        rows: dict[str, int] = {}
        kept = {*self.found.values()}
        for tensor, source in sources.items():
            if source in rows or not self._is_only_counted(tensor):
                kept.add(source)
            else:
                rows[source] = self.wanted.rows[tensor]
        rows = {source: row for source, row in rows.items() if source not in kept}
        chained = chain_up(self.model, rows, kept, self.tally, threads=self.wanted.threads)
        self.groups = chained.groups
        self.counted += chained.results
        for tensor, source in sources.items():
            if source not in chained.counted:
                self._count(tensor, source)

    def _is_only_counted(self, tensor: str) -> bool:
        plain = tensor in self.wanted.rows and not self.wanted.grids.get(tensor) and tensor not in self.wanted.values
        return plain and self._is_float(tensor)

    def _count(self, tensor: str, source: str) -> None:
        nodes: list[NodeProto] = []
        value = self._as_float(source, tensor, nodes)
        row, grids = self.wanted.rows.get(tensor), [*self.wanted.grids.get(tensor, ())]
        if row is not None and grids:
            self._operator("TallyBoth", [value, self.tally, self.grids], nodes, row=row, grid=grids.pop(0))
        elif row is not None:
            self._operator("Tally", [value, self.tally], nodes, row=row)
        for grid in grids:
            self._operator("TallyOnGrid", [value, self.grids], nodes, grid=grid)
        self.insertions.append(Insertion(source, "", nodes))

    def fetch(self, tensor: str) -> None:
        """Let the values of one tensor leave the session."""
        self.found[tensor] = self._source(tensor)

    def drop_unread(self) -> None:
        """Remove the conversions whose results nobody reads or wants."""
        graph = self.model.graph
        used = {self._source(tensor) for tensor in self.wanted.tensors}
        used.update(name for node in graph.node for name in node.input)
        idle = [i for i, n in enumerate(graph.node) if n.domain == blocked.DOMAIN and not used.intersection(n.output)]
        for position in reversed(idle):
            del graph.node[position]

    def _source(self, tensor: str) -> str:
        """Return the blocked tensor that `tensor` is converted from, if the order of its values does not matter."""
        return tensor if tensor in self.wanted.values else self.blocked.get(tensor, tensor)

    def _is_float(self, tensor: str) -> bool:
        known = self.types.get(tensor)
        return known is not None and known.type.tensor_type.elem_type == TensorProto.FLOAT

    def _as_float(self, source: str, tensor: str, nodes: list[NodeProto]) -> str:
        if self._is_float(tensor):
            return source
        return self._node("Cast", [source], nodes, to=TensorProto.FLOAT)

    def _operator(self, kind: str, inputs: list[str], nodes: list[NodeProto], *, row: int = 0, grid: int = 0) -> None:
        placed = {"row": row, "grid": grid, "threads": self.wanted.threads}
        self.counted.append(self._node(kind, inputs, nodes, domain=native.DOMAIN, **placed))

    def _node(self, op: str, inputs: list[str], nodes: list[NodeProto], **attributes: Any) -> str:
        # Numbered, because `fresh` looks for a free number from 2 up.
        result = self.names.fresh(f"probe/{len(self.names.taken)}/{op}")
        nodes.append(make_node(op, inputs, [result], **attributes))
        return result

    def finish(self) -> Probed:
        """Put the probes into the graph and leave only what is fetched among its outputs."""
        graph = self.model.graph
        place(graph, self.insertions)
        tally = self.tally if self.counted else ""
        grids = self.grids if self.counted and any(self.wanted.grids.values()) else ""
        graph.input.extend(make_tensor_value_info(name, TensorProto.INT64, None) for name in (tally, grids) if name)
        if self.counted and native.DOMAIN not in {opset.domain for opset in self.model.opset_import}:
            self.model.opset_import.append(make_opsetid(native.DOMAIN, 1))
        outputs = [*dict.fromkeys(self.found.values())] or self.counted[-1:]
        del graph.output[:]
        for name in outputs:
            graph.output.append(self.types.get(name, ValueInfoProto(name=name)))
        return Probed(outputs=outputs, found=self.found, tally=tally, grids=grids, groups=self.groups)
