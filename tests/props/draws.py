"""Kinds of data that a search for a range may meet: names, and what draws so many values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

SMOOTH: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "relu": lambda rng, n: np.maximum(rng.normal(size=n), 0),
    "lopsided": lambda rng, n: rng.exponential(size=n) - 0.3,
}
ROUGH: dict[str, Draw] = {
    "heavy-tailed": lambda rng, n: rng.standard_t(2, size=n),
    "softmax": lambda rng, n: rng.exponential(size=n) ** 6 * 1e-5,
    "mostly zeros": lambda rng, n: np.where(rng.random(n) < 0.98, 0, rng.normal(size=n)),
    "two values": lambda rng, n: np.where(rng.random(n) < 0.5, -1e4, 1.0),
    "outlier": lambda rng, n: np.append(rng.normal(size=n - 1), -1e5),
}
ANY = SMOOTH | ROUGH
