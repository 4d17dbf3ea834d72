"""The runtime of generated modules: fake quantization, and a module that knows its quantizers and weights by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from os import PathLike
from typing import Any, Self

import torch
from torch import Tensor, nn

ALMOST_HALF = 0.49999997
"""The largest float32 below 0.5: adding 0.5 itself would round 0.49999997 up, the sum being no float32."""

BEYOND_EVERY_GRID = 2.0**40

EXACT = 1 << 22
"""Below this, float32 holds every integer and its neighbouring halves."""

SMALLEST_SHARE = 2.0**-6
"""How far training may bring a scale down.  At zero there would be no way back: nothing is inside an empty range."""


NATIVE: Callable[[FakeQuantize, Tensor], Tensor | None] | None = None
"""What does the same as `FakeQuantize.formula`, and sooner, or returns None; qsimc puts it here where it is."""


def half_away(steps: Tensor) -> Tensor:
    """Round ties away from zero."""
    return torch.trunc(steps + torch.copysign(torch.full_like(steps, ALMOST_HALF), steps))


def half_up(steps: Tensor) -> Tensor:
    """Round ties toward +infinity; the fraction is exact wherever it can decide."""
    below = torch.floor(steps)
    return below + (steps - below >= 0.5)


def half_down(steps: Tensor) -> Tensor:
    """Round ties toward zero."""
    size = torch.abs(steps)
    below = torch.floor(size)
    return torch.copysign(below + (size - below > 0.5), steps)


ROUNDINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "half_even": torch.round,
    "half_up": half_up,
    "half_down": half_down,
    "std": half_away,
}


def straight_through(steps: Tensor, whole: Tensor) -> Tensor:
    """Return `whole`, bit for bit, with the gradient of `steps`, which are finite."""
    return whole.detach() + (steps - steps.detach()) if steps.requires_grad else whole


class FakeQuantize(nn.Module):
    """Rounds a tensor to the grid of an encoding: real = (q - zero_point) * scale, with qmin <= q <= qmax.

    Without an encoding it passes values on.  `observe` passes them on as well and shows them to an observer;
    `freeze` quantizes by an encoding that stays as it is; `learn_range` makes the encoding a pair of parameters.
    Values take the gradient straight through, those beyond the range none; a learned scale takes that of LSQ
    (Esser et al., 2020, equation 3), a learned zero point that of LSQ+ (Bhalgat et al., 2020, equation 6).
    Wherever an optimizer takes the pair, what quantizes is an encoding: the scale positive, and a power of two where
    it has to be; the zero point one of the integers.

    Attributes:
        scale, zero_point: float64, shape (C,), C = 1 per tensor; they keep their type when the model is cast.
            A scale that is NaN is no encoding.
        smallest: what a learned scale does not fall below, None if it is not learned.
        pow2: whether only powers of two are scales.
        lsq_scaling: whether the gradients of a learned range are divided as LSQ divides them.
        tensors: the tensors of the model that it quantizes; the first one owns it.
        axis: channel axis, None per tensor.
        numerics: whose arithmetic in float32: onnx, aimet, aimet-torch, vitis-dpu or vitis-cpu.
        rounding: what happens to ties, if the numerics are Vitis AI's: half_even, half_up, half_down or std.
    """

    scale: Tensor
    zero_point: Tensor
    smallest: Tensor | None

    def __init__(
        self,
        *tensors: str,
        qmin: int,
        qmax: int,
        axis: int | None = None,
        channels: int = 1,
        symmetric: bool = False,
        pow2: bool = False,
        numerics: str = "onnx",
        rounding: str = "half_even",
    ) -> None:
        super().__init__()
        self.tensors = tensors
        self.qmin, self.qmax, self.axis, self.symmetric, self.pow2 = qmin, qmax, axis, symmetric, pow2
        self.numerics, self.rounding = numerics, rounding
        self.lsq_scaling = False
        self.observer: Callable[[Tensor], object] | None = None
        self.calibrated = False
        self.register_buffer("scale", torch.full((channels,), torch.nan, dtype=torch.float64))
        self.register_buffer("zero_point", torch.zeros(channels, dtype=torch.float64))
        self.register_buffer("smallest", None, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        if self.observer is not None:
            self.observer(values.detach())
            return values
        if not self.calibrated:
            return values
        return self.fake_quantize(values.float()).to(values.dtype)

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return float32 values after a round trip through the grid."""
        made = None
        if not torch.compiler.is_compiling() and NATIVE is not None:
            made = NATIVE(self, values)
        return self.formula(values) if made is None else made

    def formula(self, values: Tensor) -> Tensor:
        """Do what `fake_quantize` does, with operators that trace, differentiate and run anywhere."""
        count = values.numel() // max(1, self.scale.numel()) if self.lsq_scaling else None
        scale, zero_point = (beside(numbers, values.ndim, self.axis) for numbers in self.settled(count))
        if self.numerics.startswith("vitis"):
            return self._vitis(values, scale, zero_point)
        lowest, highest = (self.qmin - zero_point).float(), (self.qmax - zero_point).float()
        step = scale.float()
        if self.numerics == "aimet":
            # Counted from the low end, not from zero: the subtraction loses bits in float32, and is meant to.
            low, high = ((self.qmin - zero_point) * scale).float(), ((self.qmax - zero_point) * scale).float()
            counted = _inside(torch.clamp(values, low, high) / step - lowest, lowest - lowest, highest - lowest)
            return (_inside(straight_through(counted, half_away(counted)) + lowest, lowest, highest) + 0.0) * step
        ratio = values * (1.0 / step) if self.numerics == "aimet-torch" else values / step
        # The ends are whole numbers, so it is all the same whether what is beyond them is rounded first.
        steps = _inside(ratio, lowest, highest)
        return (straight_through(steps, torch.round(steps)) + 0.0) * step  # -0.0 is no integer

    def _vitis(self, values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        """Multiply by an amplitude and by its inverse, which have the roundings of vai_q_pytorch's kernels."""
        factor = amplitude(scale, per_channel=self.axis is not None)
        lowest, highest = self.qmin - zero_point, self.qmax - zero_point
        ratio = values * factor
        steps = _inside(ratio, lowest.float(), highest.float())
        whole = ROUNDINGS[self.rounding](steps)
        if self.is_wide:
            whole = self._wide(ratio, zero_point)
        return (straight_through(steps, whole) + 0.0) * (1.0 / factor)

    @property
    def is_wide(self) -> bool:
        """Whether float32 does not hold every integer of the grid."""
        return max(abs(self.qmin), abs(self.qmax)) >= EXACT // 2

    def _wide(self, ratio: Tensor, zero_point: Tensor) -> Tensor:
        """Return whole steps by way of 64-bit integers, as float32 has them."""
        far = torch.full_like(ratio, BEYOND_EVERY_GRID)
        steps = _inside(ROUNDINGS[self.rounding](ratio), -far, far)
        numbers = torch.clamp(steps.long() + zero_point.long(), self.qmin, self.qmax)
        return numbers.float() - zero_point.float()

    def observe(self, observer: Callable[[Tensor], object]) -> None:
        """Pass values on, and show them to an observer."""
        self.observer = observer

    def freeze(self) -> None:
        """Quantize by the encoding as it is now, which no optimizer moves from here on."""
        self.observer, self.lsq_scaling = None, False
        for name, value in zip(("scale", "zero_point"), self.settled(), strict=True):
            delattr(self, name)
            self.register_buffer(name, value.detach().clone())
        self.smallest = None

    def learn_range(self, *, lsq_scaling: bool = False) -> None:
        """Quantize by an encoding that is trained; the zero point of a symmetric grid stays.

        A quantizer without an encoding has nothing to train and goes on passing values on.

        Args:
            lsq_scaling: divide the gradients by the root of N * Qmax (LSQ, section 2.2), so that SGD takes steps in
                proportion to the scale.  N are the values that one scale quantizes at once, the batch among them;
                Qmax the steps above zero.
        """
        self.freeze()
        self.lsq_scaling = lsq_scaling
        if not self.calibrated:
            return
        self.smallest = self.scale * SMALLEST_SHARE
        for name in ("scale",) if self.symmetric else ("scale", "zero_point"):
            value = getattr(self, name)
            delattr(self, name)
            self.register_parameter(name, nn.Parameter(value))

    def settled(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the scale and the zero point that quantize, with the gradients of those that are trained.

        Args:
            count: divide these gradients as LSQ does for so many values to a scale.
        """
        scale, zero_point = self.scale, self.zero_point
        positive, whole = scale, torch.round(zero_point)
        if self.smallest is not None:
            positive = torch.maximum(scale.detach(), self.smallest)
            if self.pow2:
                positive = torch.exp2(torch.round(torch.log2(positive)))
        if isinstance(zero_point, nn.Parameter):
            whole = torch.clamp(whole.detach(), self.qmin, self.qmax)
        if count is not None:
            share = torch.rsqrt(count * torch.clamp(self.qmax - whole.detach(), min=1))
            scale, zero_point = (t * share if t.requires_grad else t for t in (scale, zero_point))
        return straight_through(scale, positive), straight_through(zero_point, whole)

    def encode(self, scale: Tensor, zero_point: Tensor) -> None:
        """Take an encoding."""
        with torch.no_grad():
            self.scale.copy_(scale)
            self.zero_point.copy_(zero_point)
        self._note()

    def encoding(self) -> dict[str, Any]:
        """Return the encoding as plain data, as `encodings.json` has it."""
        scale, zero_point = (numbers.detach().cpu() for numbers in self.settled())
        return {
            "bits": (self.qmax - self.qmin).bit_length(),
            "signed": self.qmin < 0,
            "symmetric": self.symmetric,
            "scale": scale.tolist(),
            "zero_point": [int(number) for number in zero_point],
            "qmin": self.qmin,
            "qmax": self.qmax,
            "min": ((self.qmin - zero_point) * scale).tolist(),
            "max": ((self.qmax - zero_point) * scale).tolist(),
            "axis": self.axis,
            "numerics": self.numerics,
        }

    def extra_repr(self) -> str:
        channels = "" if self.axis is None else f", axis={self.axis}"
        return f"{', '.join(self.tensors)}, qmin={self.qmin}, qmax={self.qmax}{channels}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the model, but stay float64: a model in half precision has the same encodings."""
        named = ((name, getattr(self, name)) for name in ("scale", "zero_point", "smallest"))
        kept = {name: value.data for name, value in named if value is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in kept.items():
            moved = getattr(self, name)
            if moved.dtype != value.dtype:
                moved.data = value.to(moved.device)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._note()

    def _note(self) -> None:
        """Take notice of another encoding."""
        self.calibrated = bool(torch.isfinite(self.scale).all())
        if self.smallest is not None:
            self.smallest = self.scale.detach() * SMALLEST_SHARE


def beside(numbers: Tensor, ndim: int, axis: int | None) -> Tensor:
    """Return numbers of shape (C,) shaped to broadcast against a tensor with `ndim` dimensions."""
    if axis is None:
        return numbers.reshape(())
    shape = [1] * ndim
    shape[axis] = -1
    return numbers.reshape(shape)


def amplitude(scale: Tensor, *, per_channel: bool) -> Tensor:
    """Return Vitis AI's factor from values to steps."""
    inverse = 1.0 / (1.0 / (1.0 / scale.float())).double() if per_channel else 1.0 / scale
    return inverse.float()


def _inside(steps: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Clamp to a grid; NaN takes its lowest integer."""
    return torch.clamp(torch.where(torch.isnan(steps), lowest, steps), lowest, highest)


class Cast(nn.Module):
    """Rounds a tensor to a narrower float type; the gradient passes."""

    def __init__(self, *tensors: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.tensors = tensors
        self.dtype = dtype

    def forward(self, values: Tensor) -> Tensor:
        return values.to(self.dtype).to(values.dtype)


class Scope(nn.Module):
    """Holds parameters under a part of their name."""

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)

    def __getitem__(self, index: int) -> Any:
        return getattr(self, str(index))


class Quantized(nn.Module):
    """Something with quantizers, and the phases that they go through together."""

    def quantizers(self) -> Iterator[FakeQuantize]:
        """Give the quantizers in the order of the model."""
        return (module for module in self.modules() if isinstance(module, FakeQuantize))

    def freeze(self) -> None:
        """Quantize by the encodings as they are."""
        for quantizer in self.quantizers():
            quantizer.freeze()

    def learn_ranges(self, *, lsq_scaling: bool = False) -> None:
        """Train the encodings together with the weights (see `FakeQuantize.learn_range`)."""
        for quantizer in self.quantizers():
            quantizer.learn_range(lsq_scaling=lsq_scaling)

    def parameter_groups(self, *, scale_lr: float, zero_point_lr: float) -> list[dict[str, Any]]:
        """Return all parameters as the groups of an optimizer: what the model had, scales, and zero points.

        Adam moves a parameter by its learning rate, however large that parameter is.  Scales are small, in the units
        of their tensors, and zero points count steps: neither does well at the rate of weights, nor decays.
        """
        quantizers = list(self.quantizers())
        scales = [q.scale for q in quantizers if isinstance(q.scale, nn.Parameter)]
        zero_points = [q.zero_point for q in quantizers if isinstance(q.zero_point, nn.Parameter)]
        ranges = {id(parameter) for parameter in (*scales, *zero_points)}
        return [
            {"params": [parameter for parameter in self.parameters() if id(parameter) not in ranges]},
            {"params": scales, "lr": scale_lr, "weight_decay": 0.0},
            {"params": zero_points, "lr": zero_point_lr, "weight_decay": 0.0},
        ]

    def encodings(self) -> dict[str, dict[str, Any]]:
        """Return the encoding of each quantized tensor, as `encodings.json` has them."""
        calibrated = (quantizer for quantizer in self.quantizers() if quantizer.calibrated)
        return {tensor: quantizer.encoding() for quantizer in calibrated for tensor in quantizer.tensors}


class Simulation(Quantized, Scope):
    """A model with quantizers: parameters under the names that they have in the model, quantizers as `q_...`."""

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Return the model with the weights and encodings of a safetensors file, in eval mode."""
        model = cls()
        model.load_state_dict(read_safetensors(path))
        return model.eval()

    def add_parameter(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        """Register a parameter under a dotted name."""
        scope, last = self._scope(name)
        scope.register_parameter(last, nn.Parameter(torch.empty(shape, dtype=dtype)))

    def add_buffer(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        """Register what is stored and not trained under a dotted name."""
        scope, last = self._scope(name)
        scope.register_buffer(last, torch.empty(shape, dtype=dtype))

    def _scope(self, name: str) -> tuple[nn.Module, str]:
        scope: nn.Module = self
        *path, last = name.split(".")
        for part in path:
            if part not in scope._modules:
                scope.add_module(part, Scope())
            scope = scope.get_submodule(part)
        return scope, last


SAFETENSORS = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def read_safetensors(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: a length, a header in JSON, then the bytes of all tensors."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        content = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        dtype, count = SAFETENSORS[entry["dtype"]], prod(entry["shape"])
        start = entry["data_offsets"][0]
        flat = (
            torch.frombuffer(content, dtype=dtype, count=count, offset=start) if count else torch.empty(0, dtype=dtype)
        )
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
