"""The quantizers of a plan as submodules: what each is called, how it is made, and which rule put it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from qsimc.calibrate.encoding import VITIS, Encoding, Numerics
from qsimc.calibrate.levels import Levels
from qsimc.ir.quant import Numeric, QuantSpec, Round, ScaleKind
from qsimc.pipeline.calibrate import numerics_of
from qsimc.planning.plan import Mode, Plan, Reason, TensorPlan
from qsimc_torch.names import string

Option: TypeAlias = "tuple[str, int | str | torch.dtype]"
"""A keyword argument of what makes a quantizer."""


@dataclass(frozen=True, slots=True)
class Quantizer:
    """One quantizer of a model.

    Attributes:
        tensors: what it quantizes; the first tensor owns it.
        maker: the class in the runtime that makes it.
        options: its keyword arguments.
        encoding: its numbers; None for casts, and before calibration.
        comment: why it is there.
    """

    tensors: tuple[str, ...]
    maker: str
    options: tuple[Option, ...]
    encoding: Encoding | None
    comment: str

    @property
    def call(self) -> str:
        """The expression that makes it."""
        options = (f"{name}={string(value) if isinstance(value, str) else value}" for name, value in self.options)
        return f"{self.maker}({', '.join([*map(string, self.tensors), *options])})"


def quantizers(
    plan: Plan, encodings: Mapping[str, Encoding], *, channels: Mapping[str, int], shared: bool = True
) -> tuple[Quantizer, ...]:
    """Return the quantizers of a plan in graph order; tensors that share one come with it.

    A tensor that shares a quantizer and yet has an encoding of its own (a raised weight scale) gets its own.

    Args:
        channels: size of the channel axis of what is quantized per channel.
        shared: False gives each tensor its own.
    """
    groups: dict[tuple[object, ...], list[TensorPlan]] = {}
    for planned in plan.enabled():
        made = _made(plan, planned, _encoding_of(planned, encodings), channels)
        if made is not None:
            owner = planned.owner if shared else planned.tensor
            found = encodings.get(planned.tensor) or encodings.get(owner)
            groups.setdefault((owner, _key(found), made), []).append(planned)
    found_all = []
    for members in groups.values():
        first = min(members, key=lambda t: t.shares is not None)
        encoding = _encoding_of(first, encodings)
        made = _made(plan, first, encoding, channels)
        assert made is not None
        tensors = (first.tensor, *(t.tensor for t in members if t is not first))
        found_all.append(Quantizer(tensors, *made, encoding, _comment(first.because.get("enabled"))))
    return tuple(found_all)


def _key(encoding: Encoding | None) -> tuple[str, ...]:
    """Return what tells encodings apart."""
    return () if encoding is None else (encoding.scale.tobytes().hex(), encoding.zero_point.tobytes().hex())


def _encoding_of(planned: TensorPlan, encodings: Mapping[str, Encoding]) -> Encoding | None:
    found = encodings.get(planned.tensor)
    return found if found is not None or planned.shares is None else encodings.get(planned.shares)


def _made(
    plan: Plan, planned: TensorPlan, encoding: Encoding | None, channels: Mapping[str, int]
) -> tuple[str, tuple[Option, ...]] | None:
    """Return the class of a quantizer and its options, None for a type that the computation has anyway."""
    spec = planned.spec
    if spec.type is Numeric.BFLOAT:
        return "Cast", (("dtype", torch.bfloat16),)
    if spec.type is Numeric.FLOAT:
        return ("Cast", (("dtype", torch.float16),)) if spec.bits == 16 else None
    return "FakeQuantize", tuple(_options(plan, planned, encoding, channels))


def _options(
    plan: Plan, planned: TensorPlan, encoding: Encoding | None, channels: Mapping[str, int]
) -> Iterator[Option]:
    spec = planned.spec
    qmin, qmax = _grid(spec) if encoding is None else (encoding.qmin, encoding.qmax)
    yield "qmin", qmin
    yield "qmax", qmax
    axis = planned.axis if encoding is None else encoding.axis
    if axis is not None:
        yield "axis", axis
        yield "channels", channels[planned.tensor] if encoding is None else len(encoding.scale)
    if spec.symmetric if encoding is None else encoding.symmetric:
        yield "symmetric", True
    if spec.scale is ScaleKind.POW2:
        yield "pow2", True
    numerics = _numerics(plan, spec) if encoding is None else encoding.numerics
    if numerics != "onnx":
        yield "numerics", numerics
    rounding = spec.round if encoding is None else encoding.rounding
    if numerics in VITIS and rounding not in (None, Round.HALF_EVEN):
        yield "rounding", str(rounding)


def _numerics(plan: Plan, spec: QuantSpec) -> Numerics:
    """Return whose arithmetic a quantizer will have once it is calibrated."""
    return numerics_of(plan, spec) if plan.mode is Mode.VENDOR else "onnx"


def _grid(spec: QuantSpec) -> tuple[int, int]:
    """Return the integers of a spec before any data was seen, which may still make the grid unsigned."""
    levels = Levels.of(spec)
    signed = spec.signed if spec.signed is not None else levels.symmetric
    qmin = -levels.below if signed else 0
    return qmin, qmin + levels.steps


def _comment(reason: Reason | None) -> str:
    """Return which rule it was, and where it stands, without the folders of somebody's machine.

    A plan that was read from a file has no reasons.
    """
    if reason is None:
        return ""
    place = f" ({PurePath(reason.span.source.path).name}:{reason.span.line})" if reason.span is not None else ""
    return f"{reason.rule}{place}"


def numbers(encoding: Encoding) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scale and the zero point as a quantizer stores them."""
    return encoding.scale, encoding.zero_point.astype(np.float64)
