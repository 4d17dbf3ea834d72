"""`FakeQuantize` in C, where nobody but the caller looks: eager mode, on the CPU, with an encoding that is not trained.

The bits are those of the formula, in values and in gradients.  Everything else is left to the formula: other devices
and kinds of tensors, what is traced, compiled, exported or transformed, and ranges that are learned.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from qsimc.calibrate.encoding import VITIS, Numerics
from qsimc.ir.quant import Round
from qsimc.native.fake_quantize import ARITHMETIC, OF_RANGE, OF_STEPS, ROUNDINGS, GridJob, Task, kernel
from qsimc_torch.runtime.fake_quant import FakeQuantize, amplitude, beside


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What quantizes.

    Attributes:
        scale, zero_point: float64, shape (C,), contiguous, on the CPU.
        axis, qmin, qmax, numerics, rounding: as in `FakeQuantize`.
    """

    scale: Tensor
    zero_point: Tensor
    axis: int | None
    qmin: int
    qmax: int
    numerics: Numerics
    rounding: Round

    @classmethod
    def of(cls, quantizer: FakeQuantize) -> Grid | None:
        """Return what quantizes now; None if it is trained now, or if the kernels do not have its arithmetic."""
        numerics = cast(Numerics, quantizer.numerics)
        if numerics in VITIS and quantizer.is_wide:  # rounded by way of integers
            return None
        numbers = quantizer.scale, quantizer.zero_point
        if torch.is_grad_enabled() and any(part.requires_grad for part in numbers):
            return None
        if quantizer.smallest is not None:
            numbers = quantizer.settled()
        if not all(_is_plain(part, torch.float64) and part.is_contiguous() for part in numbers):
            return None
        rounding = Round(quantizer.rounding if numerics in VITIS else Round.HALF_EVEN)
        return cls(*numbers, quantizer.axis, quantizer.qmin, quantizer.qmax, numerics, rounding)

    def run(self, task: Task, x: Tensor, y: Tensor, inside: Tensor | None) -> None:
        """Run a kernel on tensors of one layout, which is one that `layout` knows."""
        layout = self.layout(x)
        assert layout is not None
        job = GridJob(
            x.data_ptr(),
            y.data_ptr(),
            None if inside is None else inside.data_ptr(),
            self.scale.data_ptr(),
            self.zero_point.data_ptr(),
            self.qmin,
            self.qmax,
            *layout,
            ARITHMETIC[self.numerics][self.axis is not None],
            ROUNDINGS[self.rounding],
            torch.get_num_threads(),
            parallel(),
        )
        kernel(task)(ctypes.byref(job))

    def layout(self, values: Tensor) -> tuple[int, int, int] | None:
        """Return how many values lie side by side: outer, channels, inner; None unless they fill a piece of memory.

        Dimensions may be in any order in memory: what is inside of the channel axis is what its stride spans.
        """
        channels, count = self.scale.numel(), values.numel()
        if not (values.is_contiguous() or _fills_memory(values)):
            return None
        if channels == 1:
            return 1, 1, count
        axis = self.axis
        if axis is None or not -values.ndim <= axis < values.ndim or values.shape[axis] != channels:
            return None
        inner = values.stride(axis)
        return count // (channels * inner), channels, inner

    def kept(self) -> Grid:
        """Return a copy, which stays what it is when the encoding changes."""
        return replace(self, scale=self.scale.detach().clone(), zero_point=self.zero_point.detach().clone())


def fake_quantize(quantizer: FakeQuantize, values: Tensor) -> Tensor | None:
    """Return what `FakeQuantize.formula` returns; None for what is left to it."""
    if kernel("fake_quantize") is None or _is_watched() or not _is_plain(values, torch.float32):
        return None
    grid = Grid.of(quantizer)
    if grid is None or grid.layout(values) is None:
        return None
    if values.requires_grad and torch.is_grad_enabled():
        return cast(Tensor, _FakeQuantize.apply(values, grid))  # type: ignore[no-untyped-call]
    result = torch.empty_like(values)
    grid.run("fake_quantize", values, result, None)
    return result


class _FakeQuantize(torch.autograd.Function):
    """Quantizes values, and keeps a byte of each for its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Grid) -> Tensor:
        inside, result = torch.empty_like(values, dtype=torch.uint8), torch.empty_like(values)
        grid.run("fake_quantize", values, result, inside)
        ctx.save_for_backward(inside)
        ctx.grid = grid.kept()
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return _passed(upstream, ctx), None


class _PassGradients(torch.autograd.Function):
    """Passes gradients on where values were inside; the gradient of that is passed on in the same way."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, inside: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(inside)
        ctx.grid = grid
        result = torch.empty_like(inside, dtype=torch.float32)
        if upstream.stride() != inside.stride():
            upstream = torch.empty_like(result).copy_(upstream)
        grid.run("pass_gradients", upstream, result, inside)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        return _passed(upstream, ctx), None, None


def _passed(upstream: Tensor, ctx: Any) -> Tensor:
    """Return the gradient of values from that of their results."""
    (inside,), grid = ctx.saved_tensors, ctx.grid
    plain = _is_plain(upstream, torch.float32) and _is_plain(inside, torch.uint8) and not _is_watched()
    if plain and grid.layout(inside) is not None:
        return cast(Tensor, _PassGradients.apply(upstream, inside, grid))  # type: ignore[no-untyped-call]
    return _passed_by_formula(upstream, inside, grid)


def _passed_by_formula(upstream: Tensor, inside: Tensor, grid: Grid) -> Tensor:
    """Do what `pass_gradients` does: for gradients of many results at once, and where tensors were saved elsewhere."""
    scale = beside(grid.scale, inside.ndim, grid.axis)
    step = scale.float()
    if grid.numerics in VITIS:
        factor = amplitude(scale, per_channel=grid.axis is not None)
        step = 1.0 / factor
    else:
        factor = 1.0 / step
    gradient = torch.where((inside & OF_STEPS).bool(), upstream * step, 0.0)
    gradient = gradient / step if grid.numerics in ("onnx", "aimet") else gradient * factor
    return torch.where((inside & OF_RANGE).bool(), gradient, 0.0)


def _is_plain(values: Tensor, dtype: torch.dtype) -> bool:
    """Return whether a tensor is memory that can be read as it is, and is nothing more than that."""
    return (
        (type(values) is Tensor or type(values) is nn.Parameter)
        and values.is_cpu
        and values.dtype is dtype
        and values.layout is torch.strided
        and torch._C._has_storage(values)
        and not values.is_neg()
        and values.numel() > 0
    )


def _is_watched() -> bool:
    """Return whether somebody wants to see each operator: a tracer, a transform, a mode, a forward derivative."""
    return bool(
        torch._C._is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or forward_ad._current_level >= 0
    )


def _fills_memory(values: Tensor) -> bool:
    """Return whether a tensor has each element of a piece of memory once, in whatever order of its dimensions."""
    expected = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(values.stride(), values.shape, strict=True) if size > 1
    ):
        if stride != expected:
            return False
        expected *= size
    return True


@cache
def parallel() -> int | None:
    """Return the address of what starts threads of torch's own OpenMP runtime; None if it has another interface.

    A runtime of our own would have threads of its own, which wait for work on the same cores.
    """
    try:
        found = ctypes.CDLL(torch._C.__file__).GOMP_parallel  # looked up in what it is linked with, too
    except (OSError, AttributeError):
        return None
    return ctypes.cast(found, ctypes.c_void_p).value
