"""What a configuration says of one tensor of one layer, in the order in which the later word wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from qsimc import targets
from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor
from qsimc.ir.config import Config, Setting, Value, show_rule
from qsimc.ir.levels import Level, levels
from qsimc.ir.quant import FIELDS, Numeric, precision
from qsimc.ir.select import NodeName, OpType
from qsimc.planning.plan import Decision, Mode, Reason
from qsimc.planning.rules import DEFAULT, VITIS_PERCENTILE
from qsimc.planning.vitis.modules import of_name, of_type
from qsimc.planning.vitis.network import Layer, Network
from qsimc.source import Span
from qsimc.spec import keymap

_DEFAULTS = "vitis-dpu"
"""A target whose rules are what holds where a file says nothing; they are the same for every one."""

_PERCENTILE = 99.99


@dataclass(frozen=True)
class Settings:
    """The settings of a configuration, sorted by the layers of a network.

    `by_kind` and `by_layer` have the entries about types and names of layers; of several the last counts.
    """

    config: Config
    mode: Mode
    general: Level
    by_kind: Mapping[str, Level]
    by_layer: Mapping[Layer, Level]
    _known: dict[tuple[str, tuple[int, ...]], tuple[Decision, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, network: Network, model: str, mode: Mode, report: Report) -> Settings:
        """Return the settings; entries that mean nothing on this network are reported."""
        merged = levels(config, targets.load(_DEFAULTS).config.rules)
        by_kind: dict[str, Level] = {}
        by_layer: dict[Layer, Level] = {}
        for level in merged[1:]:
            if isinstance(level.selector, OpType):
                by_kind |= dict.fromkeys(of_type(network, level, mode, report), level)
            elif isinstance(level.selector, NodeName):
                by_layer |= dict.fromkeys(of_name(network, level, model, mode, report), level)
        return cls(config, mode, merged[0], by_kind, by_layer)

    @property
    def mixed(self) -> bool:
        """Whether any block names a datatype other than int: another strategy then runs for the whole model."""
        every = (self.general, *self.by_kind.values(), *self.by_layer.values())
        said = (s for level in every for settings in level.own.values() for s in settings.values())
        return any(s.field == "type" and s.value not in (None, Numeric.INT) for s in said)

    def decisions(self, layer: Layer, role: str) -> tuple[Decision, ...]:
        """Return what is decided about one tensor of a layer, the winner of each field last."""
        return self._decisions(self.entries(layer, role), role)

    def of_group(self, group: Sequence[Layer], report: Report) -> tuple[Decision, ...]:
        """Return what is decided about the output of a group of layers.

        An entry about the name of any of them counts before one about a type.  Entries that say different things of
        one group are reported: the original stops there.
        """
        found: list[Level] = []
        for levels_ in ([self.by_kind.get(layer.kind) for layer in group], [self.by_layer.get(x) for x in group]):
            said = {id(level): level for level in levels_ if level is not None and level.own["output"]}
            chosen = list(said.values())
            if len({_values(self._decisions((level,), "output")) for level in chosen}) > 1:
                report(_conflict(self.mode, group, chosen))
            found += chosen[:1]
        return self._decisions(tuple(found[-1:] if self.mode is Mode.VENDOR else found), "output")

    def entries(self, layer: Layer, role: str) -> tuple[Level, ...]:
        """Return the entries that say something of a tensor, the one that wins last.

        In vendor mode it is one: that of the layer's name, else that of its type; an entry by name that leaves
        the tensor out takes that by type away as well.
        """
        both = [level for level in (self.by_kind.get(layer.kind), self.by_layer.get(layer)) if level is not None]
        if self.mode is Mode.VENDOR:
            both = both[-1:]
        return tuple(level for level in both if level.own[role])

    def _decisions(self, entries: Sequence[Level], role: str) -> tuple[Decision, ...]:
        key = role, tuple(map(id, entries))
        if key not in self._known:
            self._known[key] = tuple(self._resolved(entries, role))
        return self._known[key]

    def _resolved(self, entries: Sequence[Level], role: str) -> Iterator[Decision]:
        found = [Decision("enabled", True, DEFAULT)]
        found += self._said(self.general.given[role].values(), None)
        for level in (self.general, *entries):
            found += self._said(level.own[role].values(), level)
        if self.mode is Mode.VENDOR:
            found = [d for d in found if d.field != "enabled" or d.value]
            found += self._forgotten(entries, role)
        return _completed(found)

    def _said(self, settings: Iterable[Setting], level: Level | None) -> Iterator[Decision]:
        for setting in settings:
            if setting.value is None:
                continue
            reason = DEFAULT
            if level is not None:
                rule = show_rule(level.selector, self._roles.get(setting.span, ()), setting)
                reason = Reason(rule, setting.span)
            for name, value in _fields(setting):
                yield Decision(name, value, reason)

    @cached_property
    def _roles(self) -> Mapping[Span, tuple[str, ...]]:
        """The tensors that each setting speaks of, by where it stands."""
        return {s.span: c.roles for rule in self.config.rules for c in rule.clauses for s in c.settings}

    def _forgotten(self, entries: Sequence[Level], role: str) -> Iterator[Decision]:
        """Yield the percentage that the original goes back to: each block of a percentile sets it anew."""
        share, calib, changed = _PERCENTILE, "diffs", False
        for level in (self.general, *entries):
            for block in _blocks(self.config, level, role):
                calib = str(block["calib"].value) if "calib" in block else calib
                if calib == "percentile":
                    changed = changed or "percentile" not in block
                    said = block["percentile"].value if "percentile" in block else None
                    share = float(said) if isinstance(said, (int, float)) else _PERCENTILE
        if changed and calib == "percentile":
            yield Decision("percentile", share, VITIS_PERCENTILE)


def _blocks(config: Config, level: Level, role: str) -> Iterator[Mapping[str, Setting]]:
    """Yield the blocks of a level that are read for a tensor, as field -> setting."""
    for rule in config.rules:
        if rule.selector != level.selector:
            continue
        for clause in rule.clauses:
            settings = {s.field: s for s in clause.settings if s.field != "enabled"}
            if settings and (not clause.roles or role in clause.roles):
                yield settings


def _fields(setting: Setting) -> Iterator[tuple[str, Value]]:
    """Yield what a setting says, field by field: `type=bfloat16` says the family and the width."""
    if setting.field != "type" or setting.value == Numeric.INT:
        yield setting.field, setting.value
        return
    family, bits = precision(str(setting.value))
    yield "type", family
    yield "bits", bits


def _completed(decisions: Sequence[Decision]) -> Iterator[Decision]:
    """Yield a decision for every field of a spec; the width of a float type outranks a width of integers."""
    last = {decision.field: decision for decision in decisions}
    yield from (Decision(name, _UNSAID.get(name), DEFAULT) for name in FIELDS if name not in last)
    family = last["type"]
    widths = [d for d in decisions if d.field == "bits" and d.reason is family.reason]
    yield from decisions
    if family.value != Numeric.INT and widths:
        yield widths[-1]


_UNSAID: Mapping[str, Value] = {"unsigned_symmetric": False, "per_channel": False, "narrow_range": False}


def _values(decisions: Iterable[Decision]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted({d.field: d.value for d in decisions}.items(), key=lambda item: item[0]))


def _conflict(mode: Mode, group: Sequence[Layer], entries: Sequence[Level]) -> Diagnostic:
    spans = dict.fromkeys(setting.span for level in entries for setting in list(level.own["output"].values())[:1])
    named = ", ".join(f"`{layer.node.name}`" for layer in group)
    return Diagnostic(
        code="Q0545",
        name="group-of-two-minds",
        severity=Severity.ERROR if mode is Mode.VENDOR else Severity.WARNING,
        message=f"{named} share one quantizer, and entries say different things of their activations",
        labels=tuple(map(Label, spans)),
        notes=("the entry of the first layer counts",) if mode is Mode.FIXED else (),
        helps=("say the same in both entries",),
        vendor=Vendor(
            keymap.load("vitis").tool, "ValueError", "Can not set different activation quant configs in the group"
        ),
    )
