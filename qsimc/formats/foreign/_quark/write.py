"""Write Quark's configuration for PyTorch: one entry for everything, some by type, some by the names of layers.

Quark takes one entry for a layer: that of its exact name, else the first pattern that fits, else that of its type,
else the global one; and none for a layer that is excluded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from qsimc.formats.foreign import _shared
from qsimc.formats.foreign._quark.layers import (
    META,
    Layer,
    Layers,
    covers,
    found,
    layers,
    listed,
    lose_overlaps,
    merged,
    unfused,
    unrolled,
)
from qsimc.formats.foreign._quark.losses import Losses
from qsimc.formats.foreign._quark.tensors import Tensors, calibrated
from qsimc.formats.foreign._quark.words import quantized
from qsimc.formats.foreign._shared import Plain
from qsimc.graph import Graph
from qsimc.ir.config import Config, Setting
from qsimc.ir.levels import Level
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import ROLES, NodeName, OpType, show
from qsimc.spec.operator_words import operator_words

_TOOL = "Quark"
_KEYS = {"input": "input_tensors", "output": "output_tensors", "weight": "weight", "bias": "bias"}
_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_Entry = dict[str, Plain]
_OFF: _Entry = {**dict.fromkeys(_KEYS.values()), "target_device": None}


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of a configuration of Quark for PyTorch."""
    losses = Losses(config, lose, graph)
    types = frozenset(_TYPES)
    writer = _Writer(losses, layers(unfused(unrolled(config, losses, types, _TOOL), losses, types, _TOOL)))
    text = _shared.text(writer.document())
    losses.boundary(_TOOL)
    _shared.lose_options(config, lose, _TOOL)
    _shared.lose_restrictions(config, lose, _TOOL)
    return text


class _Writer:
    def __init__(self, losses: Losses, config: Layers) -> None:
        self.losses = losses
        self.config = config
        every = [config.of_type(op) for op in _TYPES] + [config.of_name(_pattern(level)) for level in config.named]
        self.tensors = Tensors(losses, any(calibrated(layer[r]) for layer in every for r in ("input", "output")))

    def document(self) -> Plain:
        types = self._types()
        general = max(types.values(), key=list(types.values()).count)
        own: dict[str, Plain] = {name: entry for name, entry in types.items() if entry != general}
        exact, patterns = self._named() if self.losses.graph is None else self._modelled(self.losses.graph)
        exclude = self._exclude(exact, patterns)
        self._elsewhere()
        entries: dict[str, Plain] = {**exact, **patterns}
        return {
            "global_quant_config": general,
            "exclude": list(exclude),
            "algo_config": None,
            "softmax_quant_spec": None,
            "quant_method": "quark",
            "layer_type_quant_config": own,
            "layer_quant_config": entries,
            "kv_cache_quant_config": {},
            "kv_cache_post_rope": False,
            "quant_mode": "eager_mode",
            "version": "0.13",
        }

    def _entry(self, operator: str, layer: Layer) -> _Entry:
        entry: _Entry = {key: self.tensors.write(role, operator, layer[role]) for role, key in _KEYS.items()}
        return {**entry, "target_device": None}

    # ── types ────────────────────────────────────────────────────────────────────────────────

    def _types(self) -> Mapping[str, _Entry]:
        """Return an entry for each class of modules; Linear is what Gemm says, else what MatMul says."""
        types = self.config.types
        linear = "MatMul" if "MatMul" in types and "Gemm" not in types else "Gemm"
        words = operator_words("quark").of
        entries = {words[op][0]: self._entry(op, self.config.of_type(op)) for op in ("Conv", "ConvTranspose", linear)}
        if {"Gemm", "MatMul"} <= set(types) and self._entry("MatMul", self.config.of_type("MatMul")) != entries[
            "Linear"
        ]:
            message = f"{_TOOL} has one Linear for Gemm and MatMul, which gets what Gemm says: {{}} is dropped"
            for role in ROLES:
                for field, setting in types["MatMul"].own[role].items():
                    if types["Gemm"].said[role].get(field) != setting:
                        self.losses.setting(setting, message, LossKind.SELECTOR)
        return entries

    def _elsewhere(self) -> None:
        """Lose what is said of operators whose tensors Quark never quantizes."""
        where = "Conv2d, ConvTranspose2d and Linear"
        general = self.config.general.said
        placed = [layer["enabled"] for layer in (general[role] for role in ROLES) if quantized(layer)]
        self.losses.elsewhere(_TOOL, placed, _TYPES, where)
        others = {op: level for op, level in self.config.types.items() if op not in _TYPES}
        heard = {op: list(_wanted(level)) for op, level in others.items() if self.losses.finds(OpType(op))}
        self.losses.unheard(_TOOL, where, heard)

    # ── names ────────────────────────────────────────────────────────────────────────────────

    def _named(self) -> tuple[dict[str, _Entry], dict[str, _Entry]]:
        """Return the entries of exact names, and of patterns, as far as they can be known without a model."""
        exact = {_pattern(level): self._entry("", self.config.of_name(_pattern(level))) for level in self.config.exact}
        # What is said last comes first: Quark takes the first pattern that fits.
        patterns = {
            _pattern(level): self._entry("", merged(self.config.general.own, level.own))
            for level in reversed(self.config.globs)
        }
        for level in self.config.named:
            self._inherits(level)
        lose_overlaps(self.config, self.losses, _TOOL)
        return exact, patterns

    def _inherits(self, level: Level) -> None:
        """Lose what types would say of a named layer, whose type is not known."""
        types = [t for op, t in self.config.types.items() if op in _TYPES and not covers(level, t)]
        if types:
            named = ", ".join(show(t.selector) for t in types)
            message = f"{_TOOL} takes one entry for a layer: {show(level.selector)} does not get what {named} says"
            self.losses.lose(Loss(LossKind.PRECEDENCE, message, level.span))

    def _modelled(self, graph: Graph) -> tuple[dict[str, _Entry], dict[str, _Entry]]:
        """Return the entries of exact names, and of patterns, that give each node of a model what it should get."""
        config, types = self.config, frozenset(_TYPES)
        nodes = [n for n in graph.nodes if n.op in types and any(_finds(level, n.name) for level in config.named)]
        wanted = {node.name: self._entry(node.op, config.of_name(node.name, node.op)) for node in nodes}
        path = {node.name: node.origin.path or node.name for node in nodes}
        patterns: dict[str, _Entry] = {}
        for level in reversed(config.globs):
            names = [node.name for node in found(graph, level, types)]
            same = _one({n: wanted[n] for n in names}) and all(path[name] == name for name in names)
            if same and META & set(_pattern(level)):
                patterns[_pattern(level)] = wanted[names[0]]
        exact: dict[str, _Entry] = {}
        for name, entry in wanted.items():
            said = next((e for pattern, e in patterns.items() if fnmatchcase(path[name], pattern)), None)
            if said != entry:
                exact[path[name]] = entry
        for level in config.named:
            names = [path[node.name] for node in found(graph, level, types)]
            if names and _pattern(level) not in patterns and names != [_pattern(level)] and not _is_name(level):
                message = f"{_TOOL} names layers as PyTorch does: {listed(show(level.selector), names)}"
                self.losses.lose(Loss(LossKind.MATERIALISED, message, level.span))
            self._unquantized(graph, level)
        return exact, patterns

    def _unquantized(self, graph: Graph, level: Level) -> None:
        """Lose what is said of named nodes that Quark never quantizes."""
        others = [n for n in graph.nodes if n.op not in _TYPES and _finds(level, n.name)]
        tensors = tuple(tensor for node in others for tensor in node.outputs if tensor)
        for setting in _wanted(level) if tensors else ():
            self.losses.setting(setting, f"{_TOOL} quantizes Conv2d, ConvTranspose2d and Linear only: {{}} is dropped")

    def _exclude(self, exact: dict[str, _Entry], patterns: dict[str, _Entry]) -> list[str]:
        """Take out the entries that switch layers off, where nothing else is said of these layers."""
        off = [name for name, entry in exact.items() if entry == _OFF and not META & set(name)]
        globs = []
        first = True
        for pattern, entry in patterns.items():
            first = first and entry == _OFF
            if first and not any(fnmatchcase(name, pattern) for name, e in exact.items() if e != _OFF):
                globs.append(pattern)
        for name in off:
            del exact[name]
        for pattern in globs:
            del patterns[pattern]
        return [*reversed(globs), *off]


def _one(entries: Mapping[str, _Entry]) -> bool:
    """Say whether there are entries, and all are the same."""
    return bool(entries) and all(entry == next(iter(entries.values())) for entry in entries.values())


def _pattern(level: Level) -> str:
    assert isinstance(level.selector, NodeName)
    return level.selector.pattern


def _is_name(level: Level) -> bool:
    return isinstance(level.selector, NodeName) and not level.selector.glob


def _finds(level: Level, name: str) -> bool:
    pattern = _pattern(level)
    return name == pattern if _is_name(level) else fnmatchcase(name, pattern)


def _wanted(level: Level) -> Iterator[Setting]:
    """Yield the settings of a level that change a tensor which is quantized."""
    for role in ROLES:
        if quantized(level.said[role]):
            yield from level.own[role].values()
