"""The words of ONNX Runtime's static quantizer (specs/formats/ort.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from qsimc import resources
from qsimc.spec.ops import operators

TOOL = "ONNX Runtime"
FLOAT8 = "float8_e4m3"
NOTHING = ("QuantizeLinear",)
"""Types that choose no node: the quantizer never takes these, and takes an empty list for all."""


@dataclass(frozen=True, slots=True)
class OrtType:
    """What one word for a type means; `signed` is None for a float."""

    bits: int
    signed: bool | None = None
    float: bool = False


@dataclass(frozen=True, slots=True)
class OrtLost:
    """An extra option that the vocabulary has no word for: `loss` is the kind, `idle` the value that does nothing."""

    kind: str
    loss: str
    says: str
    idle: Any = None


@dataclass(frozen=True, slots=True)
class OrtWords:
    """All of specs/formats/ort.toml, whose comments say what each table means."""

    default_operators: tuple[str, ...]
    direct: frozenset[str]
    removable: frozenset[str]
    weighted: frozenset[str]
    methods: Mapping[str, str]
    types: Mapping[str, OrtType]
    arguments: Mapping[str, str]
    options: Mapping[str, str]
    lost: Mapping[str, OrtLost]
    switches: Mapping[str, str]
    override: Mapping[str, str]

    @property
    def extra_options(self) -> tuple[str, ...]:
        """Every extra option."""
        return (*self.options, *self.lost, *self.switches)


@cache
def ort_words() -> OrtWords:
    """Return the words, read once."""
    table = tomllib.loads(resources.read("specs", "formats/ort.toml"))
    return OrtWords(
        default_operators=tuple(table["default_operators"]),
        direct=frozenset(table["direct"]),
        removable=frozenset(table["removable"]),
        weighted=frozenset(table["weighted"]),
        methods=table["methods"],
        types={name: OrtType(**row) for name, row in table["types"].items()},
        arguments=table["arguments"],
        options=table["options"],
        lost={name: OrtLost(**row) for name, row in table["lost"].items()},
        switches=table["switches"],
        override=table["override"],
    )


def type_word(bits: int, *, signed: bool) -> str | None:
    """Return the word for an integer type, None if there is none of that width."""
    return next((w for w, t in ort_words().types.items() if not t.float and (t.bits, t.signed) == (bits, signed)), None)


def shares_grid(operator: str) -> bool:
    """Say whether quantizing an operator changes nothing: it moves values, and the output takes the input's grid."""
    return operator in ort_words().direct and operator in operators().grid_preserving
