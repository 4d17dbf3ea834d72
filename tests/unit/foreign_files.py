"""Shared by the tests of other tools' formats: read a text, write a configuration, and compare what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic
from qsimc.formats import qsim
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss
from qsimc.ir.select import show
from qsimc.ir.value import Value
from qsimc.source import Source
from qsimc.syntax.json import parse

Meaning = dict[str, dict[str, dict[str, Value]]]

ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def read(format_: ModuleType, text: str) -> tuple[Config, list[Diagnostic]]:
    """Return what a format reads in a text, and what it says of it."""
    found: list[Diagnostic] = []
    source = Source("file.json", text)
    document = parse(source, found.append)
    assert document is not None, text
    config: Config = format_.read(source, document, found.append)
    return config, found


def written(format_: ModuleType, config: Config | str, graph: Graph | None = None) -> tuple[str, list[Loss]]:
    """Return a configuration, or one in .qsim, as a format writes it, and what is lost."""
    losses: list[Loss] = []
    if isinstance(config, str):
        config = qsim.read(Source("config.qsim", config), _refuse)
    text: str = format_.write(config, losses.append, graph)
    return text, losses


def meaning(config: Config) -> Meaning:
    """Return what a configuration says of every tensor, level by level: selector -> role -> field -> value."""
    return {
        show(level.selector): {
            role: {field: setting.value for field, setting in said.items()} for role, said in level.own.items()
        }
        for level in levels(config)
    }


def of(config: Config, selector: str, role: str) -> Mapping[str, Value]:
    """Return what a configuration says of one tensor by a selector as .qsim writes it."""
    return meaning(config)[selector][role]


def codes(found: list[Diagnostic]) -> list[str]:
    """Return the codes of findings, sorted."""
    return sorted(diagnostic.code for diagnostic in found)


def _refuse(diagnostic: Diagnostic) -> None:
    raise AssertionError(diagnostic.message)
