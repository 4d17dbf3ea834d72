"""The names operators go by (specs/operators.toml)."""

from __future__ import annotations

import tomllib
from functools import cache

from qsimc import resources


@cache
def names(family: str) -> tuple[str, ...]:
    """Return one list of operator names: `onnx`, or `aimet_torch` for those that only AIMET's torch half knows."""
    table = tomllib.loads(resources.read("specs", "operators.toml"))
    return tuple(str(name) for name in table[family])
