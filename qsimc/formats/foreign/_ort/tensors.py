"""Overrides of tensors for ONNX Runtime: what its arguments cannot say of a model."""

from __future__ import annotations

from collections.abc import Collection

from qsimc.formats.foreign._ort.became import Names
from qsimc.formats.foreign._ort.common import TYPE_FIELDS, Common, Grid, Settings, grid, is_on, value
from qsimc.formats.foreign._ort.losses import differs
from qsimc.formats.foreign._ort.marks import activations, param
from qsimc.formats.foreign._ort.nodes import Nodes
from qsimc.formats.foreign._ort.types import Placement
from qsimc.formats.foreign._ort.words import TOOL, ort_words
from qsimc.formats.foreign._shared import lost, of
from qsimc.graph import Graph, Node
from qsimc.ir.loss import Lose
from qsimc.ir.select import Everything
from qsimc.spec.ops import operators


class Overrides:
    """Writes an override for each tensor that the arguments make another quantizer for."""

    def __init__(self, graph: Graph, nodes: Nodes, args: Common, lose: Lose) -> None:
        self.graph = graph
        self.nodes = nodes
        self.args = args
        self.lose = lose
        self.names = Names(nodes)

    def write(self, result: Placement, quantized: Collection[str]) -> None:
        """Add overrides to a document in which the activations `quantized` have quantizers."""
        self.found = result.overrides
        for tensor in activations(self.graph):
            if tensor in quantized:
                self._activation(tensor)
        for node in self.graph.nodes:
            if node.op in (result.types or ()) and node.name not in result.excluded:
                for tensor in param(self.graph, node, "weight"):
                    self._weight(node, tensor)
                    rank = len(self.graph.tensors[tensor].shape or ())
                    result.batched_matmul |= node.op == "MatMul" and rank > 2
                for tensor in param(self.graph, node, "bias"):
                    self._bias(node, tensor)

    def _activation(self, tensor: str) -> None:
        producer = self.graph.producer.get(tensor)
        settings = self.nodes.activation(tensor)
        self._calibration(settings)
        if producer is not None and producer.op in ort_words().direct:
            self._shared(producer, settings)
            return
        said = self._grid_override(settings, self.args.act)
        fixed = value(settings, "range")
        native = producer is not None and producer.op == "Softmax" and fixed == (0, 1)
        if isinstance(fixed, tuple) and not native:
            bounds = zip(("rmin", "rmax"), fixed, strict=True)
            said |= {key: float(bound) for key, bound in bounds if isinstance(bound, (int, float))}
        if said:
            self.found[tensor] = [said]
            ranged = ["range"] if "rmin" in said or "rmax" in said else []
            self.names.overridden(settings, [*self._otherwise(settings, "output"), *ranged], tensor)

    def _grid_override(self, settings: Settings, usual: Grid) -> dict[str, object]:
        if not is_on(settings, float8=self.args.float8):
            return {}
        wanted = grid(settings, self.lose, float8=self.args.float8)
        if not wanted.symmetric and not usual.symmetric and wanted.word.replace("U", "") == usual.word.replace("U", ""):
            return {}  # With a sign or without one, the grids are the same where zero may be anywhere.
        said: dict[str, object] = {"quant_type": wanted.word} if wanted.word != usual.word else {}
        return said if wanted.symmetric == usual.symmetric else {**said, "symmetric": wanted.symmetric}

    def _weight(self, node: Node, tensor: str) -> None:
        settings = self.nodes.of(node, "weight")
        if not is_on(settings, float8=self.args.float8):
            return
        rank = len(self.graph.tensors[tensor].shape or ())
        weighted = node.op in ort_words().weighted
        axis = self._axis(node, rank) if value(settings, "per_channel") is True and rank > 1 else None
        usual_axis = axis if self.args.per_channel and weighted and rank > 1 else None
        usual = self.args.weight if weighted else self.args.act
        if usual_axis is not None:
            usual = Grid(usual.word, symmetric=True)  # Channels are symmetric unless an override says otherwise.
        said = self._grid_override(settings, usual)
        changes = self.args.per_channel and weighted and rank > 1 and axis is None
        if axis is not None and (said or axis != usual_axis):
            said = {"axis": axis, **said}
        elif changes:
            said = {"quant_type": grid(settings, self.lose, float8=self.args.float8).word, **said}
        if said:
            self.found[tensor] = [said]
            channels = ["per_channel"] if changes or axis != usual_axis else []
            self.names.overridden(settings, [*self._otherwise(settings, "weight"), *channels], tensor)

    def _axis(self, node: Node, rank: int) -> int | None:
        row = operators()[node.op]
        turned = bool(row.transposed_by and node.attributes.get(row.transposed_by))
        axis = row.transposed_axis if turned else row.channel_axis
        return None if axis is None else axis % rank

    def _bias(self, node: Node, tensor: str) -> None:
        settings = self.nodes.of(node, "bias")
        bits = value(settings, "bits")
        if not is_on(settings, float8=False) or bits in (None, 32):
            return
        wanted = grid(settings, self.lose)
        self.found[tensor] = [{"quant_type": wanted.word, "symmetric": wanted.symmetric}]
        self.names.overridden(settings, ["bits"], tensor)

    def _otherwise(self, settings: Settings, role: str) -> list[str]:
        """Return the fields of a grid in which a tensor differs from the arguments."""
        said = ((field, settings[field]) for field in (*TYPE_FIELDS, "symmetric") if field in settings)
        return [f for f, s in said if differs(s, role, self.args, self.nodes.selector(s), settings)]

    def _shared(self, producer: Node, settings: Settings) -> None:
        """Lose what is said of an output that takes scale and zero point of the input."""
        for field in (*self._otherwise(settings, "output"), "range"):
            setting = settings.get(field)
            if setting is not None and self.nodes.selector(setting) != Everything():
                shown = of(setting, self.nodes.selector(setting))
                self.lose(
                    lost(setting, f"{TOOL} gives the output of {producer.op} its input's grid: {shown} is dropped")
                )

    def _calibration(self, settings: Settings) -> None:
        """Lose another calibration than that of the arguments."""
        for field in ("calib", "percentile"):
            setting = settings.get(field)
            if setting is None:
                continue
            selector = self.nodes.selector(setting)
            if differs(setting, "output", self.args, selector, settings):
                message = f"{TOOL} calibrates all tensors alike: {of(setting, selector)} is dropped"
                self.lose(lost(setting, message))
