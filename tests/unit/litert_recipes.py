"""Recipes of LiteRT's quantizer for tests."""

from __future__ import annotations

from typing import Any

from qsimc.formats.foreign._litert import policy as litert

ACT = {"num_bits": 8, "symmetric": False, "granularity": "TENSORWISE", "dtype": "INT"}

ACT16 = {"num_bits": 16, "symmetric": True}

WEIGHT = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}


def entry_of(operation: str = "*", regex: str = ".*", algorithm: str = litert.MINMAX, **config: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"regex": regex, "operation": operation, "algorithm_key": algorithm}
    if algorithm != litert.NONE:
        entry["op_config"] = {"weight_tensor_config": WEIGHT, **config}
    return entry


def static(operation: str = "*", regex: str = ".*", **config: Any) -> dict[str, Any]:
    return entry_of(operation, regex, **{"activation_tensor_config": ACT, "compute_precision": "INTEGER", **config})


def dynamic(operation: str = "*", **config: Any) -> dict[str, Any]:
    return entry_of(operation, compute_precision="INTEGER", **config)


def unquantized(operation: str, regex: str = ".*") -> dict[str, Any]:
    return entry_of(operation, regex, litert.NONE)
