"""What a config says, in the order in which AIMET applies it: one table of decisions per section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from qsimc.ir.config import Config, Option, Setting, Value, show_rule
from qsimc.ir.quant import FIELDS, Numeric, precision
from qsimc.ir.select import AnyOf, Boundary, Chain, Everything, NodeName, OpType, Selector, chains, show
from qsimc.planning.plan import Decision, Reason
from qsimc.source import Span

# `per_channel` waits for the channel axes; `kernels` changes nothing in AIMET.
_ORDER = {name: place for place, name in enumerate(name for name in FIELDS if name != "per_channel")}


@dataclass(slots=True)
class Words:
    """The settings of one subject (`*`, `Conv`, `model`, one node), by role and field.

    A more particular role wins: a named one over `act` and `param`, those over none; then the later rule.
    """

    by_role: dict[str, dict[str, Decision]] = field(default_factory=dict)
    _merged: dict[tuple[str, ...], tuple[Decision, ...]] = field(default_factory=dict)

    def say(self, role: str, decision: Decision) -> None:
        self.by_role.setdefault(role, {})[decision.field] = decision

    @property
    def inputs(self) -> tuple[Decision, ...]:
        """What holds for the quantizers of computed inputs."""
        return self._of("", "act", "input")

    @property
    def outputs(self) -> tuple[Decision, ...]:
        return self._of("", "act", "output")

    @property
    def every(self) -> tuple[Decision, ...]:
        """What holds for every quantizer, whatever its role."""
        return self._of("")

    @property
    def params(self) -> tuple[Decision, ...]:
        """What holds for every parameter."""
        return self._of("", "param")

    def named(self, role: str) -> tuple[Decision, ...]:
        """What holds for the parameters of one role: `weight`, `bias`, ..."""
        return self._of(role)

    def per_channel(self, role: str) -> Decision | None:
        """Return what is said about the channels of a parameter, None when nothing is."""
        said = [self.by_role[r]["per_channel"] for r in ("", "param", role) if "per_channel" in self.by_role.get(r, {})]
        return said[-1] if said else None

    def said(self, role: str, name: str) -> Decision | None:
        """Return one setting of exactly this role."""
        return self.by_role.get(role, {}).get(name)

    def _of(self, *roles: str) -> tuple[Decision, ...]:
        found = self._merged.get(roles)
        if found is None:
            merged = {name: d for role in roles for name, d in self.by_role.get(role, {}).items() if name in _ORDER}
            found = self._merged[roles] = tuple(sorted(merged.values(), key=lambda d: _ORDER[d.field]))
        return found


@dataclass(frozen=True, slots=True)
class Pattern:
    """One supergroup: operator names, first to last, and the line that says it."""

    ops: tuple[str, ...]
    reason: Reason


@dataclass(slots=True)
class Said:
    """A whole AIMET config, ready to be applied."""

    everything: Words = field(default_factory=Words)
    op_type: dict[str, Words] = field(default_factory=dict)
    node: dict[str, Words] = field(default_factory=dict)
    globs: list[tuple[str, Words]] = field(default_factory=list)
    chains: list[tuple[Chain, Words]] = field(default_factory=list)
    boundary: Words = field(default_factory=Words)
    patterns: tuple[Pattern, ...] = ()
    passes: Option | None = None
    hardware: Option | None = None
    model_input_span: Span | None = None

    @property
    def pass_names(self) -> tuple[str, ...]:
        """The names in supergroup_pass_list."""
        value = self.passes.value if self.passes else None
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    def of_node(self, name: str) -> Iterator[Words]:
        """Yield the words for one node by its name: globs first, which an exact name outranks."""
        for pattern, words in self.globs:
            if fnmatchcase(name, pattern):
                yield words
        if name in self.node:
            yield self.node[name]


def compile_words(config: Config) -> Said:
    """Sort a config's rules by what they speak of."""
    said = Said(
        patterns=_patterns(config),
        passes=config.option("supergroup_passes"),
        hardware=config.option("hw_version"),
        model_input_span=_model_input(config),
    )
    for rule in config.rules:
        decisions = [
            (roles or ("",), Decision(name, value, Reason(show_rule(rule.selector, roles, s), s.span)))
            for roles, settings in ((c.roles, c.settings) for c in rule.clauses)
            for s in settings
            for name, value in _fields(s)
        ]
        for words in _subjects(said, rule.selector):
            for roles, decision in decisions:
                for role in roles:
                    words.say(role, decision)
    return said


def _fields(setting: Setting) -> Iterable[tuple[str, Value]]:
    """Return what a setting says, field by field: `type=float16` says the family and the width."""
    if setting.field != "type" or setting.value in tuple(Numeric):
        return ((setting.field, setting.value),)
    family, bits = precision(str(setting.value))
    return (("type", family), ("bits", bits))


def _model_input(config: Config) -> Span | None:
    """Return the place of the section about the model's inputs, which may be empty: the first not about outputs."""
    about = (r for r in config.rules if isinstance(r.selector, Boundary))
    return next((r.span for r in about if not any("output" in c.roles for c in r.clauses)), None)


def _subjects(said: Said, selector: Selector) -> Iterable[Words]:
    match selector:
        case Everything():
            return (said.everything,)
        case Boundary():
            return (said.boundary,)
        case OpType(name):
            return (said.op_type.setdefault(name, Words()),)
        case NodeName(pattern, glob=True):
            said.globs.append((pattern, words := Words()))
            return (words,)
        case NodeName(name):
            return (said.node.setdefault(name, Words()),)
        case AnyOf(choices):
            return [words for choice in choices for words in _subjects(said, choice)]
        case Chain((only,)):
            return _subjects(said, only)
        case Chain():
            said.chains.append((selector, words := Words()))
            return (words,)


def _patterns(config: Config) -> tuple[Pattern, ...]:
    """Return every chain of operators that some `fuse` means, longest first, else in file order."""
    found = [
        Pattern(ops, Reason(f"fuse {show(fusion.chain)}", fusion.span))
        for fusion in config.fusions
        for ops in chains(fusion.chain)
        if len(ops) > 1
    ]
    return tuple(sorted(found, key=lambda pattern: -len(pattern.ops)))
