"""The words of AMD Quark's configurations (specs/formats/quark.toml), and how they stand for neutral settings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from qsimc import resources
from qsimc.ir.config import Setting, Value

Said = Mapping[str, Setting]
"""What is said of one tensor: field -> setting."""


@dataclass(frozen=True, slots=True)
class Dtype:
    """A data type in neutral words; one that is `read_only` is never written."""

    type: str
    bits: int
    signed: bool | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Observer:
    """What an observer does; `bits` are the widths that it takes, empty for every one."""

    calib: str
    scale: str = "float"
    reduce: str = ""
    percentile: float | None = None
    bits: tuple[int, ...] = field(default=())
    near: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one of Quark's two formats; `other` are those that the neutral vocabulary has no word for."""

    dtypes: Mapping[str, Dtype]
    observers: Mapping[str, Observer]
    words: Mapping[str, Mapping[str, Value]]
    other: frozenset[str]

    def said(self, key: str, value: Value) -> str | None:
        """Return the first word of a key that stands for a neutral value."""
        return next((word for word, neutral in self.words[key].items() if neutral == value), None)


@cache
def words(part: str) -> Words:
    """Return the words of Quark for PyTorch (`torch`) or for ONNX (`onnx`)."""
    table = cast("dict[str, Any]", tomllib.loads(resources.read("specs", "formats/quark.toml"))[part])
    others = (name for key, row in table.items() if key.startswith("other") for name in next(iter(row.values())))
    return Words(
        dtypes={name: Dtype(**row) for name, row in table["dtypes"].items()},
        observers={
            name: Observer(**{**row, "bits": tuple(row.get("bits", ()))})
            for name, row in table.get("observers", {}).items()
        },
        words={
            key: row for key, row in table.items() if key not in ("dtypes", "observers") and not key.startswith("other")
        },
        other=frozenset(others),
    )


_NAMED_FLOATS = {
    "float16": ("float", 16),
    "float32": ("float", 32),
    "bfloat16": ("bfloat", 16),
    "float8_e4m3": ("float8_e4m3", 8),
    "float8_e5m2": ("float8_e5m2", 8),
    "float4_e2m1": ("float4_e2m1", 4),
}


def value(said: Said, name: str) -> Value:
    """Return the value of a field, None if nobody said it."""
    setting = said.get(name)
    return None if setting is None else setting.value


def family(said: Said) -> tuple[str, int | None]:
    """Return the number family and the width of a tensor; a family that says its width outweighs `bits`."""
    named, bits = value(said, "type"), value(said, "bits")
    if named in _NAMED_FLOATS:
        return _NAMED_FLOATS[str(named)]
    width = bits if isinstance(bits, int) and not isinstance(bits, bool) else None
    return ("int" if named is None else str(named)), (16 if named == "bfloat" else width)


def quantized(said: Said) -> bool:
    """Say whether a tensor is quantized at all; to 32 bits of float is not."""
    return value(said, "enabled") is True and family(said) != ("float", 32)
