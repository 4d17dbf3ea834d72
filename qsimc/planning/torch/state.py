"""What the passes work on: the quantizers of every module's ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from qsimc.planning.difference import Differences
from qsimc.planning.plan import Decision, Kind, Reason
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.graph import Call, Feed, Module, PortGraph
from qsimc.planning.words import Said
from qsimc.spec.torch_classes import TorchClass

TOOL = "aimet_torch 2.42"

Maker: TypeAlias = Callable[[str, Kind, str], Quantizer]


@dataclass(slots=True, eq=False)
class Ports:
    """The quantizers of one module: by input, by output and by name of parameter."""

    module: Module
    inputs: list[Quantizer]
    outputs: list[Quantizer]
    params: dict[str, Quantizer]

    @property
    def row(self) -> TorchClass:
        return self.module.row

    @property
    def every(self) -> Iterator[Quantizer]:
        yield from self.inputs
        yield from self.outputs
        yield from self.params.values()


@dataclass(slots=True)
class PortResolution:
    """Everything the passes work on.

    While rules are applied a module has as many ports as its call has arguments and results; `realise`
    replaces them by the ports of its class.  From then on `bound` says which quantizer a port uses, and
    `ties` why it is not its own.
    """

    graph: PortGraph
    said: Said
    differences: Differences
    ports: dict[str, Ports]
    bound: dict[str, Quantizer] = field(default_factory=dict)
    ties: dict[str, Reason] = field(default_factory=dict)

    def of(self, call: Call | None) -> Ports | None:
        """Return the ports of the module that a call runs, None for functions."""
        return self.ports[call.module] if call is not None and call.module is not None else None

    @property
    def hardware(self) -> str | None:
        option = self.said.hardware
        return None if option is None else str(option.value)


def make_ports(graph: PortGraph, act: Sequence[Decision], param: Sequence[Decision]) -> dict[str, Ports]:
    """Make a disabled quantizer for every port; `act` and `param` are the decisions with which they begin."""
    make_act, make_param = _maker(act), _maker(param)
    return {
        name: Ports(
            module,
            [make_act(f"{name}.input[{i}]", _kind(graph, name, i), "input") for i in range(module.inputs)],
            [make_act(f"{name}.output[{i}]", Kind.ACTIVATION, "output") for i in range(module.outputs)],
            {param_: make_param(f"{name}.{param_}", Kind.PARAM, param_) for param_ in module.params},
        )
        for name, module in graph.modules.items()
    }


def _maker(decisions: Sequence[Decision]) -> Maker:
    values: Any = {decision.field: decision.value for decision in decisions}

    def make(port: str, kind: Kind, role: str) -> Quantizer:
        return Quantizer(port, kind, role, None, **values, history=list(decisions))

    return make


def _kind(graph: PortGraph, module: str, position: int) -> Kind:
    call = graph.first_call.get(module)
    if call is None or position >= len(call.inputs):
        return Kind.ACTIVATION
    kinds: Mapping[Feed, Kind] = {Feed.INPUT: Kind.INPUT, Feed.CONSTANT: Kind.CONSTANT, Feed.PARAM: Kind.CONSTANT}
    return kinds.get(call.inputs[position].feed, Kind.ACTIVATION)
