"""Modules of PyTorch (specs/torch_classes.toml): their names in a config, their ports, and AIMET's special cases.

A test validates the file against these very dataclasses (see keymap.py on why not every start).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from qsimc import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchClass:
    """One row of specs/torch_classes.toml, whose head comment says what each column means."""

    onnx: tuple[str, ...] = ()
    backend: str = ""
    inputs: int = 1
    outputs: int = 1
    any_inputs: bool = False
    weight_axis: int = 0
    folds_grouped: bool = True
    norm: Literal["output", "width"] | None = None
    second_operand: bool = False
    scalar: Literal["either", "second"] | None = None
    tie: bool = False
    math_invariant: bool = False


ORDINARY = TorchClass()
"""The row of a class that has none."""


@dataclass(frozen=True, slots=True)
class Functional:
    """Calls of functions, which have no quantizers of their own."""

    named: Mapping[str, str]
    moves: frozenset[str]
    transparent: frozenset[str]


@dataclass(frozen=True, slots=True)
class GraphTypes:
    """What AIMET knows about types of its graph rather than about classes."""

    folds: tuple[str, ...]
    interpolates: frozenset[str]


@dataclass(frozen=True, slots=True)
class TorchClasses:
    """All of specs/torch_classes.toml; classes by names such as `nn.Conv2d`, `custom.Add` and `tv.Resize`."""

    rows: Mapping[str, TorchClass]
    functional: Functional
    graph: GraphTypes

    def __getitem__(self, name: str) -> TorchClass:
        return self.rows.get(name, ORDINARY)


@cache
def torch_classes() -> TorchClasses:
    """Return the table, read once."""
    table = tomllib.loads(resources.read("specs", "torch_classes.toml"))
    functional, graph = table["functional"], table["graph"]
    return TorchClasses(
        rows={name: _row(row) for name, row in table["class"].items()},
        functional=Functional(
            functional["named"], frozenset(functional["moves"]), frozenset(functional["transparent"])
        ),
        graph=GraphTypes(tuple(graph["folds"]), frozenset(graph["interpolates"])),
    )


def _row(row: Mapping[str, Any]) -> TorchClass:
    said: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return TorchClass(**said)
