"""vai_q_pytorch's searches in a histogram: percentile, mse and entropy, for symmetric tensors.

Source: vai_q_pytorch 3.5 (Xilinx/Vitis-AI b2b227921), `quantization/quant_algo.py`, whose searches are
those of NVIDIA's pytorch-quantization, as recordings under torch 1.12.1 on x86-64 with AVX2 show them.
"""

from __future__ import annotations

import numpy as np

from qsimc.calibrate.arithmetic import F32
from qsimc.calibrate.vitis_rules import Rules
from qsimc.ir.quant import Calib

BINS = 2048
FIRST_TRIED = 1536
STRIDE = 16
"""`mse` and `entropy` try to clip at every 16th bin from the 1536th: never below 3/4 of the greatest value."""

LANES = 8
"""Float32 numbers in an AVX2 register."""

QUANTIZED_TO_ZERO = 2.0**-24
"""The mse search takes a range that ends here or before as all zeros."""


def reach(values: F32, rules: Rules) -> float:
    """Return where the grid shall end for one tensor's values, shape (n,), by the rules' calibration."""
    sizes = np.abs(values)
    greatest = sizes.max()
    if greatest == 0:
        return 0.0
    counts, edges = _counts(sizes, greatest), _edges(greatest)
    if rules.calib == Calib.PERCENTILE:
        return _percentile(counts, edges, rules.percentile)
    if rules.calib == Calib.MSE:
        return _least_error(counts, edges, rules)
    return _least_divergence(counts, edges, 1 << (rules.bits - int(rules.signed)))


def _counts(sizes: F32, greatest: np.float32) -> F32:
    """Return how many of `sizes` are in each bin from 0 to `greatest`, by `torch.histc`'s float32 arithmetic."""
    # The original multiplies first, which is the same but for the product's overflow.
    bins = (sizes / greatest * np.float32(BINS)).astype(np.int64)
    return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS).astype(np.float32)


def _edges(greatest: np.float32) -> F32:
    """Return `torch.linspace(0, greatest, 2049)`, shape (2049,).

    Its AVX2 loop computes every eighth edge from the nearer end and the seven after it by steps;
    the plain formula differs in the last place.
    """
    step = greatest / np.float32(BINS)
    starts = np.arange(0, BINS, LANES)
    from_low = step * starts.astype(np.float32)
    from_high = greatest - step * (BINS - starts).astype(np.float32)
    base = np.where(starts < BINS // 2, from_low, from_high)
    edges = base[:, None] + step * np.arange(LANES, dtype=np.float32)
    return np.append(edges.ravel(), greatest).astype(np.float32)


def _percentile(counts: F32, edges: F32, percentile: float) -> float:
    """Return the left edge of the first bin up to which `percentile` percent of the values lie."""
    shares = np.cumsum(counts / counts.sum())
    return float(edges[np.searchsorted(shares, percentile / 100)])


def _least_error(counts: F32, edges: F32, rules: Rules) -> float:
    """Return the bin centre at which clipping gives the least squared error; the first of equally good ones."""
    centres = edges[1:] / np.float32(2) + edges[:-1] / np.float32(2)
    tried = centres[FIRST_TRIED::STRIDE]
    errors = [_mean_error(centres, counts, end, rules) for end in tried]
    return float(tried[np.argmin(errors)])


def _mean_error(centres: F32, counts: F32, end: np.float32, rules: Rules) -> np.float32:
    qmin, qmax = rules.grid
    quantized = np.zeros_like(centres)
    if end > QUANTIZED_TO_ZERO:
        factor = np.float32(qmax) / end
        quantized = np.clip(np.rint(centres * factor), np.float32(qmin), np.float32(qmax)) / factor
    with np.errstate(over="ignore", invalid="ignore"):  # the squares of huge numbers
        return np.float32((np.square(quantized - centres) * counts).mean(dtype=np.float32))


def _least_divergence(counts: F32, edges: F32, levels: int) -> float:
    """Return the edge at which clipping keeps most information; the last of equally good ones."""
    counts = counts.copy()
    counts[0] = counts[1]
    tried = np.arange(FIRST_TRIED, BINS + 1, STRIDE)
    divergences = np.array([_divergence(counts, int(end), levels) for end in tried])
    if np.isnan(divergences).any():  # Every value is in the first bin, and that was taken away.
        return float(edges[-1])
    return float(edges[tried[::-1][np.argmin(divergences[::-1])]])


def _divergence(counts: F32, end: int, levels: int) -> float:
    """Return KL(clipped at bin `end` || that averaged within `levels` groups), NaN if nothing is left."""
    kept = counts[:end]
    used = kept != 0
    group = np.digitize(np.arange(end), np.linspace(0, end, levels + 1)) - 1
    total = np.bincount(group[used], weights=kept[used], minlength=levels)
    members = np.bincount(group[used], minlength=levels)
    averaged = np.where(used, (total / np.maximum(members, 1))[group], 0.0)
    clipped = kept.copy()
    clipped[-1] += counts[end:].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = clipped / clipped.sum(), averaged / averaged.sum()
        terms = np.where(p > 0, p * np.log(p / q), 0.0)
    return float(np.nan if np.isnan(q).any() or np.isnan(p).any() else terms.sum())
