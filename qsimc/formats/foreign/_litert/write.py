"""A LiteRT recipe out of rules: one entry for all operations, one for each that differs, then those for names.

Every entry is complete, so that nothing rests on entries before it; the last one wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.modes import Modes
from qsimc.formats.foreign._litert.named import NO_WEIGHTS, WEIGHTS, Named
from qsimc.formats.foreign._litert.policy import ANY_WEIGHT, FLOAT, Mode, entry
from qsimc.formats.foreign._litert.read import BOUNDARY
from qsimc.formats.foreign._shared import Once, Plain, lost
from qsimc.graph import Graph
from qsimc.ir.config import Config, Rule, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import ROLES, Boundary, Everything, OpType, alternatives


def entries(config: Config, lose: Once, graph: Graph | None) -> list[Plain]:
    """Return the entries of a recipe; what they do not say is lost."""
    recipe = _Recipe(config, lose)
    found = list(recipe.general_entries())
    named = Named(config, lose, recipe.everything, recipe.operators)
    found += named.names() if graph is None or config.format == "litert" else named.nodes(graph)
    return found


class _Recipe:
    def __init__(self, config: Config, lose: Once) -> None:
        self.config = config
        self.lose = lose
        self.modes = Modes(lose)
        self.everything, *others = levels(config)
        self.operators = {level.selector.name: level for level in others if isinstance(level.selector, OpType)}

    # ── all operations, and each ─────────────────────────────────────────────────────────────

    def general_entries(self) -> Iterator[Plain]:
        general = self._general()
        wanted = self._wanted(general)
        if general == FLOAT:
            general = _shared(wanted)
        silent = general == FLOAT and not any("enabled" in self.everything.own[role] for role in ROLES)
        if not silent:
            yield entry(".*", litert.EVERY, general)
        # With nothing for all operations, an operator that stays float by its rules needs entries of its own.
        mine = [[w for w in litert.words_of(o) if self._decider(w) is level] for o, level in self.operators.items()]
        float_ = {word for words in mine if all(wanted[w] == FLOAT for w in words) for word in words}
        for word, mode in wanted.items():
            if mode != _reached(word, general) or (silent and word in float_):
                yield entry(".*", word, mode)
        for word, role in BOUNDARY.items():
            if own := self._of_boundary(role):
                mode = self.modes.boundary(word, role, self.everything.said, own, Boundary())
                if mode != _reached(word, general):
                    yield entry(".*", word, mode)
        self._left_float(general)
        self._uneven(wanted)

    def _general(self) -> Mode:
        """Return the configuration for all operations: with integer activations, or none."""
        said, everything = self.everything.said, Everything()
        plain = self.modes.of(NO_WEIGHTS, said, everything)
        if plain == FLOAT:
            return FLOAT
        weights = Modes(self.lose, quiet=True).of(WEIGHTS, said, everything)
        return plain if weights == FLOAT else replace(plain, weight=weights.weight)

    def _wanted(self, general: Mode) -> dict[str, Mode]:
        """Return the configuration of each operation, by the operator that decides it; those with rules first."""
        found: dict[str, Mode] = {}
        for operator, level in self.operators.items():
            for word in litert.words_of(operator):
                if self._decider(word) is level:
                    found[word] = self._mode(word, level)
        for word in litert.policy().operations:
            if word in litert.policy().weighted and word not in found:
                found[word] = self._mode(word, self.everything)
            elif word not in found and word not in BOUNDARY:
                found[word] = _reached(word, general)
        return found

    def _decider(self, word: str) -> Level | None:
        """Return the rules that decide an operation, None where those for everything do."""
        operators = litert.operators_of(word)
        return self.operators.get(operators[0]) if operators else None

    def _mode(self, word: str, level: Level) -> Mode:
        return self.modes.of(word, level.said, level.selector)

    def _of_boundary(self, role: str) -> Mapping[str, Setting]:
        rules = (
            Rule(Everything(), rule.clauses, rule.span)
            for rule in self.config.rules
            for selector in alternatives(rule.selector)
            if isinstance(selector, Boundary)
        )
        return levels(replace(self.config, rules=tuple(rules)))[0].own[role]

    def _left_float(self, general: Mode) -> None:
        """Lose the quantization of operators that no operation with such activations exists for."""
        activation = general.activation
        if activation is None:
            return
        words = litert.policy().not_static[activation.bits]
        left = [
            operator
            for operator in dict.fromkeys(o for word in words for o in litert.operators_of(word))
            if operator not in self.operators and all(word in words for word in litert.words_of(operator))
        ]
        enabled = self.everything.setting("output", "enabled") or self.everything.setting("input", "enabled")
        if left and enabled is not None and self.config.format != "litert":
            listed = ", ".join(left)
            message = f"LiteRT has no {listed} with {activation.bits}-bit activations, so they stay float"
            self.lose(lost(enabled, message, LossKind.PLACEMENT))

    def _uneven(self, wanted: Mapping[str, Mode]) -> None:
        """Lose rules for operators that LiteRT has no operation for, or one that another operator decides."""
        for operator, level in self.operators.items():
            if not any(level.own.values()):
                continue
            words = litert.words_of(operator)
            if not words and all(_is_off(setting) for role in ROLES for setting in level.own[role].values()):
                continue
            if not words:
                self._no_operation(level, f"LiteRT's quantizer has no operation for {operator}")
                continue
            for word in words:
                decider = litert.operators_of(word)[0]
                quiet = Modes(self.lose, quiet=True).of(word, level.said, level.selector)
                if decider != operator and quiet != wanted[word]:
                    self._no_operation(
                        level, f"LiteRT's {word} is {decider} too, which decides how {operator} runs as it"
                    )

    def _no_operation(self, level: Level, message: str) -> None:
        fields = tuple(dict.fromkeys(field for role in ROLES for field in level.own[role]))
        settings = [setting for role in ROLES for setting in level.own[role].values()]
        span = level.span or settings[0].span
        self.lose(Loss(LossKind.SELECTOR, message, span, fields=fields, pointer=settings[0].pointer))


def _shared(wanted: Mapping[str, Mode]) -> Mode:
    """Return a configuration that all operations have which can, so that one entry says it; none if there is none."""
    for mode, _ in Counter(mode for mode in wanted.values() if mode != FLOAT).most_common():
        if mode.activation is None and all(wanted[word] == mode for word in wanted if litert.allowed(word, mode)):
            return mode
    return FLOAT


def _reached(word: str, general: Mode) -> Mode:
    """Return what an operation gets from the entry for all."""
    if not litert.allowed(word, general):
        return FLOAT
    weighted = word in litert.policy().weighted or general == FLOAT
    return general if weighted else replace(general, weight=ANY_WEIGHT)


def _is_off(setting: Setting) -> bool:
    return setting.field == "enabled" and not setting.value
