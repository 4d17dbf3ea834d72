"""Calibration data for tests: opened, refused, in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qsimc.data import Data, open_data, wrap
from qsimc.diagnostics import Diagnostic, InputError, Severity
from qsimc.graph import Tensor

IMAGE = {"image": Tensor("image", "float32", (None, 3, 4, 5))}

VECTOR = {"x": Tensor("x", "float32", (None, 2))}


def images(samples: int, dtype: Any = np.float32) -> NDArray[Any]:
    return np.arange(samples * 60, dtype=dtype).reshape(samples, 3, 4, 5)


def opened(reference: Path | str, inputs: dict[str, Tensor], **options: Any) -> tuple[Data | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return open_data(str(reference), inputs, found.append, **options), found


def good(reference: Path | str, inputs: dict[str, Tensor], **options: Any) -> Data:
    data, found = opened(reference, inputs, **options)
    assert found == []
    assert data is not None
    return data


def refused(reference: Path | str, inputs: dict[str, Tensor], **options: Any) -> Diagnostic:
    data, found = opened(reference, inputs, **options)
    assert data is None
    (finding,) = [f for f in found if f.severity is Severity.ERROR]
    return finding


def sizes(data: Data) -> list[int]:
    return [len(next(iter(batch.values()))) for batch in data]


def wrapped(batches: Any, inputs: dict[str, Tensor], **options: Any) -> tuple[Data, list[Diagnostic]]:
    found: list[Diagnostic] = []
    data = wrap(batches, inputs, found.append, **options)
    assert data is not None
    return data, found


def failure(data: Data) -> Diagnostic:
    with pytest.raises(InputError) as raised:
        list(data)
    (finding,) = raised.value.findings
    return finding
