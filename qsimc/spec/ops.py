"""Operators (specs/ops.toml): parameter roles, channel axes, and what AIMET hard-codes about each.

A test validates the file against these very dataclasses (see keymap.py on why not every start).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

from qsimc import resources


@dataclass(frozen=True, slots=True)
class WeightInputs:
    """Which axis of a weight counts input channels: those `of` one group or of all groups."""

    axis: int
    of: Literal["group", "all"]


@dataclass(frozen=True, slots=True)
class State:
    """Ports of a recurrent operator that share the quantizer of its output number `to`."""

    to: int
    outputs: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row of specs/ops.toml, whose head comment says what each column means."""

    params: Mapping[str, int] = field(default_factory=dict)
    through: tuple[str, ...] = ("Identity",)
    transposed_through: str = ""
    transposed_by: str = ""
    channel_axis: int | None = None
    transposed_axis: int | None = None
    aimet_axis: bool = True
    weight_inputs: WeightInputs | None = None
    per_tensor_if_grouped: bool = False
    dynamic_weight: int | None = None
    second_operand: bool = False
    norm: Literal["output", "width"] | None = None
    grid_preserving: bool = False
    no_output: bool = False
    data_inputs: tuple[int, ...] | None = None
    produces_constant: bool = False
    tie: Literal["backward", "forward"] | None = None
    states: tuple[State, ...] = ()


ORDINARY = Operator()
"""The row of an operator that has none."""


@dataclass(frozen=True)
class Operators:
    """All of specs/ops.toml.  The sets are by ONNX operator name."""

    op: Mapping[str, Operator]
    eight_bit_hardware: frozenset[str]
    graph_passes: tuple[str, ...]

    def __getitem__(self, name: str) -> Operator:
        return self.op.get(name, ORDINARY)

    def _where(self, holds: Callable[[Operator], object]) -> frozenset[str]:
        return frozenset(name for name, row in self.op.items() if holds(row))

    @cached_property
    def grid_preserving(self) -> frozenset[str]:
        return self._where(lambda row: row.grid_preserving)

    @cached_property
    def no_output(self) -> frozenset[str]:
        return self._where(lambda row: row.no_output)

    @cached_property
    def produces_constant(self) -> frozenset[str]:
        return self._where(lambda row: row.produces_constant)

    @cached_property
    def with_params(self) -> frozenset[str]:
        return self._where(lambda row: row.params)

    @cached_property
    def backward(self) -> frozenset[str]:
        return self._where(lambda row: row.tie == "backward")

    @cached_property
    def forward(self) -> frozenset[str]:
        return self._where(lambda row: row.tie == "forward")

    @cached_property
    def exceptional(self) -> frozenset[str]:
        """Operators whose quantizers an exception rule may change."""
        return self._where(lambda row: row.norm or row.second_operand or row.per_tensor_if_grouped)


@cache
def operators() -> Operators:
    """Return the table, read once."""
    table = tomllib.loads(resources.read("specs", "ops.toml"))
    return Operators(
        op={name: _operator(row) for name, row in table["op"].items()},
        eight_bit_hardware=frozenset(table["eight_bit_hardware"]),
        graph_passes=tuple(table["graph_passes"]),
    )


def _operator(row: Mapping[str, Any]) -> Operator:
    said: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    if "weight_inputs" in row:
        said["weight_inputs"] = WeightInputs(**row["weight_inputs"])
    if "states" in row:
        said["states"] = tuple(_state(**state) for state in row["states"])
    return Operator(**said)


def _state(to: int, outputs: tuple[int, ...] = (), inputs: tuple[int, ...] = ()) -> State:
    return State(to, tuple(outputs), tuple(inputs))
