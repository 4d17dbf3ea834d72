"""Vitis AI configurations for tests: documents, what is read of them, what is found in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qsimc import formats
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats.vitis_program import KINDS
from qsimc.ir.config import Config, show_rule
from qsimc.pipeline.check import check
from qsimc.source import Source

ROOT = Path(__file__).parents[2]

# From runs of the original; `stops` is the exception with which calibration of a small network then ended.
RECORDS = [json.loads(line) for line in (ROOT / "tests/data/vitis_check.jsonl").read_text().splitlines()]

CPU: dict[str, Any] = {
    "bit_width": 8,
    "method": "maxmin",
    "round_mode": "half_even",
    "symmetry": True,
    "per_channel": False,
    "signed": True,
    "narrow_range": False,
    "scale_type": "float",
    "calib_statistic_method": "max",
}


def config(target: str | None = "CPU", overall: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    return {"target_device": target, "overall_quantize_config": (overall or {})} | sections


def entry(*kinds: str, layer_type: str | None = "Conv2d", **sections: Any) -> dict[str, Any]:
    return {"layer_type": layer_type, "quantizable_data_type": list(kinds or KINDS)} | sections


def read(document: dict[str, Any]) -> tuple[Config, list[Diagnostic]]:
    found: list[Diagnostic] = []
    read_ = formats.read(Source("c.json", json.dumps(document, indent=1)), found.append)
    assert read_ is not None
    return read_, found


def findings(
    folder: Path, document: dict[str, Any] | str, mode: str = "fixed", target: str | None = None
) -> list[Diagnostic]:
    path = folder / "c.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    return check(path, mode=mode, target=target)


def codes(found: Iterable[Diagnostic]) -> list[str]:
    return [d.code for d in found]


def lines(config_: Config) -> list[str]:
    return [show_rule(r.selector, c.roles, s) for r in config_.rules for c in r.clauses for s in c.settings]


def verdict(found: list[Diagnostic]) -> str:
    return "rejected" if any(d.severity is Severity.ERROR for d in found) else "accepted"
