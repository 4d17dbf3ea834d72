"""What the selectors of a configuration find in a model: a rule that finds nothing is a rule that nobody misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase

from qsimc.diagnostics import Diagnostic, Edit, Fix, Label, Report, Severity, did_you_mean
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.select import AnyOf, Chain, NodeName, OpType, Selector, show
from qsimc.planning.fuse import fuse
from qsimc.planning.words import compile_words
from qsimc.source import Span

_LISTED = 12
_LABELS = 3


def report_missing_nodes(config: Config, graph: Graph, report: Report) -> None:
    """Report names of nodes, and patterns of such names, that no node of a model has."""
    names = [node.name for node in graph.nodes]
    for rule in config.rules:
        for selector in _simple(rule.selector):
            if isinstance(selector, NodeName) and not _named(selector, names):
                report(_missing(selector, rule.subject or rule.span, names))


def report_counts(config: Config, graph: Graph, report: Report) -> None:
    """Report how many nodes each selector of the file finds, if one about operators finds none.

    Operators are those after the graph passes of the configuration, which make new ones out of several.
    """
    graph = fuse(graph, compile_words(config).pass_names).graph
    operators = Counter(node.op for node in graph.nodes)
    names = [node.name for node in graph.nodes]
    found: dict[str, int] = {}
    empty: list[Label] = []
    for rule in config.rules:
        shown, simple = show(rule.selector), list(_simple(rule.selector))
        if not simple or shown in found or rule.span.source != config.source:
            continue
        found[shown] = sum(operators[s.name] if isinstance(s, OpType) else _named(s, names) for s in simple)
        if not found[shown] and any(isinstance(s, OpType) for s in simple):
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


def _simple(selector: Selector) -> Iterator[OpType | NodeName]:
    match selector:
        case OpType() | NodeName():
            yield selector
        case AnyOf(choices):
            for choice in choices:
                yield from _simple(choice)
        case Chain((only,)):
            yield from _simple(only)


def _named(selector: NodeName, names: list[str]) -> int:
    if selector.glob:
        return sum(fnmatchcase(name, selector.pattern) for name in names)
    return names.count(selector.pattern)


def _missing(selector: NodeName, span: Span, names: list[str]) -> Diagnostic:
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
