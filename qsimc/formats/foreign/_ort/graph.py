"""ONNX Runtime's settings on a model: which nodes to take, by type and by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from qsimc.formats.foreign._ort.common import Common, Settings, is_on, value
from qsimc.formats.foreign._ort.marks import activations, marked, param, reads
from qsimc.formats.foreign._ort.nodes import Nodes
from qsimc.formats.foreign._ort.tensors import Overrides
from qsimc.formats.foreign._ort.types import Placement
from qsimc.formats.foreign._ort.words import NOTHING, TOOL, ort_words, shares_grid
from qsimc.formats.foreign._shared import of
from qsimc.graph import Graph, Node
from qsimc.ir.config import Config, Fusion, Setting
from qsimc.ir.levels import Level
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import show
from qsimc.spec.ops import operators


def place_on(graph: Graph, config: Config, found: tuple[Level, ...], args: Common, lose: Lose) -> Placement:
    """Return the nodes to quantize and the overrides of tensors, after reporting what they cannot say."""
    nodes = Nodes(graph, config, found)
    placed = _Placed(graph, nodes, args, lose)
    quantized, left_out = placed.choose()
    overrides = Overrides(graph, nodes, args, lose)
    overrides.write(placed.result, quantized)
    for node in left_out:
        overrides.names.excluded(node)
    overrides.names.say(lose)
    return placed.result


class _Placed:
    def __init__(self, graph: Graph, nodes: Nodes, args: Common, lose: Lose) -> None:
        self.graph = graph
        self.nodes = nodes
        self.args = args
        self.lose = lose
        self.result = Placement()

    def choose(self) -> tuple[frozenset[str], list[Node]]:
        """Return the tensors that are quantized and the nodes that are left out by name.

        Reports tensors that are quantized otherwise than they should be.
        """
        tensors = activations(self.graph)
        wanted = {t for t in tensors if t not in self.nodes.inner and self._on(self.nodes.activation(t))}
        chosen = {node.name for node in self.graph.nodes if self._takes(node, wanted)}
        types = sorted({node.op for node in self.graph.nodes if node.name in chosen})
        mixed = [n for n in self.graph.nodes if n.op in types and n.name not in chosen and n.op != "Constant"]
        self.result.types = types or list(NOTHING)
        self.result.excluded = [node.name for node in mixed]
        self.result.without_output = [t for t in types if self._without_output(t, chosen, wanted)]
        self._biases(chosen)
        found = marked(self.graph, chosen, self.result.without_output, symmetric=self.args.act.symmetric)
        self._compare(tensors, wanted, found)
        if types:
            self._types(types)
        return found, mixed

    def _on(self, settings: Settings) -> bool:
        return is_on(settings, float8=self.args.float8)

    def _takes(self, node: Node, wanted: set[str]) -> bool:
        """Say whether a node must be quantized; one that moves values is, if that leaves them on their grid."""
        if node.op == "Constant" or not node.outputs:
            return False
        inputs = reads(self.graph, node)
        if shares_grid(node.op):
            return any(t in wanted for t in (*inputs[:1], *node.outputs))
        outputs = [t for t in node.outputs if t in wanted]
        if outputs and (self._on(self.nodes.of(node, "output")) or any(t in self.graph.outputs for t in outputs)):
            return True
        if self._on(self.nodes.of(node, "weight")) and operators()[node.op].params:
            return True
        return any(self._on(self.nodes.of(node, "input")) and t in wanted for t in inputs)

    def _without_output(self, type_: str, chosen: set[str], wanted: set[str]) -> bool:
        """Say whether no output of a type is wanted; what a Relu behind it takes up is left as it is."""
        if shares_grid(type_):
            return False
        outputs = [t for node in self.graph.nodes if node.op == type_ and node.name in chosen for t in node.outputs]
        return bool(outputs) and not any(t in wanted or self._folded(t) for t in outputs)

    def _folded(self, tensor: str) -> bool:
        """Say whether the only reader of a tensor takes its place in the quantized model."""
        readers = self.graph.consumers.get(tensor, ())
        return len(readers) == 1 and readers[0].op in ort_words().removable and tensor not in self.graph.outputs

    def _compare(self, tensors: Iterable[str], wanted: set[str], found: frozenset[str]) -> None:
        """Report tensors whose quantizer is there against the rules, or missing."""
        wrong: defaultdict[int, list[str]] = defaultdict(list)
        blame: dict[int, Setting | Fusion | None] = {}
        for tensor in tensors:
            producer = self.graph.producer.get(tensor)
            moves = producer is not None and producer.op in operators().grid_preserving
            if (tensor in wanted) is (tensor in found) or moves or self._folded(tensor):
                continue
            said = self.nodes.activation(tensor).get("enabled") if tensor in wanted else self.nodes.off(tensor)
            wrong[id(said)].append(tensor)
            blame[id(said)] = said
        for key, names in wrong.items():
            self._placed_otherwise(blame[key], tuple(names))

    def _placed_otherwise(self, said: Setting | Fusion | None, names: tuple[str, ...]) -> None:
        reads_ = f"{TOOL} quantizes what selected nodes read and write"
        match said:
            case Fusion(chain, span):
                message = f"{reads_}: the tensors within {show(chain)} are quantized"
                self.lose(Loss(LossKind.SUPERGROUP, message, span, names))
            case Setting():
                selector = self.nodes.selector(said)
                message = f"{reads_}: {of(said, selector)} does not hold everywhere"
                self.lose(Loss(LossKind.PLACEMENT, message, said.span, names, ("enabled",), said.pointer))
            case None:
                message = f"{reads_}, some of which no rule switches on"
                self.lose(Loss(LossKind.PLACEMENT, message, None, names, ("enabled",)))

    def _types(self, types: list[str]) -> None:
        setting = next((s for r in ("output", "weight", "input") if (s := self.nodes.star[r].get("enabled"))), None)
        if setting is not None and setting.value is True:
            message = f"`on` of * becomes the {len(types)} operator types of the model"
            self.lose(Loss(LossKind.MATERIALISED, message, setting.span, fields=("enabled",), pointer=setting.pointer))

    def _biases(self, chosen: set[str]) -> None:
        """Switch biases on where one is to be in 32 bits; those of other widths become overrides."""
        found = [(node, t) for node in self.graph.nodes if node.name in chosen for t in param(self.graph, node, "bias")]
        on = [(node, t) for node, t in found if is_on(self.nodes.of(node, "bias"), float8=False)]
        self.result.bias = any(value(self.nodes.of(node, "bias"), "bits") in (None, 32) for node, _ in on)
        if not self.result.bias:
            return
        blamed: defaultdict[int, list[str]] = defaultdict(list)
        said: dict[int, Setting] = {}
        for node, tensor in found:
            setting = self.nodes.of(node, "bias").get("enabled")
            if (node, tensor) not in on and setting is not None:
                said[id(setting)] = setting
                blamed[id(setting)].append(tensor)
        for key, names in blamed.items():
            setting = said[key]
            message = f"{TOOL} quantizes all biases or none: {of(setting, self.nodes.selector(setting))} is dropped"
            self.lose(Loss(LossKind.BIAS, message, setting.span, tuple(names), ("enabled",), setting.pointer))
