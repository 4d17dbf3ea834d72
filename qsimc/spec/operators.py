"""The names operators go by (specs/operators.toml)."""

from __future__ import annotations

import tomllib
from functools import cache

from qsimc import resources


def names(family: str) -> tuple[str, ...]:
    """Return one list of operator names.

    `onnx`; `aimet_torch` for those that only AIMET's torch half knows; `vitis` for vai_q_pytorch's.
    """
    return _lists()[family]


@cache
def _lists() -> dict[str, tuple[str, ...]]:
    table = tomllib.loads(resources.read("specs", "operators.toml"))
    return {family: tuple(map(str, names)) for family, names in table.items()}
