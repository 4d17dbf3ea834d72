"""Operators of vai_q_pytorch (specs/vitis_ops.toml): which are quantized, how they group, what the DPU makes of them.

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
class Kind:
    """One row of specs/vitis_ops.toml, whose head comment says what each column means."""

    words: tuple[str, ...] = ()
    quantized: bool = False
    joins: Literal["only_child", "always"] | None = None
    moves: bool = False
    form: str = ""
    corrected: bool = False
    equalised: Literal["weight", "through"] | None = None


UNKNOWN = Kind()
"""The row of an operator that vai_q_pytorch does not know: it stays float."""


@dataclass(frozen=True, slots=True)
class VitisOperators:
    """All of specs/vitis_ops.toml.

    `kind` has the rows by vai_q_pytorch's name of the operator, `onnx` says which of them an ONNX operator is.
    """

    kind: Mapping[str, Kind]
    onnx: Mapping[str, str]

    def __getitem__(self, name: str) -> Kind:
        return self.kind.get(name, UNKNOWN)

    def words(self) -> tuple[str, ...]:
        """Return everything that `layer_type` can be, each once."""
        return tuple(dict.fromkeys(word for row in self.kind.values() for word in row.words))


@cache
def vitis_operators() -> VitisOperators:
    """Return the table, read once."""
    table = tomllib.loads(resources.read("specs", "vitis_ops.toml"))
    return VitisOperators({name: _kind(row) for name, row in table["kind"].items()}, table["onnx"])


def _kind(row: Mapping[str, Any]) -> Kind:
    return Kind(**{**row, "words": tuple(row.get("words", ()))})
