"""What a report knows: facts about a run, and one row per tensor.  No HTML here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from numpy.typing import ArrayLike

from qsimc.calibrate.encoding import Encoding
from qsimc.planning.plan import Kind, Mode


class Sketch(Protocol):
    """What is remembered of a tensor's values: enough to draw them and to judge an encoding."""

    @property
    def low(self) -> float:
        """Smallest value observed."""
        ...

    @property
    def high(self) -> float:
        """Largest value observed."""
        ...

    def sqnr(self, encoding: Encoding) -> float:
        """Return signal to quantization noise in dB; infinite when nothing is lost."""
        ...

    def density(self, low: float, high: float, bins: int) -> ArrayLike:
        """Return how many values fell into each of `bins` equal parts of [low, high], shape (bins,)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What was quantized, from what.  No clock and no machine: the same run writes the same page."""

    title: str
    config: str
    model: str
    version: str
    samples: int
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk of the original and of the quantized model."""

    original: int
    quantized: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A quality measured on both models, in `unit`; more is better."""

    name: str
    original: float
    quantized: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fell into equal parts of [low, high], and what part lies outside the chosen range.

    `observed` is the smallest and the largest value; `clipped` are the shares (0 to 1) of values below
    and above the chosen range.
    """

    counts: tuple[float, ...]
    low: float
    high: float
    observed: tuple[float, float]
    clipped: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """An encoding as a reader sees it; tuples have one element per channel, one when per tensor."""

    qmin: int
    qmax: int
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def range(self) -> tuple[float, float]:
        """The widest representable range over all channels."""
        return min(self.low), max(self.high)


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule and the settings it proposed, as a .qsim file writes them; `where` is empty for a built-in rule."""

    settings: tuple[str, ...]
    rule: str
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decided:
    """The rule that decided some settings, and the rules it overruled."""

    winner: Ruling
    losers: tuple[Ruling, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One tensor.  What is None does not apply to it, or was not measured."""

    tensor: str
    kind: Kind
    role: str
    node: str | None
    op: str | None
    quantized: bool
    precision: str
    symmetric: bool | None = None
    per_channel: bool | None = None
    axis: int | None = None
    calib: str | None = None
    round: str | None = None
    shares: str | None = None
    grid: Grid | None = None
    sqnr: float | None = None
    histogram: Histogram | None = None
    decided: tuple[Decided, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything on the page.  `rows` are in graph order, tensors that stay in float included."""

    about: About
    mode: Mode
    dialect: str
    target: str | None
    rows: tuple[Row, ...]
    sizes: Sizes | None = None
    metrics: tuple[Metric, ...] = ()
