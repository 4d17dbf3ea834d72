"""What the rules of a configuration say of each node of a model, and of each tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase

from qsimc.formats.foreign._names import chains_in
from qsimc.formats.foreign._ort.common import Settings
from qsimc.graph import Graph, Node
from qsimc.ir.config import Config, Fusion, Setting
from qsimc.ir.levels import Level
from qsimc.ir.select import Boundary, Chain, Everything, NodeName, OpType, Selector, alternatives, spread


class Nodes:
    """Settings by node and role, by tensor, and who takes a tensor out.

    Attributes:
        own: node name -> role -> field -> setting, of types and names alone, without those of `*`.
        whose: setting -> the selector of its rule.
        inner: tensors within a chain that runs as one.
    """

    def __init__(self, graph: Graph, config: Config, found: tuple[Level, ...]) -> None:
        self.graph = graph
        self.star = {role: {**found[0].given[role], **found[0].said[role]} for role in found[0].own}
        self.whose: dict[int, Selector] = {}
        self.own: dict[str, dict[str, dict[str, Setting]]] = {}
        for node in graph.nodes:
            self.own[node.name] = {}
            for level in found[1:]:
                if _matches(level.selector, node):
                    for role in level.roles:
                        self._say(node, role, level.own[role], level.selector)
        for level in found[:1]:
            for settings in level.own.values():
                self.whose |= {id(setting): Everything() for setting in settings.values()}
        self.inner: dict[str, Fusion] = {}
        for fusion in config.fusions:
            for run in chains_in(graph, fusion.chain):
                self.inner |= {tensor: fusion for node in run[:-1] for tensor in node.outputs}
        self.boundary: dict[str, dict[str, Setting]] = defaultdict(dict)
        for selector, roles, setting in _of_places(config):
            if isinstance(selector, Chain):
                for run in chains_in(graph, selector):
                    for role in roles:
                        self._say(run[-1], role, {setting.field: setting}, selector)
            else:
                self.whose[id(setting)] = selector
                for role in roles:
                    self.boundary[role][setting.field] = setting

    def _say(self, node: Node, role: str, settings: Settings, selector: Selector) -> None:
        self.own[node.name].setdefault(role, {}).update(settings)
        self.whose |= {id(setting): selector for setting in settings.values()}

    def selector(self, setting: Setting) -> Selector:
        """Return whose a setting is."""
        return self.whose.get(id(setting), Everything())

    def of(self, node: Node, role: str) -> Settings:
        """Return what holds for one tensor of a node, `*` included."""
        return {**self.star.get(role, {}), **self.own[node.name].get(role, {})}

    def activation(self, tensor: str) -> dict[str, Setting]:
        """Return what holds for a computed tensor: its producer's word, over it its readers', over both the model's."""
        producer = self.graph.producer.get(tensor)
        role = "input" if producer is None else "output"
        merged = dict(self.star[role]) if producer is None else dict(self.of(producer, "output"))
        if producer is None and self.star["input"].get("enabled") is None:
            merged = {**self.star["output"], **merged}
        for reader in self.graph.consumers.get(tensor, ()):
            own = self.own[reader.name].get("input", {})
            said = own.get("enabled", self.star["input"].get("enabled"))
            if said is not None and said.value is True:
                merged |= {**own, "enabled": said}
        for place, names in (("input", self.graph.inputs), ("output", self.graph.outputs)):
            if tensor in names:
                merged |= self.boundary[place]
        return merged

    def off(self, tensor: str) -> Fusion | Setting | None:
        """Return what says that a computed tensor is not quantized, None if nothing does."""
        if tensor in self.inner:
            return self.inner[tensor]
        setting = self.activation(tensor).get("enabled")
        return setting if setting is not None and setting.value is False else None


def _matches(selector: Selector, node: Node) -> bool:
    match selector:
        case OpType(name):
            return node.op == name
        case NodeName(pattern, glob):
            return fnmatchcase(node.name, pattern) if glob else node.name == pattern
        case _:
            return False


def _of_places(config: Config) -> Iterator[tuple[Selector, tuple[str, ...], Setting]]:
    """Yield the settings of chains and of the model's boundary, each with the roles it is about."""
    for rule in config.rules:
        for selector in alternatives(rule.selector):
            if not isinstance(selector, (Boundary, Chain)):
                continue
            for clause in rule.clauses:
                roles = tuple(r for said in clause.roles or ("",) for r in spread(said))
                for setting in clause.settings:
                    yield selector, roles, setting
