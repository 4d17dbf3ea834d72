"""What one case found out: a row of the table and of results.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True, kw_only=True)
class Row:
    """Filled from left to right as the case runs; None is what it did not get to."""

    case: str
    title: str
    metric: str
    activations: str = ""
    float_metric: float | None = None
    quantize_seconds: float | None = None
    float_pass_seconds: float | None = None
    """A plain float pass over the calibration data: what calibration cannot go below."""
    float_bytes: int | None = None
    qdq_bytes: int | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    """Per model output, what `qsimc evaluate` says of float model, simulation and QDQ model."""
    qdq_equals_simulation: bool | None = None
    qdq_metric: float | None = None
    failures: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the row as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Row:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
