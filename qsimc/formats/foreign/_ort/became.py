"""What became of settings on a model: the names that stand for each in an ONNX Runtime document."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from qsimc.formats.foreign._ort.common import Settings
from qsimc.formats.foreign._ort.nodes import Nodes
from qsimc.formats.foreign._shared import of
from qsimc.graph import Node
from qsimc.ir.config import Setting
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import NodeName


class Names:
    """Collects names of nodes and tensors by the setting that brought them into the document."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._found: defaultdict[int, list[str]] = defaultdict(list)
        self._settings: dict[int, Setting] = {}

    def excluded(self, node: Node) -> None:
        """Note a node that is left out, unless a rule names it just so."""
        for role in ("output", "input", "weight"):
            setting = self._nodes.own[node.name].get(role, {}).get("enabled")
            if setting is None:
                continue
            selector = self._nodes.selector(setting)
            if not (isinstance(selector, NodeName) and not selector.glob):
                self._note(setting, node.name)
                return

    def overridden(self, settings: Settings, fields: Iterable[str], tensor: str) -> None:
        """Note a tensor that has an override because of some fields."""
        for field in fields:
            setting = settings.get(field)
            if setting is not None:
                self._note(setting, tensor)

    def say(self, lose: Lose) -> None:
        """Report each setting that became names."""
        for key, names in self._found.items():
            setting = self._settings[key]
            shown = of(setting, self._nodes.selector(setting))
            message = f"{shown} becomes {len(names)} name{'s' if len(names) > 1 else ''} of the model"
            lose(Loss(LossKind.MATERIALISED, message, setting.span, tuple(names), (setting.field,), setting.pointer))

    def _note(self, setting: Setting, name: str) -> None:
        self._settings[id(setting)] = setting
        if name not in self._found[id(setting)]:
            self._found[id(setting)].append(name)
