"""Losses of the writers of Quark's formats: one per thing said, and what Quark demands and nobody said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from qsimc.formats.foreign import _shared
from qsimc.formats.foreign._names import matches
from qsimc.graph import Graph
from qsimc.ir.config import Config, Setting, show_setting
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import Boundary, Selector, alternatives, show
from qsimc.source import Span


@dataclass(slots=True)
class Losses:
    """Loses every thing once, however many tensors and entries it was said for."""

    config: Config
    lose: Lose
    graph: Graph | None
    subjects: dict[tuple[Span, str], str] = field(default_factory=dict)
    gone: set[tuple[Span, str, LossKind | None]] = field(default_factory=set)
    given: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for rule in self.config.rules:
            # What is said of the boundary may be a copy of what is said of everything.
            for clause in rule.clauses if not isinstance(rule.selector, Boundary) else ():
                roles = f"[{', '.join(clause.roles)}]" if clause.roles else ""
                self.subjects.update({(s.span, s.field): show(rule.selector) + roles for s in clause.settings})

    def of(self, setting: Setting) -> str:
        """Return a setting and whose it is, for a message."""
        subject = self.subjects.get((setting.span, setting.field), "")
        return f"`{show_setting(setting.field, setting.value)}`" + (f" of {subject}" if subject else "")

    def setting(self, setting: Setting | None, message: str, kind: LossKind | None = None) -> None:
        """Lose a setting; `{}` in the message is the setting and whose it is."""
        if setting is None or (setting.span, setting.field, kind) in self.gone:
            return
        self.gone.add((setting.span, setting.field, kind))
        self.lose(_shared.lost(setting, message.format(self.of(setting)), kind))

    def default(self, what: str, message: str) -> None:
        """Report, once for each thing, what was written where nobody said anything."""
        if what not in self.given:
            self.given.add(what)
            self.lose(Loss(LossKind.DEFAULTED, message, fields=(what,)))

    def never(self, tool: str, said: Mapping[str, Setting]) -> None:
        """Lose what is said of a tensor and no tool of this family has."""
        self.setting(said.get("range"), f"{tool} has no fixed ranges: {{}} is dropped")
        self.setting(said.get("kernels"), f"{tool} does not limit types: {{}} is dropped")
        self._flag(said, "narrow_range", f"{tool} uses every integer of a type: {{}} is dropped")
        message = f"a type of {tool} is signed or not, whatever the data: {{}} is dropped"
        self._flag(said, "unsigned_symmetric", message)

    def _flag(self, said: Mapping[str, Setting], field: str, message: str) -> None:
        if field in said and said[field].value is True:
            self.setting(said[field], message)

    def boundary(self, tool: str) -> None:
        """Lose what is said of the model's own inputs and outputs."""
        for rule in self.config.rules:
            if any(isinstance(choice, Boundary) for choice in alternatives(rule.selector)):
                for setting in (s for clause in rule.clauses for s in clause.settings):
                    self.setting(setting, f"{tool} does not speak of a model's inputs and outputs: {{}} is dropped")

    def unheard(self, tool: str, where: str, settings: Mapping[str, list[Setting]]) -> None:
        """Lose what is said of operators, by name, that the tool never quantizes."""
        operators: dict[tuple[Span, str], list[str]] = {}
        for operator, mine in settings.items():
            for setting in mine:
                named = operators.setdefault((setting.span, setting.field), [])
                named += [operator] * (operator not in named)
        for mine in settings.values():
            for setting in mine:
                named = operators[setting.span, setting.field]
                listed = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
                self.setting(setting, f"{tool} quantizes {where} only: {{}} does not hold for {listed}")

    def elsewhere(self, tool: str, settings: Iterable[Setting], operators: Iterable[str], where: str) -> None:
        """Lose the placement of tensors that belong to no operator that can be quantized."""
        known = frozenset(operators)
        tensors: tuple[str, ...] = ()
        if self.graph is not None:
            nodes = [node for node in self.graph.nodes if node.op not in known]
            tensors = tuple(tensor for node in nodes for tensor in node.outputs if tensor)
            if not tensors:
                return
        for setting in settings:
            if (setting.span, setting.field, None) not in self.gone:
                self.gone.add((setting.span, setting.field, None))
                message = f"{tool} quantizes {where} only: {self.of(setting)} holds for nothing else"
                self.lose(_shared.lost(setting, message, LossKind.PLACEMENT, tensors))

    def finds(self, selector: Selector) -> bool:
        """Say whether a selector may find something: it does if there is no model to look into."""
        return self.graph is None or any(matches(node, selector) for node in self.graph.nodes)
