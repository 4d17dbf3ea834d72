"""The plan of a model's ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qsimc.graph import Graph
from qsimc.planning.plan import Mode, Plan, Reason, TensorPlan
from qsimc.planning.torch.graph import PortGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPlan:
    """What happens to each port of a model, in the order of its modules.

    Ports are called `<module>.input[0]`, `<module>.output[0]` and `<module>.weight`.  `bare` says of each
    call of a function why its result has no quantizer.
    """

    graph: PortGraph
    ports: Mapping[str, TensorPlan]
    dialect: str
    mode: Mode
    target: str | None = None
    bare: Mapping[str, Reason] = field(default_factory=dict)

    def __getitem__(self, port: str) -> TensorPlan:
        return self.ports[port]

    def as_plan(self) -> Plan:
        """Return the same as a plan of tensors, for everything that shows or explains plans; its graph is empty."""
        nothing = Graph(self.graph.name, (), {}, (), ())
        return Plan(
            graph=nothing,
            tensors=self.ports,
            dialect=self.dialect,
            mode=self.mode,
            target=self.target,
            bare=self.bare,
        )
