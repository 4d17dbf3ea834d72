"""Pooling beyond PyTorch's: dilated averages, any padding, places in the whole tensor."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor


def windows(
    x: Tensor,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    value: float = 0.0,
    beyond: float = 0.0,
    ceil: bool = False,
) -> Tensor:
    """Return what a window sees as it moves: its own dimensions come behind those of the result.

    Args:
        pads: before each spatial dimension, then behind each; filled with `value`.
        ceil: also where the window reaches beyond the padding, to see `beyond`, unless it would begin in the padding.
    """
    spans = [dilation * (width - 1) + 1 for dilation, width in zip(dilations, kernel, strict=True)]
    rank = len(kernel)
    sides, more = list[int](), list[int]()
    for dim in reversed(range(rank)):
        inside = pads[dim] + x.shape[dim + 2]
        size = inside + pads[dim + rank]
        steps = -((spans[dim] - size) // strides[dim])
        if steps * strides[dim] >= inside:
            steps -= 1
        sides += [pads[dim], pads[dim + rank]]
        more += [0, max(0, steps * strides[dim] + spans[dim] - size) if ceil else 0]
    x = F.pad(F.pad(x, sides, value=value), more, value=beyond)
    for dim in range(rank):
        x = x.unfold(dim + 2, spans[dim], strides[dim])[..., :: dilations[dim]]
    return x


def average_windows(
    x: Tensor,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    ceil: bool = False,
    count_include_pad: bool = False,
) -> Tensor:
    """Average what a window sees of the input, and of its padding if that counts."""
    inside = tuple(range(-len(kernel), 0))
    seen = windows(x, kernel, strides=strides, dilations=dilations, pads=pads, ceil=ceil)
    ones, value = torch.ones_like(x[:1, :1]), float(count_include_pad)
    counted = windows(ones, kernel, strides=strides, dilations=dilations, pads=pads, value=value, ceil=ceil)
    return seen.sum(inside) / counted.sum(inside)


def max_windows(
    x: Tensor,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    ceil: bool = False,
    by_columns: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the largest value that a window sees, and its place in the whole tensor.

    Args:
        by_columns: places count along the first spatial dimension first.
    """
    rank = len(kernel)
    lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    seen = windows(x, kernel, strides=strides, dilations=dilations, pads=pads, value=lowest, beyond=lowest, ceil=ceil)
    values, which = seen.flatten(-rank).max(dim=-1)
    places = torch.arange(x.numel(), device=x.device).reshape(x.shape)
    if by_columns:
        turned = places.reshape(*x.shape[:2], *reversed(x.shape[2:]))
        places = turned.permute(0, 1, *reversed(range(2, x.ndim)))
    seen = windows(places, kernel, strides=strides, dilations=dilations, pads=pads, ceil=ceil)
    return values, seen.flatten(-rank).gather(-1, which.unsqueeze(-1)).squeeze(-1)
