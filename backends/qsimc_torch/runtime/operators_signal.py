"""Signal processing that PyTorch leaves to other packages."""

from __future__ import annotations

import torch
from torch import Tensor


def mel_filters(
    bins: int, length: int, rate: int, low: float, high: float, *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return triangular filters, evenly spaced in mel, for a spectrum of a Fourier transform (ONNX, MelWeightMatrix).

    Args:
        length: of the transform; the spectrum has half of it and one.
        rate: samples per second.
        low, high: where the first filter begins and the last ends, in Hz.
    """
    first, last = (2595 * torch.log10(1 + torch.tensor(hertz, dtype=torch.float64) / 700) for hertz in (low, high))
    mel = first + torch.arange(bins + 2) * ((last - first) / (bins + 2))
    places = ((length + 1) * 700 * (10 ** (mel / 2595) - 1) // rate).long()
    begin, center, end = places[:-2], places[1:-1], places[2:]
    at = torch.arange(length // 2 + 1).unsqueeze(1)
    rising = torch.where(center > begin, (at - begin) / (center - begin), 1.0)
    falling = (end - at) / (end - center)
    left = torch.where((at >= begin) & (at <= center), rising, 0.0)
    filters = torch.where((at >= center) & (at < end), falling, left)
    return filters.to(device=device, dtype=dtype)
