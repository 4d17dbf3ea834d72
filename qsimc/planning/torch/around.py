"""Which quantizers a rule about a call reaches: its own, and those of its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.graph import Call, PortGraph
from qsimc.planning.torch.state import PortResolution, Ports

Side = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Reach:
    """The quantizers of a call.

    To switch on an input or output is a matter of its own quantizers (`inputs`, `outputs`).  To switch one
    off, or to change its grid, is a matter of every quantizer of the same value: `near_inputs` and
    `near_outputs` add the producers' outputs and the inputs of everything else that reads the value.
    """

    inputs: tuple[Quantizer, ...]
    outputs: tuple[Quantizer, ...]
    near_inputs: tuple[Quantizer, ...]
    near_outputs: tuple[Quantizer, ...]


def module_reach(resolution: PortResolution, ports: Ports) -> Reach:
    """Return the reach of rules about a module; what is called twice has the neighbours of its last call."""
    inputs, outputs = tuple(ports.inputs), tuple(ports.outputs)
    call = resolution.graph.last_call.get(ports.module.name)
    if call is None:
        return Reach(inputs, outputs, inputs, outputs)
    return Reach(inputs, outputs, *_near(resolution, call))


def function_reach(resolution: PortResolution, call: Call) -> Reach:
    """Return the reach of rules about a function, which has no quantizers but its neighbours'."""
    return Reach(
        tuple(_producers(resolution, call)),
        tuple(_consumers(resolution, call)),
        *_near(resolution, call),
    )


def _near(resolution: PortResolution, call: Call) -> tuple[tuple[Quantizer, ...], tuple[Quantizer, ...]]:
    graph = resolution.graph
    before, after = _around_inputs(graph, call), _around_outputs(graph, call)
    return tuple(_quantizers(resolution, before)), tuple(_quantizers(resolution, after))


def _around_inputs(graph: PortGraph, call: Call) -> Mapping[str, Side]:
    """Return the calls that compute or read an input of `call`, and on which side of each it lies.

    A call that does both, as in a residual block, counts for what is found first.
    """
    found: dict[str, Side] = {call.name: "input"}
    for edge in call.inputs:
        source = graph.source(edge)
        if source is None or source.name in found:
            continue
        found[source.name] = "output"
        if source.is_split:
            found.setdefault(source.inputs[0].source, "output")
            for reader in graph.readers(source):
                found.setdefault(reader.name, "input")
    return found


def _around_outputs(graph: PortGraph, call: Call) -> Mapping[str, Side]:
    found: dict[str, Side] = {call.name: "output"}
    for reader in _readers_past_split(graph, call):
        found.setdefault(reader.name, "input")
    return found


def _quantizers(resolution: PortResolution, sides: Mapping[str, Side]) -> Iterator[Quantizer]:
    for name, side in sides.items():
        ports = resolution.of(resolution.graph.by_name[name])
        if ports is not None:
            yield from ports.inputs if side == "input" else ports.outputs


def _producers(resolution: PortResolution, call: Call) -> Iterator[Quantizer]:
    """Yield the first output of each module whose result a function reads."""
    for edge in call.inputs:
        source = resolution.graph.source(edge)
        if source is not None and source.is_split:
            source = resolution.graph.source(source.inputs[0])
        ports = resolution.of(source)
        if ports is not None:
            yield ports.outputs[0]


def _consumers(resolution: PortResolution, call: Call) -> Iterator[Quantizer]:
    for reader in _readers_past_split(resolution.graph, call):
        ports = resolution.of(reader)
        if ports is not None:
            yield from ports.inputs


def _readers_past_split(graph: PortGraph, call: Call) -> Iterator[Call]:
    for reader in graph.readers(call):
        yield from graph.readers(reader) if reader.is_split else (reader,)
