"""A quantizer while it is being decided, and the nodes as resolution sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from qsimc.graph import FLOATS, Graph, Node
from qsimc.ir.config import Value
from qsimc.ir.quant import Calib, Numeric, Round, ScaleKind
from qsimc.planning.difference import Differences
from qsimc.planning.plan import Decision, Kind, Reason
from qsimc.planning.words import Said


@dataclass(slots=True, eq=False)
class Quantizer:
    """The quantizer made for one tensor.  Ties may later bind other tensors to it.

    `node` makes an activation or uses a parameter, `transposed` says that it uses it transposed.  The other
    fields are those of QuantSpec; `decide` is the only way to change one, so `history` explains all.
    """

    tensor: str
    kind: Kind
    role: str
    node: Node | None
    transposed: bool = False
    enabled: bool = False
    type: Numeric = Numeric.INT
    bits: int = 8
    signed: bool | None = None
    symmetric: bool = False
    narrow_range: bool = False
    unsigned_symmetric: bool = False
    per_channel: bool = False
    axis: int | None = None
    scale: ScaleKind = ScaleKind.FLOAT
    round: Round | None = None
    calib: Calib | None = None
    percentile: float | None = None
    reduce: str | None = None
    range: tuple[float | None, float | None] | None = None
    history: list[Decision] = field(default_factory=list)

    def decide(self, decision: Decision) -> None:
        """Obey a decision."""
        setattr(self, decision.field, decision.value)
        self.history.append(decision)

    def obey(self, decisions: Iterable[Decision]) -> None:
        """Obey several decisions."""
        for decision in decisions:
            self.decide(decision)

    def set(self, name: str, value: Value, reason: Reason) -> None:
        """Decide one field; nothing is recorded when it has the value already."""
        if getattr(self, name) != value:
            self.decide(Decision(name, value, reason))

    def last(self, name: str) -> Decision:
        """Return the decision that gave a field its value."""
        return next(d for d in reversed(self.history) if d.field == name)


@dataclass(slots=True, eq=False)
class Site:
    """A node and its quantizers: of its computed inputs, its outputs, and its parameters by role."""

    node: Node
    inputs: tuple[Quantizer, ...] = ()
    outputs: tuple[Quantizer, ...] = ()
    params: tuple[tuple[Quantizer, str], ...] = ()


@dataclass(slots=True)
class Resolution:
    """Everything the passes work on.

    `graph` is the graph after graph passes.  `bound` says which quantizer a tensor uses; `made` keeps the
    one that was made for it.  `constants` are quantizers of constant operands, `inputs` of model inputs.
    """

    graph: Graph
    said: Said
    differences: Differences
    sites: Sequence[Site]
    bound: dict[str, Quantizer]
    made: Mapping[str, Quantizer]
    ties: dict[str, Reason] = field(default_factory=dict)

    def is_float(self, tensor: str) -> bool:
        known = self.graph.tensors.get(tensor)
        return known is not None and known.dtype in FLOATS

    def is_param(self, tensor: str) -> bool:
        made = self.made.get(tensor)
        return made is not None and made.kind is Kind.PARAM

    def next_nodes(self, node: Node) -> list[Node]:
        """Return the nodes that read what `node` computes, one entry per edge."""
        consumers = self.graph.consumers
        return [reader for tensor in node.outputs for reader in consumers.get(tensor, ())]
