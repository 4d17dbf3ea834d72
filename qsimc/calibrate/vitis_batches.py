"""The observer of vai_q_pytorch: every batch is calibrated alone, and a statistic of the results counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate import vitis_histogram, vitis_kernels
from qsimc.calibrate.arithmetic import F32, F64, I64, checked
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.observer import Wants
from qsimc.calibrate.ranges import within_stated
from qsimc.calibrate.vitis_rules import Rules
from qsimc.calibrate.vitis_scales import (
    best_fix_positions,
    capped,
    encoding,
    fix_positions,
    float_scales,
    symmetric_scales,
)
from qsimc.ir.quant import Calib, QuantSpec


@dataclass(frozen=True, slots=True, eq=False)
class VitisBatches:
    """The scale and zero point of every batch.

    Unlike other observers it does not count batches as their concatenation: that is the original's
    rule.  The order of batches does not matter, but for the last bit of a mean.  (The original
    calibrates weights and biases on their first batch only, and they do not change.)

    Attributes:
        rules: what is searched in a batch; the spec given to `encoding` adds only a stated range.
        scales, zero_points, reaches: shape (batches, C); a reach is the greatest real that a scale was made for.
    """

    wants: ClassVar[Wants] = Wants.VALUES
    rules: Rules
    scales: F64
    zero_points: I64
    reaches: F64

    @classmethod
    def empty(cls, spec: QuantSpec, numerics: Numerics, channels: int = 1) -> Self:
        """Return the observer that has seen nothing.

        Raises:
            ValueError: vai_q_pytorch cannot calibrate by that spec.
        """
        rules = Rules.of(spec, numerics, per_channel=channels > 1)
        nothing = np.zeros((0, channels))
        return cls(rules, nothing, nothing.astype(np.int64), nothing)

    def observe(self, values: NDArray[Any]) -> Self:
        """Return the results extended by those of one batch, shape (C, n); an empty one gives none.

        Raises:
            ValueError: the values hold NaN or infinity, which the original leaves alone, or the rules
                have no scale for them.
        """
        batch = checked(values)
        if batch.size == 0:
            return self
        if not np.isfinite(batch).all():
            raise ValueError("the values hold infinity, which no range contains")
        rules = self._rules_for(batch)
        scale, zero_point, reach = _calibrated(batch, rules)
        return replace(
            self,
            rules=rules,
            scales=np.concatenate([self.scales, scale[None]]),
            zero_points=np.concatenate([self.zero_points, zero_point[None]]),
            reaches=np.concatenate([self.reaches, reach[None]]),
        )

    def merge(self, other: Self) -> Self:
        """Return the results of both streams."""
        return replace(
            self,
            rules=self.rules if self.rules.signed else other.rules,
            scales=np.concatenate([self.scales, other.scales]),
            zero_points=np.concatenate([self.zero_points, other.zero_points]),
            reaches=np.concatenate([self.reaches, other.reaches]),
        )

    def joint_encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding of the batches' ranges, reduced: scale and zero point belong together, zero is exact.

        For asymmetric rules; what the original does instead is `encoding`.
        """

        def search() -> Encoding:
            qmax = self.rules.grid[1]
            low, high = -self.zero_points * self.scales, (qmax - self.zero_points) * self.scales
            low = np.minimum(-_reduced(-low, self.rules, dpu=False), 0)
            high = np.maximum(_reduced(high, self.rules, dpu=False), 0)
            scale = np.where(high > low, (high - low) / qmax, vitis_kernels.SCALE_OF_NOTHING)
            return encoding(scale, np.rint(-low / scale).astype(np.int64), self.rules, axis)

        return within_stated(spec, self.rules.numerics, axis, self.scales.shape[1], search)

    def published(self) -> tuple[F64, I64, F64]:
        """Return scales, zero points and reaches as the original files them, each reduced by itself, shape (C,).

        A scale of 0 is filed as such, though nothing is quantized by it.
        """
        reach = _reduced(self.reaches, self.rules, dpu=False)
        return _reduced(self.scales, self.rules), _most_frequent(self.zero_points), reach

    def encoding(self, spec: QuantSpec, axis: int | None = None) -> Encoding:
        """Return the encoding of the batches' scales, reduced, and of their most frequent zero points.

        The two are chosen independently, so that no single batch need have had both.

        Raises:
            ValueError: nothing was observed.
        """

        def search() -> Encoding:
            if not len(self.scales):
                raise ValueError("no values were observed")
            scale = _reduced(self.scales, self.rules)
            return encoding(scale, _most_frequent(self.zero_points), self.rules, axis)

        return within_stated(spec, self.rules.numerics, axis, self.scales.shape[1], search)

    def _rules_for(self, batch: F32) -> Rules:
        """Return the rules that the original applies to this batch.

        Raises:
            ValueError: an unsigned tensor, calibrated by its range, has negative values; per channel
                the original makes it signed instead, and its histograms are of magnitudes.
        """
        if self.rules.signed or not self.rules.symmetric or self.rules.calib != Calib.MINMAX or batch.min() >= 0:
            return self.rules
        if len(batch) > 1:
            return replace(self.rules, signed=True)
        raise ValueError("the values of an unsigned symmetric tensor are negative in part")


def _calibrated(batch: F32, rules: Rules) -> tuple[F64, I64, F64]:
    """Return scales, zero points and greatest reals of one batch, shape (C,)."""
    nothing = np.zeros(len(batch), np.int64)
    if not rules.pow2 and rules.calib != Calib.MINMAX:
        reach = np.array([vitis_histogram.reach(row, rules) for row in batch])
        return symmetric_scales(reach, rules), nothing, reach
    low, high = batch.min(axis=1), batch.max(axis=1)
    if not rules.pow2:
        scale, zero_point = float_scales(low, high, rules, per_channel=len(batch) > 1)
        most = np.maximum(np.abs(low), np.abs(high)) if rules.symmetric else high
        return scale, zero_point, most.astype(np.float64)
    best = fix_positions(low, high, rules) if rules.calib == Calib.MINMAX else best_fix_positions(batch, rules)
    scale = np.exp2(-capped(best, rules).astype(np.float64))
    return scale, nothing, scale * rules.grid[1]


def _reduced(scales: F64, rules: Rules, *, dpu: bool = True) -> F64:
    """Return one scale per channel from shape (batches, C)."""
    if rules.reduce == "max":
        return np.asarray(scales.max(axis=0))
    if rules.reduce == "mean":
        return np.asarray(scales.mean(axis=0))
    if rules.reduce == "median":
        return np.asarray(np.median(scales, axis=0))
    # Of equally frequent ones the DPU takes the least fix position, the CPU the least scale: the opposite.
    return -_most_frequent(-scales) if dpu and rules.numerics == "vitis-dpu" else _most_frequent(scales)


def _most_frequent(values: NDArray[Any]) -> NDArray[Any]:
    """Return the most frequent value of each column, shape (batches, C); the least of equally frequent ones."""
    columns = [np.unique(column, return_counts=True) for column in values.T]
    return np.array([found[np.argmax(counts)] for found, counts in columns], values.dtype)
