"""What detectors need beyond PyTorch: suppression of boxes, pooling of regions, deformed convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor


def non_max_suppression(
    boxes: Tensor, scores: Tensor, count: int, iou: float, score: float, *, centered: bool = False
) -> Tensor:
    """Return which boxes stay: rows of batch, class and box, the best of each class first.

    Args:
        boxes: two opposite corners each, (N, boxes, 4), or the center and the size if `centered`.
        scores: of shape (N, classes, boxes).
        count: how many stay per class at most.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    low = first - second / 2 if centered else torch.minimum(first, second)
    high = first + second / 2 if centered else torch.maximum(first, second)
    area = (high - low).prod(dim=-1)
    kept = []
    for batch in range(scores.shape[0]):
        for label in range(scores.shape[1]):
            order = scores[batch, label].argsort(descending=True, stable=True)
            order = order[scores[batch, label, order] > score]
            for _ in range(min(count, len(order))):
                if len(order) == 0:
                    break
                best, order = order[0], order[1:]
                kept.append([batch, label, int(best)])
                top = torch.maximum(low[batch, best], low[batch, order])
                end = torch.minimum(high[batch, best], high[batch, order])
                overlap = (end - top).clamp(min=0).prod(dim=-1)
                union = area[batch, best] + area[batch, order] - overlap
                order = order[overlap <= iou * union]
    return torch.tensor(kept, dtype=torch.long, device=boxes.device).reshape(-1, 3)


def roi_align(
    x: Tensor,
    rois: Tensor,
    images: Tensor,
    *,
    size: tuple[int, int],
    samples: int,
    scale: float,
    aligned: bool,
    largest: bool = False,
) -> Tensor:
    """Pool regions of images to one size.

    Args:
        rois: left, top, right and bottom of each region.
        images: the place in the batch that each is cut from.
        samples: per bin and dimension; 0 takes as many as the bin has pixels.
        aligned: pixels have their centers at halves.
        largest: take the largest sample of a bin instead of their average.
    """
    pooled = []
    for (left, top, right, bottom), image in zip((rois * scale).tolist(), images.tolist(), strict=True):
        axes = []
        for low, high, bins, length in ((top, bottom, size[0], x.shape[2]), (left, right, size[1], x.shape[3])):
            extent = high - low if aligned else max(high - low, 1.0)
            count = samples or max(1, int(-(-extent // bins)))
            steps = torch.arange(bins * count, device=x.device)
            at = low - (0.5 if aligned else 0.0) + (steps + 0.5) * (extent / (bins * count))
            inside = ((at >= -1) & (at <= length)).to(x.dtype)
            at = at.clamp(0, length - 1)
            below = at.floor().long()
            share = (at - below).to(x.dtype)
            above = (below + 1).clamp(max=length - 1)
            axes.append((count, ((below, (1 - share) * inside), (above, share * inside))))
        (rows, vertical), (columns, horizontal) = axes
        corners = [x[image][:, y][:, :, z] * (wy.unsqueeze(1) * wz) for y, wy in vertical for z, wz in horizontal]
        both = torch.stack(corners).amax(0) if largest else torch.stack(corners).sum(0)
        bins_ = both.reshape(-1, size[0], rows, size[1], columns)
        pooled.append(bins_.amax((2, 4)) if largest else bins_.mean((2, 4)))
    return torch.stack(pooled) if pooled else x.new_zeros(0, x.shape[1], *size)


def deform_conv(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    groups: int = 1,
    offset_groups: int = 1,
) -> Tensor:
    """Convolve images where an offset, and perhaps a mask, is given for each tap of each window."""
    batch, channels, height, width = x.shape
    taps = weight.shape[2] * weight.shape[3]
    rows, columns = offset.shape[2:]
    y = torch.arange(weight.shape[2], device=x.device).repeat_interleave(weight.shape[3]) * dilations[0]
    z = torch.arange(weight.shape[3], device=x.device).repeat(weight.shape[2]) * dilations[1]
    starts_y = torch.arange(rows, device=x.device) * strides[0] - pads[0]
    starts_z = torch.arange(columns, device=x.device) * strides[1] - pads[1]
    moved = offset.reshape(batch * offset_groups, taps, 2, rows, columns)
    at_y = moved[:, :, 0] + y.reshape(-1, 1, 1) + starts_y.reshape(1, -1, 1)
    at_z = moved[:, :, 1] + z.reshape(-1, 1, 1) + starts_z.reshape(1, 1, -1)
    # -1 and 1 are the outer edges of the first and the last pixel.
    grid = torch.stack([(2 * at_z + 1) / width - 1, (2 * at_y + 1) / height - 1], dim=-1)
    images = x.reshape(batch * offset_groups, channels // offset_groups, height, width)
    seen = F.grid_sample(images, grid.flatten(2, 3), align_corners=False)
    if mask is not None:
        seen = seen * mask.reshape(batch * offset_groups, 1, taps, rows * columns)
    seen = seen.reshape(batch, groups, channels // groups * taps, rows * columns)
    made = weight.reshape(groups, -1, seen.shape[2]) @ seen
    made = made.reshape(batch, weight.shape[0], rows, columns)
    return made if bias is None else made + bias.reshape(-1, 1, 1)
