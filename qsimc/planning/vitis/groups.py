"""Which layers share a quantizer: groups that end in one, and the tensors that are quantized for them.

Source: vai_q_pytorch 3.5, `NndctGraphHolder.quant_output` and `QuantOptimizer`'s groups, as recorded plans show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from qsimc.planning.vitis.network import Layer, Network

_CONCAT = "concat"


@dataclass(frozen=True)
class Groups:
    """The groups of a network.

    `of` gives each layer's group, its first layer first; `quantized` the layer after which the group is quantized.
    """

    network: Network
    of: Mapping[Layer, Sequence[Layer]]

    @classmethod
    def make(cls, network: Network) -> Groups:
        """Return the groups: a layer that only rectifies or moves values joins that of its only parent."""
        found: dict[Layer, list[Layer]] = {}
        for layer in network.layers:
            parent = layer.parents[0] if len(layer.parents) == 1 else None
            joins = layer.row.joins
            if parent is None or joins is None or (joins == "only_child" and len(network.children[parent]) != 1):
                found[layer] = [layer]
                continue
            found[layer] = found[parent]
            found[layer].append(layer)
        return cls(network, found)

    def quantized(self, layer: Layer) -> Layer:
        """Return the layer whose output is quantized for a layer's group.

        It is the last one of the group, but for those at the end that only move values; a group that goes into
        nothing but a concatenation has none of its own: that of the concatenation serves it.
        """
        group = list(self.of[layer])
        last = group[-1]
        children = self.network.children[last]
        if len(children) == 1 and children[0].kind == _CONCAT:
            return children[0]
        while group and group[-1].row.moves:
            group.pop()
        found = group[-1] if group else last
        while found.row.moves and found.parents and found.parents[0] is not None:
            found = found.parents[0]
        return found

    @cached_property
    def outputs(self) -> Sequence[tuple[Layer, Layer]]:
        """The layers whose output is quantized, each with the layer that it is quantized for, in the original's order.

        First those that quantized layers end in, then what such layers read from layers that are not quantized.
        """
        found: dict[Layer, Layer] = {}
        quantized = [layer for layer in self.network.layers if layer.row.quantized]
        for layer in quantized:
            found.setdefault(self.quantized(layer), layer)
        for layer in quantized:
            for tensor, parent in zip(layer.inputs, layer.parents, strict=True):
                if parent is None or not self.network.is_float(tensor):
                    continue
                ending = self.quantized(parent)
                if ending not in found and self.network.is_float(ending.output):
                    found[ending] = ending
        return [(ending, layer) for ending, layer in found.items() if ending.output]
