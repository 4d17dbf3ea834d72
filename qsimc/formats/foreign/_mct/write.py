"""A TPC file out of rules: one configuration for all operators, and one for each operator set that has its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qsimc.formats.foreign._mct.config import Configurations
from qsimc.formats.foreign._mct.sets import FAMILY
from qsimc.formats.foreign._shared import Once, Plain, lose_options, lost, of
from qsimc.ir.config import Config, Restriction, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.predicate import Compare, Member, Predicate, Ref
from qsimc.ir.select import ROLES, Boundary, Chain, Everything, NodeName, OpType, Selector, alternatives, show
from qsimc.spec.operator_words import operator_words

_TOOL = "MCT"


def document(config: Config, lose: Lose, options: tuple[str, ...], version: int) -> Plain:
    """Return a file as a value; what it does not say is lost.

    Args:
        options: names of the options that it has keys for.
    """
    lose_options(config, lose, _TOOL, *options)
    return _Writer(config, Once(lose)).document(options, version)


class _Writer:
    def __init__(self, config: Config, lose: Once) -> None:
        self.config = config
        self.lose = lose
        self.everything, *others = levels(config)
        self.operators = {level.selector.name: level for level in others if isinstance(level.selector, OpType)}
        self.named = [level for level in others if isinstance(level.selector, NodeName)]
        self.configurations = Configurations(lose, self.everything)

    def document(self, options: tuple[str, ...], version: int) -> Plain:
        inputs = dict(self._inputs())
        deciding = dict(self._deciding())
        deciding |= {word: self.everything for word in inputs if word and word not in deciding}
        widths = self.configurations.widths([self.everything, *deciding.values()])
        usual = inputs.get("", widths)
        default = self.configurations.options("", self.everything, usual)
        sets: dict[str, dict[str, Plain]] = {}
        for word, level in deciding.items():
            own = any(level.own.values()) or level is self.everything or word in inputs
            own = own or (self.configurations.uneven and word in self.configurations.kernel_sets)
            qc = self.configurations.options(word, level, inputs.get(word, usual)) if own else None
            sets[word] = {"name": word, "qc_options": qc, "type": "OperatorsSet"}
        self._general_kernels()
        patterns = list(self._patterns(sets))
        self._boundary()
        self._unsaid()
        found: dict[str, Plain] = {
            "default_qco": default,
            "operator_set": list(sets.values()),
            "fusing_patterns": patterns,
        }
        for option in self.config.options:
            if option.name in options and isinstance(option.value, int | str):
                found[option.name] = option.value
        return {**found, "SCHEMA_VERSION": version}

    # ── operator sets ────────────────────────────────────────────────────────────────────────

    def _deciding(self) -> Iterator[tuple[str, Level]]:
        """Yield operator sets with the levels that decide them."""
        words = operator_words(FAMILY)
        for operator, level in self.operators.items():
            names = words.of.get(operator, ())
            mine = [name for name in names if words.meant[name][0] == operator]
            if not mine and any(level.own.values()):
                self._not_a_set(operator, level, names)
            for name in mine:
                yield name, level
        for name in self.configurations.kernel_sets:
            # Without a set of its own, the one configuration for all attributes would hold for kernel and bias.
            decider = words.meant[name][0]
            if decider not in self.operators and self.configurations.uneven:
                yield name, self.everything

    def _not_a_set(self, operator: str, level: Level, names: tuple[str, ...]) -> None:
        words = operator_words(FAMILY)
        message = f"{_TOOL} has no operator set for {operator}"
        if names:
            decider = words.meant[names[0]][0]
            other = self.operators.get(decider)
            own = other.own if other is not None else {role: {} for role in ROLES}
            if _values(own) == _values(level.own):
                return
            message = f"{_TOOL}'s {names[0]} is {decider} too, which decides for {operator}"
        settings = [setting for role in ROLES for setting in level.own[role].values()]
        fields = tuple(dict.fromkeys(setting.field for setting in settings))
        span = level.span or settings[0].span
        self.lose(Loss(LossKind.SELECTOR, message, span, fields=fields, pointer=settings[0].pointer))

    def _general_kernels(self) -> None:
        kernels = self.everything.own["output"].get("kernels")
        if kernels is not None and kernels.value is not None:
            message = f"{_TOOL} has choices for operator sets only: {of(kernels, Everything())} is dropped"
            self.lose(lost(kernels, message))

    # ── patterns, the model's own tensors, and the rest ──────────────────────────────────────

    def _patterns(self, sets: dict[str, dict[str, Plain]]) -> Iterator[Plain]:
        for fusion in self.config.fusions:
            steps = [self._words(step) for part in fusion.chain.steps for step in _steps(part)]
            if not all(steps):
                message = f"{_TOOL} has no operator sets for all of `fuse {show(fusion.chain)}`, which is dropped"
                self.lose(Loss(LossKind.SUPERGROUP, message, fusion.span))
                continue
            groups: list[Plain] = []
            for step in steps:
                members = [
                    sets.setdefault(word, {"name": word, "qc_options": None, "type": "OperatorsSet"}) for word in step
                ]
                name = "_".join(step)
                group: Plain = {"operators_set": list(members), "name": name, "type": "OperatorSetGroup"}
                groups.append(members[0] if len(members) == 1 else group)
            yield {"operator_groups": groups, "fuse_op_quantization_config": None, "name": _joined(steps)}

    def _words(self, step: Selector) -> tuple[str, ...]:
        """Return the operator sets of one step; none if one of its operators has none."""
        found: dict[str, None] = {}
        for selector in alternatives(step):
            names = operator_words(FAMILY).of.get(selector.name, ()) if isinstance(selector, OpType) else ()
            if not names:
                return ()
            found |= dict.fromkeys(names)
        return tuple(found)

    def _boundary(self) -> None:
        """Lose what is said of the model's inputs and outputs and does not follow from what is said of outputs."""
        output = self.everything.said["output"]
        for rule in self.config.rules:
            if not any(isinstance(selector, Boundary) for selector in alternatives(rule.selector)):
                continue
            for setting in (s for clause in rule.clauses for s in clause.settings):
                general = output.get(setting.field)
                if general is None or general.value != setting.value:
                    message = f"{_TOOL} quantizes the model's inputs and outputs as all outputs"
                    self.lose(lost(setting, f"{message}: {of(setting, Boundary())} is dropped"))

    def _unsaid(self) -> None:
        for level in self.named:
            if any(level.own.values()):
                message = f"{_TOOL} has no rules about single nodes: those for {show(level.selector)} are dropped"
                self.lose(Loss(LossKind.SELECTOR, message, level.span))
        for rule in self.config.rules:
            for selector in alternatives(rule.selector):
                if isinstance(selector, Chain):
                    message = f"{_TOOL} has no rules about operators in a row: `{show(selector)}` is dropped"
                    self.lose(Loss(LossKind.SUPERGROUP, message, rule.span))

    def _inputs(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the widths that operator sets take, by set, "" for all; other restrictions are lost."""
        for restriction in self.config.restrictions:
            widths, subjects = _widths(restriction), list(alternatives(restriction.selector))
            sayable = all(isinstance(s, Everything) or (isinstance(s, OpType) and self._words(s)) for s in subjects)
            if not widths or not sayable:
                named = f" `{restriction.name}`" if restriction.name else ""
                message = f"{_TOOL} restricts widths of inputs only: `{restriction.polarity}`{named} is dropped"
                self.lose(Loss(LossKind.RESTRICTION, message, restriction.span))
                continue
            for subject in subjects:
                if isinstance(subject, Everything):
                    yield "", widths
                for word in self._words(subject):
                    yield word, widths


def _widths(restriction: Restriction) -> tuple[int, ...]:
    """Return the widths that a restriction allows inputs to have; none if it is about something else."""
    if restriction.polarity != "require" or restriction.roles != ("input",):
        return ()
    return _allowed(restriction.predicate)


def _allowed(predicate: Predicate) -> tuple[int, ...]:
    match predicate:
        case Member(Ref("bits", ""), values):
            found = tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool))
            return found if len(found) == len(values) else ()
        case Compare(Ref("bits", ""), "==", int(width)):
            return (width,)
        case _:
            return ()


def _steps(selector: Selector) -> tuple[Selector, ...]:
    return selector.steps if isinstance(selector, Chain) else (selector,)


def _joined(steps: list[tuple[str, ...]]) -> str:
    return "_".join(word for step in steps for word in step)


def _values(own: Mapping[str, Mapping[str, Setting]]) -> object:
    return {role: {field: setting.value for field, setting in own[role].items()} for role in ROLES}
