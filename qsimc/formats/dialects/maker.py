"""Neutral configurations into vendors' dialects: what all vendors share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from qsimc.ir.config import Config, Option, Rule, Setting, Value, show_rule
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import OF_FIELD, Lose, Loss, LossKind
from qsimc.ir.select import Boundary, Chain, NodeName, alternatives
from qsimc.source import Span


class Maker:
    """What making a vendor's configuration takes, whoever the vendor is."""

    def __init__(self, neutral_config: Config, lose: Lose) -> None:
        self.neutral = neutral_config
        self.lose = lose
        self.start = Span(neutral_config.source, 0, min(1, len(neutral_config.source.text)))
        self.general, *self.others = levels(neutral_config)
        self.lost: set[tuple[Span, str]] = set()

    def no_key(self, level: Level, role: str, setting: Setting, reason: str, kind: LossKind | None = None) -> None:
        """Say that a setting is lost, once."""
        if (setting.span, setting.field) in self.lost:
            return
        self.lost.add((setting.span, setting.field))
        said = show_rule(level.selector, (role,), setting)
        kind = kind or OF_FIELD[setting.field]
        self.lose(Loss(kind, f"{reason}: `{said}`", setting.span, fields=(setting.field,), pointer=setting.pointer))

    def value(self, level: Level, role: str, field: str) -> Value:
        """Return what holds for a field of a tensor at a level."""
        found = level.setting(role, field)
        return None if found is None else found.value

    def is_on(self, level: Level, role: str) -> bool:
        return bool(self.value(level, role, "enabled"))

    def unsayable(self, rules: Iterable[Rule], title: str) -> Iterator[Rule]:
        """Yield the rules that levels do not hold: about the model's boundary; lose those about chains and globs."""
        for rule in rules:
            for selector in alternatives(rule.selector):
                if isinstance(selector, Boundary):
                    yield replace(rule, selector=selector)
                elif isinstance(selector, Chain) or (isinstance(selector, NodeName) and selector.glob):
                    at = rule.subject or rule.span
                    self.lose(Loss(LossKind.SELECTOR, f"{title} has no rules about chains or patterns", at))

    def options(self, known: Collection[str], title: str) -> tuple[Option, ...]:
        """Return the options that a vendor knows; a switch that is off means nothing elsewhere, others are lost."""
        for option in self.neutral.options:
            if option.name not in known and option.value is not False:
                self.lose(Loss(LossKind.OPTION, f"{title} has no option `{option.name}`", option.span))
        return tuple(option for option in self.neutral.options if option.name in known)
