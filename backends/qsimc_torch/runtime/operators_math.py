"""Operators of ONNX that PyTorch has no function for: quantized values, attention with caches, rotary embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor


def along(values: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Give scales or zero points the shape in which they broadcast against what they belong to.

    Args:
        values: one number; one per channel along the axis; or with `block` one per so many elements along the axis.
    """
    if block:
        return values.repeat_interleave(block, dim=axis).narrow(axis, 0, x.shape[axis])
    if values.ndim != 1 or values.numel() == 1:
        return values
    return values.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])


def quantize_linear(
    x: Tensor, scale: Tensor, zero_point: Tensor | None, dtype: torch.dtype, axis: int = 1, block: int = 0
) -> Tensor:
    """Return the integers of some values; half goes to even (ONNX documentation, QuantizeLinear)."""
    steps = torch.round(x / along(scale, x, axis, block))
    if zero_point is not None:
        steps = steps + along(zero_point, x, axis, block).to(steps.dtype)
    limits = torch.iinfo(dtype)
    return torch.clamp(steps, limits.min, limits.max).to(dtype)


def dequantize_linear(
    x: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int = 1, block: int = 0
) -> Tensor:
    """Return the values that some integers stand for (ONNX documentation, DequantizeLinear)."""
    steps = x.to(torch.int32)
    if zero_point is not None:
        steps = steps - along(zero_point, x, axis, block).to(torch.int32)
    return steps.to(scale.dtype) * along(scale, x, axis, block)


def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return values as uint8, their scale and their zero point (ONNX documentation, DynamicQuantizeLinear)."""
    low, high = torch.clamp(x.amin(), max=0.0), torch.clamp(x.amax(), min=0.0)
    # Of nothing but zeros the scale is 1, as onnxruntime has it.
    scale = torch.where(high == low, 1.0, (high - low) / 255)
    zero_point = torch.clamp(torch.round(-low / scale), 0, 255).to(torch.uint8)
    return quantize_linear(x, scale, zero_point, torch.uint8), scale, zero_point


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    past: int = 0,
    lengths: Tensor | None = None,
    window: tuple[int, int] = (-1, -1),
    scale: float | None = None,
    softcap: float = 0.0,
    scores: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return attention and its scores (ONNX documentation, Attention).

    Args:
        query, key, value: shape (batch, heads, length, size); several heads of the queries may share one of the keys.
        mask: what may be seen, or what is added to the scores; the last keys are not seen if it does not reach them.
        past: how many keys there were before the first query; `lengths` has it per batch, the queries counted in.
        window: how many places a query sees to the left and to the right, -1 for all.
        scores: which scores: 0 as multiplied, 1 capped, 2 masked, 3 after the softmax.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(groups, dim=1) if groups > 1 else t for t in (key, value))
    factor = (query.shape[-1] ** -0.5 if scale is None else scale) ** 0.5
    stages = [torch.matmul(query * factor, (key * factor).mT)]
    stages.append(softcap * torch.tanh(stages[0] / softcap) if softcap else stages[0])
    rows, columns = stages[0].shape[-2:]
    place = torch.arange(columns, device=query.device)
    if lengths is None:
        own = torch.arange(rows, device=query.device)[:, None] + past
        seen = torch.ones_like(own == place)
    else:
        ends = lengths.reshape(-1, 1, 1, 1)
        own = torch.arange(rows, device=query.device)[:, None] + ends - rows
        seen = place < ends
    if causal:
        seen = seen & (place <= own)
    left, right = window
    if left >= 0:
        seen = seen & (place >= own - left)
    if right >= 0:
        seen = seen & (place <= own + right)
    masked = stages[1]
    if mask is not None:
        missing = (0, columns - mask.shape[-1])
        if mask.dtype == torch.bool:
            seen = seen & F.pad(mask, missing, value=False)
        else:
            masked = masked + F.pad(mask, missing, value=-torch.inf)
    stages.append(masked.masked_fill(~seen, -torch.inf))
    # A row in which nothing is seen is zero, not NaN.
    nothing = (stages[2] == -torch.inf).all(dim=-1, keepdim=True)
    stages.append(torch.softmax(stages[2], dim=-1).masked_fill(nothing, 0.0))
    return torch.matmul(stages[3], value), stages[scores]


def rotary_embedding(x: Tensor, cos: Tensor, sin: Tensor, size: int = 0, interleaved: bool = False) -> Tensor:
    """Rotate pairs of elements (ONNX documentation, RotaryEmbedding).

    Args:
        x: shape (batch, heads, length, size of a head).
        cos, sin: shape (batch, length, half of what is rotated).
        size: how many elements of a head are rotated, 0 for all.
        interleaved: pairs are neighbours; otherwise one is from the first half, one from the second.
    """
    size = size or x.shape[-1]
    turned, rest = x[..., :size], x[..., size:]
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    first, second = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, dim=-1)
    pair = cos * first - sin * second, sin * first + cos * second
    turned = torch.stack(pair, dim=-1).flatten(-2) if interleaved else torch.cat(pair, dim=-1)
    return torch.cat((turned, rest), dim=-1)
