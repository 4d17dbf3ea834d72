"""Neutral configurations into the dialect of Vitis AI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qsimc.formats.dialects.maker import Maker
from qsimc.formats.dialects.neutral import VITIS, other_params
from qsimc.ir.config import Clause, Config, Option, Rule, Setting, Value
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import ROLES, Boundary, Everything, OpType, Selector, show
from qsimc.source import Span
from qsimc.spec import keymap
from qsimc.spec.operator_words import operator_words


def into_vitis(config: Config, lose: Lose) -> Config:
    """Return a neutral configuration in the dialect of Vitis AI: its operator names, and lists of tensors.

    What it has no words for is left in, and lost when it is written.
    """
    return _ForVitis(config, lose).config()


class _ForVitis(Maker):
    def config(self) -> Config:
        boundary = self._boundary()
        entries = [rule for level in self.others for rule in self._entries(level)]
        rules = (self._general(boundary), *self._one_of_each(entries))
        for _ in self.unsayable(self.neutral.rules, "Vitis AI"):
            pass
        for rule in other_params(self.neutral):
            named = ", ".join(f"`{role}`" for clause in rule.clauses for role in clause.roles)
            self.lose(Loss(LossKind.PLACEMENT, f"Vitis AI has no parameter called {named}", rule.subject or rule.span))
        known = {row.field for row in keymap.rows(keymap.load(VITIS).root) if row.where == "option"}
        options = (*self._switches(), *self.options(known, "Vitis AI"))
        return replace(self.neutral, dialect=VITIS, target=self._target(), rules=rules, options=options)

    def _switches(self) -> Iterator[Option]:
        """Yield the rewrites that the program makes unless it is told not to, and that nobody asked for."""
        for name in ("include_cle", "include_bias_corr"):
            if self.neutral.option(name) is None:
                yield Option(name, False, self.start)

    def _target(self) -> str:
        """Return the device: the one that is named, or one whose tools take what is said."""
        if self.neutral.target in keymap.load(VITIS).devices.values():
            return str(self.neutral.target)
        pow2 = self.value(self.general, "output", "scale") == "pow2"
        device = "vitis-dpu" if pow2 else "vitis-cpu"
        message = f"Vitis AI needs a device, and none is named: `{device}`"
        self.lose(Loss(LossKind.DEFAULTED, message, self.neutral.target_span))
        return device

    def _boundary(self) -> Mapping[tuple[str, str], Setting]:
        """Return what is said of the model's own inputs and outputs, by role and field."""
        about = [Rule(Everything(), r.clauses, r.span) for r in self.neutral.rules if isinstance(r.selector, Boundary)]
        level = levels(replace(self.neutral, rules=tuple(about)))[0]
        for setting in level.own["output"].values():
            if setting.field == "enabled" and setting.value and not self.is_on(self.general, "output"):
                self.no_key(level, "output", setting, "Vitis AI has no rules about the model's outputs alone")
        return {("input", field): setting for field, setting in level.own["input"].items()}

    def _general(self, boundary: Mapping[tuple[str, str], Setting]) -> Rule:
        own = {role: dict(self.general.own[role]) for role in ROLES}
        own["input"] |= {field: setting for (_, field), setting in boundary.items()}
        for role in ("input", "output"):
            scale = own[role].get("scale")
            if scale is not None and scale.value == "float" and "reduce" not in own[role]:
                own[role]["reduce"] = replace(scale, field="reduce", value="max")
        return self._said(Everything(), own, self.start)

    def _entries(self, level: Level) -> Iterator[Rule]:
        """Yield the entries about what a level is about: one for each of the vendor's words for an operator."""
        if not isinstance(level.selector, OpType):
            yield from self._entry(level, level.selector)
            return
        words = operator_words(VITIS).of.get(level.selector.name)
        if words is None:
            at = level.span or self.start
            self.lose(Loss(LossKind.SELECTOR, f"Vitis AI has no layer type for `{level.selector.name}`", at))
            return
        for word in words:
            yield from self._entry(level, OpType(word))

    def _entry(self, level: Level, selector: Selector) -> Iterator[Rule]:
        """Yield an entry, if it is about any tensor: what is said of those that stay float means nothing."""
        own: dict[str, dict[str, Setting]] = {role: {} for role in ROLES}
        for role in ROLES:
            switch = level.setting(role, "enabled")
            if not level.own[role] or switch is None:
                continue
            if switch.value:
                own[role] = {**level.own[role], "enabled": switch}
            elif self.is_on(self.general, role):
                self.no_key(level, role, switch, "an entry of Vitis AI cannot leave a tensor float")
        if any(own.values()):
            yield self._said(selector, own, level.span or self.start)

    def _one_of_each(self, entries: list[Rule]) -> Iterator[Rule]:
        """Yield entries without those that another about the same type would replace."""
        last = {rule.selector: rule for rule in entries}
        for rule in entries:
            if last[rule.selector] is rule:
                yield rule
            elif _facts(last[rule.selector]) != _facts(rule):
                message = f"to Vitis AI `{show(rule.selector)}` is one type of layer, and two rules are about it"
                self.lose(Loss(LossKind.SELECTOR, message, rule.span))

    def _said(self, selector: Selector, own: Mapping[str, Mapping[str, Setting]], span: Span) -> Rule:
        """Return a rule of a list and of settings: one clause for all tensors, where they agree, and one for each."""
        listed = [role for role in ROLES if "enabled" in own[role] and own[role]["enabled"].value]
        spoken = [role for role in ROLES if own[role]]
        clauses: list[Clause] = []
        if listed:
            first = own[listed[0]]["enabled"]
            clauses.append(Clause(tuple(listed), (replace(first, value=True),), first.span))
        fields = dict.fromkeys(f for role in spoken for f in own[role] if f != "enabled")
        everywhere = [f for f in fields if len({_value(own[role].get(f)) for role in spoken}) == 1]
        if everywhere and spoken:
            settings = tuple(_joined(own[spoken[0]], f) for f in everywhere)
            roles = () if isinstance(selector, Everything) or spoken == listed else tuple(spoken)
            clauses.append(Clause(roles, self._kept(settings), span))
        for role in spoken:
            rest = tuple(_joined(own[role], f) for f in own[role] if f not in everywhere and f != "enabled")
            if kept := self._kept(rest):
                clauses.append(Clause((role,), kept, span))
        return Rule(selector, tuple(clauses), span)

    def _kept(self, settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
        """Return settings without those that say nothing here."""
        return tuple(s for s in settings if s.value is not None and not (s.field in _FOREIGN and s.value is False))


_FOREIGN = ("unsigned_symmetric", "dynamic")
"""Flags that Vitis AI has no key for, and that mean nothing to it where they are not set."""


def _facts(rule: Rule) -> list[object]:
    return [(clause.roles, [(s.field, s.value) for s in clause.settings]) for clause in rule.clauses]


def _value(setting: Setting | None) -> Value:
    return None if setting is None else setting.value


def _joined(own: Mapping[str, Setting], field: str) -> Setting:
    """Return a setting; the family of a float type says its width in the same word."""
    setting = own[field]
    if field == "type" and setting.value in ("float", "bfloat") and "bits" in own:
        return replace(setting, value=f"{setting.value}{own['bits'].value}")
    return setting
