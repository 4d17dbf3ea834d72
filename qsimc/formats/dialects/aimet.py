"""Neutral configurations into AIMET's dialect."""

from __future__ import annotations

from dataclasses import replace

from qsimc.formats.dialects.maker import Maker
from qsimc.formats.dialects.neutral import AIMET, VITIS, other_params, silent_level
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.levels import Level
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import ROLES, Everything, OpType
from qsimc.spec import keymap

_ARGUMENTS = ("type", "bits", "scale", "round", "calib", "percentile", "reduce", "signed", "per_group", "dynamic")
"""What AIMET takes as arguments of its program, or fixes, and has no keys for."""

_FOR_ALL = ("narrow_range", "unsigned_symmetric", "kernels")
"""What AIMET says once for all tensors."""


def into_aimet(config: Config, lose: Lose) -> Config:
    """Return a neutral configuration in AIMET's dialect: clauses that it has keys for.

    What means the same in silence is left out; of what cannot be said each setting is one loss.
    """
    return _ForAimet(config, lose).config()


class _ForAimet(Maker):
    def config(self) -> Config:
        silent = silent_level(AIMET)
        self._arguments(self.general, silent)
        rules = [self._general(silent)]
        for level in self.others:
            self._arguments(level, silent)
            if isinstance(level.selector, OpType):
                rules.append(self._operator(level))
            else:
                at = level.span or self.start
                self.lose(Loss(LossKind.SELECTOR, "AIMET has no rules about single nodes", at))
        rules += other_params(self.neutral)
        rules += self.unsayable(self.neutral.rules, "AIMET")
        known = {row.field for row in keymap.rows(keymap.load(AIMET).root) if row.where == "option"}
        options = self.options(known, "AIMET")
        return replace(self.neutral, dialect=AIMET, target=self._target(), rules=tuple(rules), options=options)

    def _target(self) -> str | None:
        """Return the target, unless it is another vendor's."""
        if self.neutral.target not in keymap.load(VITIS).devices.values():
            return self.neutral.target
        message = f"AIMET cannot name the target `{self.neutral.target}`"
        self.lose(Loss(LossKind.OPTION, message, self.neutral.target_span))
        return None

    def _arguments(self, level: Level, silent: Level) -> None:
        """Lose what AIMET takes as arguments and what would not come out as said."""
        for role in ROLES:
            for field, setting in level.own[role].items():
                if field not in _ARGUMENTS or setting.value is None or not self.is_on(level, role):
                    continue
                expected = self.value(silent, role, field)
                if field == "signed":
                    expected = bool(self.value(level, role, "symmetric"))
                if setting.value != expected:
                    self.no_key(level, role, setting, "AIMET takes this as an argument or has no word for it")

    def _general(self, silent: Level) -> Rule:
        general, span = self.general, self.start
        clauses: list[Clause] = []

        def say(role: str, setting: Setting | None) -> None:
            if setting is not None and setting.value is not None:
                clauses.append(Clause((role,) if role else (), (setting,), setting.span))

        for field in _FOR_ALL:
            self._same_for_all(general, field, clauses, silent)
        for role in ROLES:
            fixed = general.own[role].get("range")
            if fixed is not None and fixed.value is not None and self.is_on(general, role):
                self.no_key(general, role, fixed, "AIMET fixes ranges of single operators only")
        output = general.setting("output", "enabled")
        if output is not None and output.value:
            say("output", output)
        weight, bias = (general.setting(role, "enabled") for role in ("weight", "bias"))
        say("param", weight)
        if bias is not None and (weight is None or bias.value != weight.value):
            say("bias", bias)
        say("act", self._shared(general, "symmetric", "output", "input"))
        for field in ("symmetric", "per_channel"):
            say("param", self._shared(general, field, "weight", "bias", own_name=field == "symmetric"))
            if field == "symmetric" and not self._agree(general, field):
                say("bias", general.setting("bias", field))
        return Rule(Everything(), tuple(clauses), span)

    def _agree(self, level: Level, field: str) -> bool:
        return self.value(level, "weight", field) == self.value(level, "bias", field)

    def _same_for_all(self, level: Level, field: str, clauses: list[Clause], silent: Level) -> None:
        """Say once what AIMET says once; where tensors differ, the outputs' word counts."""
        chosen = level.setting("output", field)
        if chosen is None:
            return
        for role in ROLES:
            other = level.setting(role, field)
            if other is not None and other.value != chosen.value and self.is_on(level, role):
                self.no_key(level, role, other, "AIMET says this once for all tensors")
        if chosen.value != self.value(silent, "output", field):
            clauses.append(Clause((), (chosen,), chosen.span))

    def _shared(self, level: Level, field: str, main: str, other: str, *, own_name: bool = False) -> Setting | None:
        """Return what two tensors share a key for: the word about `main`; that about `other` is lost if it differs."""
        chosen, second = level.setting(main, field), level.setting(other, field)
        if second is not None and chosen is not None and second.value != chosen.value and not own_name:
            on = self.is_on(level, other) if other != "input" else False
            if on:
                self.no_key(level, other, second, f"AIMET says this once for `{main}` and `{other}`")
        return chosen

    def _operator(self, level: Level) -> Rule:
        clauses: list[Clause] = []
        for role in ROLES:
            for field, setting in level.own[role].items():
                if field in _ARGUMENTS or setting.value is None:
                    continue
                said = self._operator_role(level, role, field, setting)
                if said is not None:
                    clauses.append(Clause(said, (setting,), setting.span))
        return Rule(level.selector, tuple(clauses), level.span or self.start, level.span)

    def _operator_role(self, level: Level, role: str, field: str, setting: Setting) -> tuple[str, ...] | None:
        """Return the roles by which AIMET says a field of an operator's tensor; None where it is not said."""
        shared = {"symmetric": ("output", "act", ("input",)), "per_channel": ("weight", "param", ("bias",))}.get(field)
        if field == "enabled" and role == "input" and not setting.value:
            return None
        if field == "kernels":
            return () if role == "output" else None
        if field in _FOR_ALL:
            if setting.value != self.value(self.general, role, field) and self.is_on(level, role):
                self.no_key(level, role, setting, "AIMET says this once for all operators")
            return None
        if field == "range" and role != "output":
            self.no_key(level, role, setting, "AIMET fixes ranges of outputs only")
            return None
        if field == "per_channel" and role in ("input", "output"):
            if setting.value:
                self.no_key(level, role, setting, "AIMET has channels of parameters only")
            return None
        if shared is None or (field == "symmetric" and role in ("weight", "bias")):
            return (role,)
        main, group, others = shared
        if role == main:
            return (group,)
        if role in others and self.is_on(level, role) and setting.value != self.value(level, main, field):
            self.no_key(level, role, setting, f"AIMET says this once for `{main}` and `{role}`")
        return None
