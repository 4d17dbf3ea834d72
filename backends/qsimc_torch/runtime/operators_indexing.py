"""Slices, scatters and sorts that PyTorch has no function for."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor


def slice_along(
    x: Tensor, starts: list[int], ends: list[int], dims: list[int], steps: list[int] | None = None
) -> Tensor:
    """Slice as NumPy does: backwards too."""
    for start, end, dim, step in zip(starts, ends, dims, steps or [1] * len(starts), strict=True):
        if step > 0:
            x = x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]
        else:
            places = list(range(x.shape[dim])[start:end:step])
            x = x.index_select(dim, torch.tensor(places, dtype=torch.long, device=x.device))
    return x


def scatter_slices(x: Tensor, indices: Tensor, updates: Tensor, *, reduce: str) -> Tensor:
    """Reduce slices of `x` with updates; the last dimension of the indices addresses the first ones of `x`."""
    depth = indices.shape[-1]
    row = torch.zeros_like(indices[..., 0])
    for dim in range(depth):
        row = row * x.shape[dim] + indices[..., dim] % x.shape[dim]
    rows = x.flatten(0, depth - 1)
    changes = updates.reshape(-1, *rows.shape[1:])
    places = row.reshape(-1, *[1] * (rows.ndim - 1)).expand_as(changes)
    return rows.scatter_reduce(0, places, changes, reduce).reshape(x.shape)


def unique_values(x: Tensor, *, dim: int | None = None, sort: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the values that differ, where each is first, which of them every value is, and how often each is there."""
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True, dim=dim)
    inverse = inverse.flatten()
    places = torch.arange(inverse.numel(), device=x.device)
    first = torch.zeros_like(counts).scatter_reduce(0, inverse, places, "amin", include_self=False)
    if sort:
        return values, first, inverse, counts
    order = first.argsort()
    return values.index_select(dim or 0, order), first[order], order.argsort()[inverse], counts[order]


def reverse_sequences(x: Tensor, lengths: Tensor, *, batch_dim: int, time_dim: int) -> Tensor:
    """Turn round the beginning of each sequence of a batch, as far as its length."""
    x = x.movedim((batch_dim, time_dim), (0, 1))
    steps, ends = torch.arange(x.shape[1], device=x.device), lengths.unsqueeze(1)
    order = torch.where(steps < ends, ends - 1 - steps, steps)
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    return x[rows, order].movedim((0, 1), (batch_dim, time_dim))


def reshape_to(x: Tensor, sizes: list[int]) -> Tensor:
    """Reshape to sizes that the model computes; 0 keeps what the input has there."""
    return x.reshape([size or x.shape[dim] for dim, size in enumerate(sizes)])


def unsqueeze_at(x: Tensor, dims: list[int]) -> Tensor:
    """Put in dimensions of one; they are counted in the result."""
    for dim in sorted(dim % (x.ndim + len(dims)) for dim in dims):
        x = x.unsqueeze(dim)
    return x


def pad_sides(
    x: Tensor, sides: list[int], *, dims: list[int] | None = None, mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pad dimensions, all if none are named: before each, then behind each."""
    dims = list(range(x.ndim)) if dims is None else [dim % x.ndim for dim in dims]
    before = dict(zip(dims, sides, strict=False))
    behind = dict(zip(dims, sides[len(dims) :], strict=True))
    if mode != "constant":  # of which torch pads but a few dimensions, and not in front of others
        for dim in (dim for dim in dims if before[dim] or behind[dim]):
            moved = x.movedim(dim, -1)
            made = F.pad(moved.reshape(1, -1, moved.shape[-1]), (before[dim], behind[dim]), mode)
            x = made.reshape(*moved.shape[:-1], -1).movedim(-1, dim)
        return x
    first = min((dim for dim in dims if before[dim] or behind[dim]), default=x.ndim)
    ends = [side for dim in range(x.ndim - 1, first - 1, -1) for side in (before.get(dim, 0), behind.get(dim, 0))]
    return F.pad(x, ends, mode, value) if ends else x


def write_at(cache: Tensor, update: Tensor, starts: Tensor | None, *, dim: int, circular: bool = False) -> Tensor:
    """Write into a cache from a place on, which each sequence of the batch has its own; `circular` begins again."""
    length, width = cache.shape[dim], update.shape[dim]
    places = torch.arange(width, device=cache.device).repeat(len(cache), 1)
    if starts is not None:
        places = places + starts.unsqueeze(1)
    rows = torch.arange(len(cache), device=cache.device).unsqueeze(1)
    written = cache.movedim(dim, 1).index_put((rows, places % length if circular else places), update.movedim(dim, 1))
    return written.movedim(1, dim)


def crop_or_pad(x: Tensor, sizes: tuple[int, ...], *, dims: tuple[int, ...] | None = None) -> Tensor:
    """Bring dimensions to some sizes: cut off, or filled up with zeros, on both sides alike."""
    for dim, size in zip(dims or range(len(sizes)), sizes, strict=True):
        more = size - x.shape[dim]
        if more <= 0:
            x = x.narrow(dim, -more // 2, size)
        else:
            x = F.pad(x.movedim(dim, -1), (more // 2, more - more // 2)).movedim(-1, dim)
    return x
