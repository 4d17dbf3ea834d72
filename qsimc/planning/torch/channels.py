"""Which parameters of modules have one scale per channel, and on which axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsimc.planning.plan import Decision
from qsimc.planning.quantizer import Quantizer
from qsimc.planning.torch.names import Entries
from qsimc.planning.torch.state import PortResolution, Ports


def per_channel(resolution: PortResolution, entries: Entries) -> None:
    """Give parameters channel axes where an entry of their module's ONNX names, or else the default, says so.

    If several entries speak of a class, one that says `per_channel` is enough.  A module that is never
    called keeps one scale per parameter.
    """
    for name in resolution.graph.last_call:
        ports = resolution.ports[name]
        said = list(entries.per_channel(ports.row))
        for param, quantizer in ports.params.items():
            decision = _decision(resolution, ports, said, param)
            if decision is not None:
                quantizer.decide(decision)
                quantizer.axis = _axis(ports, param, quantizer)


def _decision(
    resolution: PortResolution, ports: Ports, said: Sequence[Mapping[str, Decision]], param: str
) -> Decision | None:
    """Return the strongest word on the channels of a parameter."""
    found = resolution.said.everything.per_channel(param)
    by_type = [entry[role] for entry in said for role in (param, "param", "") if role in entry]
    if by_type:
        found = next((decision for decision in by_type if decision.value), by_type[0])
    for words in resolution.said.of_node(ports.module.name):
        found = words.per_channel(param) or found
    return found


def _axis(ports: Ports, param: str, quantizer: Quantizer) -> int | None:
    if not quantizer.per_channel:
        return None
    return ports.row.weight_axis if param == "weight" else 0
