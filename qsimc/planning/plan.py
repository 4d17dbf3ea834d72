"""The plan: one resolved specification per tensor, and who said each part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from qsimc.graph import Graph
from qsimc.ir.config import Value
from qsimc.ir.quant import QuantSpec
from qsimc.planning.mode import Mode as Mode
from qsimc.source import Span

PORT_DIALECT = "aimet-torch"
"""The dialect that puts quantizers on the ports of modules, not on tensors."""


class Kind(StrEnum):
    """What a tensor is to the model."""

    INPUT = "input"
    ACTIVATION = "activation"
    PARAM = "param"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a field has its value.

    `rule` is a line of .qsim (`Conv[weight]: bits=8`) standing at `span`, or the id of a built-in rule
    (`aimet-grid-preserving`, a page of `qsimc explain`) without a span.  `detail` is one sentence that
    names what made the rule apply here.
    """

    rule: str
    span: Span | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One rule setting one field of one tensor, in the order in which resolution ran."""

    field: str
    value: Value
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """The final word on one tensor, and who said each part of it.

    `node` is the producer of an activation and the consumer of a param, None for a model input.  `shares`
    names the tensor whose quantizer this one uses.  `history` holds every decision that touched the
    tensor, first to last: the last one of a field won.
    """

    tensor: str
    kind: Kind
    role: str
    node: str | None
    op: str | None
    spec: QuantSpec
    axis: int | None = None
    shares: str | None = None
    because: Mapping[str, Reason] = field(default_factory=dict)
    history: tuple[Decision, ...] = ()

    @property
    def owner(self) -> str:
        """The tensor whose quantizer this one uses: its own, or the one that it shares."""
        return self.shares or self.tensor


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a vendor's file of results has a tensor's quantizer.

    Attributes:
        section: `param`, `output` or `input`.
        name: within the model: `conv1.weight`, `nndct_relu_2`.
        index: place among the quantizers of that name.
        tensor: whose quantizer it is; empty where only the type is filed.
        bits: the width that the file gives, None for that of the quantizer.
        datatype: the vendor's word for the type.
    """

    section: str
    name: str
    index: int
    tensor: str
    bits: int | None = None
    datatype: str = "int"


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor on its way to one reader, which quantizes it for itself.

    `reader` is the tensor that this reader gives, empty for the caller of the model, and `through` what those of its
    nodes give that read the tensor.  With `in_place` every later reader of the tensor gets what this one made of it.
    """

    tensor: str
    reader: str
    through: tuple[str, ...] = ()
    in_place: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to each tensor of a graph, in graph order.

    `bare` says of every tensor that has no quantizer, not even a disabled one, why it has none.  `entries` are the
    places in the vendor's own file of results.  `edges`, in the order in which they are read, need quantizers
    of their own, which the graph has no tensors for yet: such a plan is made anew once it has.  `rewrites` are those
    that changed the model before, its graph or only its weights.
    """

    graph: Graph
    tensors: Mapping[str, TensorPlan]
    dialect: str
    mode: Mode
    target: str | None = None
    bare: Mapping[str, Reason] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    edges: tuple[Edge, ...] = ()
    rewrites: tuple[str, ...] = ()

    def __getitem__(self, tensor: str) -> TensorPlan:
        return self.tensors[tensor]

    def enabled(self) -> tuple[TensorPlan, ...]:
        """Return the plans of the tensors that are quantized, in graph order."""
        return tuple(t for t in self.tensors.values() if t.spec.enabled)
