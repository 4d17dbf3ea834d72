"""Resizing by any rule of ONNX, one dimension after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def resize(
    x: Tensor,
    *,
    scales: list[float] | None = None,
    sizes: list[int] | None = None,
    dims: list[int] | None = None,
    policy: str | None = None,
    mode: str,
    place: str,
    rounding: str = "round_prefer_floor",
    coefficient: float = -0.75,
    antialias: bool = False,
    exclude_outside: bool = False,
    region: list[float] | None = None,
    outside: float = 0.0,
) -> Tensor:
    """Resize some dimensions, all if none are named, by factors or to sizes.

    Args:
        policy: which of the factors goes for all dimensions: `not_larger` the smallest, `not_smaller` the largest.
        place: how a coordinate of the result becomes one of the input (ONNX, Resize).
        region: where to read, with `tf_crop_and_resize`: beginnings and then ends, as parts of the input.
        outside: what is read there outside of the input.
    """
    dims = list(range(x.ndim)) if dims is None else [dim % x.ndim for dim in dims]
    lengths = [x.shape[dim] for dim in dims]
    if sizes is None:
        assert scales is not None
        sizes = [int(length * scale) for length, scale in zip(lengths, scales, strict=True)]
    else:
        scales = [size / length for size, length in zip(sizes, lengths, strict=True)]
        if policy is not None:
            scales = [min(scales) if policy == "not_larger" else max(scales)] * len(dims)
            sizes = [int(length * scale + 0.5) for length, scale in zip(lengths, scales, strict=True)]
    for position, (dim, size, scale) in enumerate(zip(dims, sizes, scales, strict=True)):
        corners = (0.0, 1.0) if region is None else (region[position], region[position + len(dims)])
        length = x.shape[dim]
        if size == length and scale == 1.0 and corners == (0.0, 1.0):
            continue
        at = sampled_at(size, length, scale, place, corners).to(x.device)
        if mode == "nearest":
            x_dim = x.index_select(dim, rounded(at, rounding).clamp(0, length - 1))
        else:
            weights = interpolation(at, length, scale if antialias else 1.0, mode, coefficient, exclude_outside)
            x_dim = (x.movedim(dim, -1) @ weights.to(x.dtype).t()).movedim(-1, dim)
        if place == "tf_crop_and_resize":
            inside = (at >= 0) & (at <= length - 1)
            x_dim = torch.where(inside.reshape(-1, *[1] * (x.ndim - dim - 1)), x_dim, outside)
        x = x_dim
    return x


def sampled_at(size: int, length: int, scale: float, place: str, corners: tuple[float, float]) -> Tensor:
    """Return the coordinates in the input of each place in the result."""
    steps = torch.arange(size, dtype=torch.float64)
    match place:
        case "asymmetric":
            return steps / scale
        case "align_corners":
            return steps * (length - 1) / max(size - 1, 1)
        case "tf_crop_and_resize":
            low, high = (corner * (length - 1) for corner in corners)
            return low + steps * (high - low) / (size - 1) if size > 1 else (low + high) / 2 + steps
        case "half_pixel_symmetric":
            return length / 2 * (1 - size / (scale * length)) + (steps + 0.5) / scale - 0.5
    return steps * 0 if place == "pytorch_half_pixel" and size == 1 else (steps + 0.5) / scale - 0.5


def rounded(at: Tensor, rounding: str) -> Tensor:
    """Return the nearest places."""
    match rounding:
        case "floor":
            return at.floor().long()
        case "ceil":
            return at.ceil().long()
        case "round_prefer_ceil":
            return (at + 0.5).floor().long()
    return (at - 0.5).ceil().long()


def interpolation(
    at: Tensor, length: int, scale: float, mode: str, coefficient: float, exclude_outside: bool
) -> Tensor:
    """Return the weight of each place of the input in each place of the result; a scale below 1 widens the kernel."""
    stretch = min(scale, 1.0)
    reach = int(-(-(2 if mode == "cubic" else 1) // stretch))
    taps = torch.arange(1 - reach, reach + 1, device=at.device)
    below = at.floor().unsqueeze(1)
    distance = ((below + taps - at.unsqueeze(1)) * stretch).abs()
    if mode == "cubic":
        a = coefficient
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    else:
        weights = (1 - distance).clamp(min=0)
    places = (below + taps).long()
    if exclude_outside:
        weights = torch.where((places >= 0) & (places < length), weights, 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights.new_zeros(len(at), length).scatter_add(1, places.clamp(0, length - 1), weights)
