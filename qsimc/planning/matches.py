"""What the selectors of a configuration find in a model: a rule that finds nothing is a rule that nobody misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, did_you_mean
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.select import Chain, NodeName, OpType, Selector, alternatives, show
from qsimc.planning.fuse import fuse
from qsimc.planning.words import compile_words
from qsimc.selection import selected
from qsimc.source import Span

_LISTED = 12
_LABELS = 3
_SUGGESTED = 20
"""Missing nodes for which the nearest name is looked up, among all of the model's."""


def report_missing_nodes(config: Config, graph: Graph, report: Report) -> None:
    """Report names of nodes, and patterns of such names, that no node of a model has."""
    asked = [(s, rule) for rule in config.rules for s in _simple(rule.selector) if isinstance(s, NodeName)]
    names = Counter(node.name for node in graph.nodes) if asked else Counter[str]()
    missing = [(selector, rule.subject or rule.span) for selector, rule in asked if not _named(selector, names)]
    for place, (selector, span) in enumerate(missing):
        report(_missing(selector, span, tuple(names) if place < _SUGGESTED else ()))


def report_counts(config: Config, graph: Graph, report: Report) -> None:
    """Report how many nodes each selector of the file finds, if one about operators finds none.

    Operators are those after the graph passes of the configuration, which make new ones out of several.
    """
    graph = fuse(graph, compile_words(config).pass_names).graph
    operators = Counter(node.op for node in graph.nodes)
    names = Counter(node.name for node in graph.nodes)
    found: dict[str, int] = {}
    empty: list[Label] = []
    for rule in config.rules:
        shown, simple = show(rule.selector), _simple(rule.selector)
        if not simple or shown in found or rule.span.source != config.source:
            continue
        found[shown] = sum(_found(s, graph, operators, names) for s in simple)
        if not found[shown] and not all(isinstance(s, NodeName) for s in simple):
            empty.append(Label(rule.subject or rule.span, f"finds no `{shown}`"))
    if not empty:
        return
    applied = [f"`{shown}` {count}" for shown, count in found.items() if count]
    more = f" and {len(applied) - _LISTED} more" if len(applied) > _LISTED else ""
    report(
        Diagnostic(
            code="Q0549",
            name="selectors-without-match",
            severity=Severity.INFO,
            message=f"{len(empty)} of {len(found)} selectors find nothing in this model",
            labels=tuple(empty[:_LABELS]),
            notes=(f"nodes found: {', '.join(applied[:_LISTED])}{more}",)
            if applied
            else ("no rule about operators or nodes applies",),
        )
    )


def _simple(selector: Selector) -> list[OpType | NodeName | Chain]:
    return [s for s in alternatives(selector) if isinstance(s, OpType | NodeName | Chain)]


def _found(
    selector: OpType | NodeName | Chain, graph: Graph, operators: Mapping[str, int], names: Mapping[str, int]
) -> int:
    """Return how many nodes a selector finds."""
    if isinstance(selector, Chain):
        return sum(1 for _ in selected(graph, selector))
    return operators.get(selector.name, 0) if isinstance(selector, OpType) else _named(selector, names)


def _named(selector: NodeName, names: Mapping[str, int]) -> int:
    if selector.glob:
        return sum(count for name, count in names.items() if fnmatchcase(name, selector.pattern))
    return names.get(selector.pattern, 0)


def _missing(selector: NodeName, span: Span, names: Sequence[str]) -> Diagnostic:
    near = None if selector.glob else did_you_mean(selector.pattern, names)
    at = span.text.find(selector.pattern)
    quoted = Span(span.source, span.start + at, span.start + at + len(selector.pattern)) if at >= 0 else span
    return Diagnostic(
        code="Q0550",
        name="no-such-node",
        severity=Severity.WARNING,
        message=f"no node of the model is called `{selector.pattern}`"
        if not selector.glob
        else f"no node of the model has a name like `{selector.pattern}`",
        labels=(Label(quoted),),
        notes=("the rule changes nothing",),
        helps=(f"did you mean `{near}`?",) if near else (),
        fixes=(Fix(f"write `{near}`", (Edit(quoted, near),)),) if near and at >= 0 else (),
    )
