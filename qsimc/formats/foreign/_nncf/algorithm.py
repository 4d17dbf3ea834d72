"""The algorithm `quantization` of NNCF's JSON files: what it says of all tensors, and of those of some nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qsimc.formats.foreign._nncf.ranges import GROUPS, ranges
from qsimc.formats.foreign._nncf.scopes import Scope, scope, scopes
from qsimc.formats.foreign._nncf.values import FIELDS, Values
from qsimc.formats.foreign._shared import Findings, below
from qsimc.ir.config import Clause, Option, Rule, Setting, Value
from qsimc.ir.loss import LossKind
from qsimc.ir.select import Boundary, Everything
from qsimc.source import Span
from qsimc.syntax.json import Member

_SWITCHES = {
    "overflow_fix": ("enable", "disable", "first_layer_only"),
    "export_to_onnx_standard_ops": None,
    "validate_scopes": None,
}
"""What is no setting of a tensor: the words that it can be, None for true and false."""

_KEYS = (
    "algorithm", "preset", "weights", "activations", "initializer", "quantize_inputs", "quantize_outputs",
    "scope_overrides", "params", "compression_lr_multiplier", "ignored_scopes", "target_scopes", *_SWITCHES,
)  # fmt: skip
_GROUP = (*FIELDS, "ignored_scopes", "target_scopes", "validate_scopes", "logarithm_scale", "unified_scale_ops")
_INITIALIZER = ("range", "precision", "batchnorm_adaptation")
_PRESETS = {"performance": ("symmetric", "symmetric"), "mixed": ("symmetric", "asymmetric")}


class Algorithm:
    """Reads one algorithm for a device into rules and options."""

    def __init__(self, device: str, findings: Findings) -> None:
        self.device = device
        self.findings = findings
        self.values = Values(findings)
        self.rules: list[Rule] = []
        self.options: list[Option] = []

    def read(self, found: Mapping[str, Member], span: Span, pointer: str) -> None:
        """Read the settings of all tensors, then those of some nodes."""
        for member in found.values():
            if member.key not in _KEYS:
                at = below(pointer, member.key)
                self.findings.unknown(member, _KEYS, "the algorithm", at, refused=True)
        presets = self._preset(found.get("preset"), span, pointer)
        said = {group: self._defaults(group, presets[group], span) for group in GROUPS}
        groups = {group: self.values.object(found.get(group), below(pointer, group)) for group in GROUPS}
        for group, own in groups.items():
            at = below(pointer, group)
            for member in own.values():
                if member.key not in _GROUP or (member.key == "unified_scale_ops" and group == "weights"):
                    self.findings.unknown(member, _GROUP, f"`{group}`", below(at, member.key), refused=True)
            self._overlay(group, said[group], self.values.fields(own, at))
            self._group_switches(own, at)
        later = list(self._initializer(found.get("initializer"), said, below(pointer, "initializer")))
        clauses = [Clause(roles, tuple(said[group].values()), span) for group, roles in GROUPS.items()]
        placed = {("weight",): True, ("input",): True, ("output",): False, ("bias",): False}
        clauses += [Clause(roles, (Setting("enabled", on, span),), span) for roles, on in placed.items()]
        self.rules.append(Rule(Everything(), tuple(clauses), span))
        self._ends(found, span, pointer)
        self.rules += later
        self._placement(found, groups, pointer)
        self._overrides(found.get("scope_overrides"), below(pointer, "scope_overrides"))
        self._switches(found, pointer)

    # ── all tensors ──────────────────────────────────────────────────────────────────────────

    def _preset(self, member: Member | None, span: Span, pointer: str) -> dict[str, tuple[str, Span, str]]:
        """Return the mode of each group, and where it is said."""
        word, at = "performance", ""
        if member is not None:
            at = below(pointer, "preset")
            word = self.values.choice(member, tuple(_PRESETS), at) or word
            span = member.value.span
            if self.device == "NPU":
                self.findings.bad("the NPU has no presets", span, at, "leave the key out")
        weights, activations = _PRESETS[word]
        return {"weights": (weights, span, at), "activations": (activations, span, at)}

    def _defaults(self, group: str, preset: tuple[str, Span, str], span: Span) -> dict[str, Setting]:
        mode, mode_span, pointer = preset
        weights = group == "weights"
        values: dict[str, Value] = {
            "type": "int",
            "bits": 8,
            "per_channel": weights and self.device != "TRIAL",
            "calib": "minmax",
        }
        said = {field: Setting(field, value, span) for field, value in values.items()}
        said["symmetric"] = Setting("symmetric", mode == "symmetric", mode_span, pointer)
        return said

    def _overlay(self, group: str, said: dict[str, Setting], own: list[Setting]) -> None:
        said |= {setting.field: setting for setting in own}
        self._signs(group, said)

    def _signs(self, group: str, said: dict[str, Setting]) -> dict[str, Setting]:
        """Say what follows from the mode: weights leave out the lowest integer, activations go by their sign."""
        mode = said["symmetric"]
        if group == "weights":
            narrow = mode.value is True and self.device != "TRIAL"
            said["narrow_range"] = Setting("narrow_range", narrow, mode.span, mode.pointer)
            if mode.value is True:
                said.setdefault("signed", Setting("signed", True, mode.span, mode.pointer))
        else:
            said["narrow_range"] = Setting("narrow_range", False, mode.span, mode.pointer)
            signed = said.get("signed", mode)
            free = "signed" not in said and mode.value is True
            said["unsigned_symmetric"] = Setting("unsigned_symmetric", free, signed.span, signed.pointer)
        return said

    def _ends(self, found: Mapping[str, Member], span: Span, pointer: str) -> None:
        """Read whether the inputs and the outputs of the model are quantized."""
        clauses: list[Clause] = []
        for key, role, default in (("quantize_inputs", "input", True), ("quantize_outputs", "output", False)):
            member, at = found.get(key), below(pointer, key)
            said = self.values.flag(member, at)
            place = member.value.span if member is not None else span
            on = Setting("enabled", default if said is None else said, place, at if member is not None else "")
            clauses.append(Clause((role,), (on,), place))
        self.rules.append(Rule(Boundary(), tuple(clauses), span))

    # ── some nodes ───────────────────────────────────────────────────────────────────────────

    def _initializer(self, member: Member | None, said: dict[str, dict[str, Setting]], pointer: str) -> Iterator[Rule]:
        """Put ranges of all tensors among what is said of these; yield rules of the others."""
        known = ("range", "precision", "batchnorm_adaptation")
        found = self.values.object(member, pointer)
        for other in found.values():
            if other.key not in known:
                self.findings.unknown(other, known, "`initializer`", below(pointer, other.key), refused=True)
        if (precision := found.get("precision")) is not None:
            message = "widths that NNCF would choose by itself, or node by node, are dropped"
            self.findings.lost(LossKind.DTYPE, message, precision.value.span, below(pointer, "precision"), "bits")
        if (adaptation := found.get("batchnorm_adaptation")) is not None:
            message = "nothing else adapts batch norms: `batchnorm_adaptation` is dropped"
            at = below(pointer, "batchnorm_adaptation")
            for other in self.values.object(adaptation, at).values():
                if other.key != "num_bn_adaptation_samples":
                    only = ("num_bn_adaptation_samples",)
                    self.findings.unknown(other, only, f"`{adaptation.key}`", below(at, other.key), refused=True)
                else:
                    self.values.number(other, below(at, other.key))
            self.findings.lost(LossKind.OPTION, message, adaptation.value.span, at)
        if (section := found.get("range")) is None:
            return
        for entry in ranges(section.value, below(pointer, "range"), self.findings):
            if entry.samples is not None:
                self.options.append(Option("num_init_samples", entry.samples.value, entry.samples.span))
            if entry.scopes:
                for one in entry.scopes:
                    yield _rule(one, one.roles or entry.roles, list(entry.settings))
                continue
            for group, roles in GROUPS.items():
                if set(roles) <= set(entry.roles):
                    said[group] |= {setting.field: setting for setting in entry.settings}

    def _placement(self, found: Mapping[str, Member], groups: Mapping[str, Mapping[str, Member]], pointer: str) -> None:
        """Read which nodes alone are quantized, and which are not."""
        every = ("weight", "act")
        for group, roles in GROUPS.items():
            own, at = groups[group], below(pointer, group)
            target = own.get("target_scopes")
            general = found.get("target_scopes") if target is None else None
            member, place = (target, at) if target is not None else (general, pointer)
            if member is not None:
                off = Setting("enabled", False, member.value.span, below(place, member.key))
                self.rules.append(Rule(Everything(), (Clause(roles, (off,), off.span),), off.span))
                self._switch(member, place, roles, on=True)
            if (ignored := own.get("ignored_scopes")) is not None:
                self._switch(ignored, at, roles, on=False)
        if (ignored := found.get("ignored_scopes")) is not None:
            self._switch(ignored, pointer, every, on=False)

    def _switch(self, member: Member, pointer: str, roles: tuple[str, ...], *, on: bool) -> None:
        # Of an operator that NNCF quantizes only what it reads is; no rule may switch on more.
        for one in scopes(member.value, f"`{member.key}`", below(pointer, member.key), self.findings):
            wanted = tuple("input" if on and role == "act" else role for role in one.roles or roles)
            self.rules.append(_rule(one, wanted, [Setting("enabled", on, one.span, one.pointer)]))

    def _overrides(self, member: Member | None, pointer: str) -> None:
        """Read what is said of single nodes."""
        for group in self.values.object(member, pointer).values():
            at = below(pointer, group.key)
            if group.key not in GROUPS:
                self.findings.unknown(group, GROUPS, "`scope_overrides`", at, refused=True)
                continue
            for named in self.values.object(group, at).values():
                place = below(at, named.key)
                own = self.values.object(named, place)
                for other in own.values():
                    if other.key not in (*FIELDS, "initializer"):
                        known = (*FIELDS, "initializer")
                        self.findings.unknown(other, known, "a scope", below(place, other.key), refused=True)
                one = scope(named.key, named.key_span, place, self.findings)
                if one is None:
                    continue
                said: dict[str, dict[str, Setting]] = {name: {} for name in GROUPS}
                self.rules += self._initializer(own.get("initializer"), said, below(place, "initializer"))
                settings = [*self.values.fields(own, place), *said[group.key].values()]
                self.rules.append(_rule(one, one.roles or GROUPS[group.key], settings))

    # ── switches ─────────────────────────────────────────────────────────────────────────────

    def _switches(self, found: Mapping[str, Member], pointer: str) -> None:
        for key, words in _SWITCHES.items():
            member, at = found.get(key), below(pointer, key)
            value = self.values.flag(member, at) if words is None else self.values.choice(member, words, at)
            if member is not None and value is not None:
                self.options.append(Option(key, value, member.value.span))
        for key in ("params", "compression_lr_multiplier"):
            if (member := found.get(key)) is not None:
                message = f"`{key}` is about training, which nothing else schedules: it is dropped"
                self.findings.lost(LossKind.OPTION, message, member.value.span, below(pointer, key))

    def _group_switches(self, own: Mapping[str, Member], pointer: str) -> None:
        log, at = own.get("logarithm_scale"), below(pointer, "logarithm_scale")
        flag = self.values.flag(log, at)
        if log is not None and flag is not None:
            self.options.append(Option("logarithm_scale", flag, log.value.span))
        if (unified := own.get("unified_scale_ops")) is not None:
            message = "operators that share one scale cannot be told: `unified_scale_ops` is dropped"
            self.findings.lost(LossKind.PLACEMENT, message, unified.value.span, below(pointer, unified.key), "shares")


def _rule(one: Scope, roles: tuple[str, ...], settings: list[Setting]) -> Rule:
    return Rule(one.selector, (Clause(roles, tuple(settings), one.span),), one.span, one.span)
