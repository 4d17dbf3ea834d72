"""Pooling, and what it has in common with convolution: a window that moves over a padded input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsimc_torch.call import Call, Unsupported, call, same_or_tuple
from qsimc_torch.operators import operator


@dataclass(frozen=True, slots=True)
class Window:
    """One number per spatial dimension; `begin` and `end` are pads."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @classmethod
    def of(cls, node: Call, weight: Sequence[int | None] | None = None) -> Window:
        """Return the window of a node, the kernel's size from its weight where there is one.

        Raises:
            Unsupported: it is unknown, or torch has none of its rank.
        """
        kernel: Sequence[int | None] = node.integers("kernel_shape") or (weight or (None,) * 3)[2:]
        sizes = tuple(size for size in kernel if size is not None)
        if len(sizes) < len(kernel):
            raise Unsupported("the size of its window is unknown")
        if not 1 <= len(sizes) <= 3:
            raise Unsupported(f"its window has {len(sizes)} dimensions")
        ones = (1,) * len(sizes)
        strides, dilations = node.integers("strides") or ones, node.integers("dilations") or ones
        pads = _pads(node, sizes, strides, dilations)
        return cls(sizes, strides, dilations, pads[: len(sizes)], pads[len(sizes) :])


def _pads(node: Call, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    mode = node.word("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return node.integers("pads") or (0,) * (2 * len(kernel))
    if mode == "VALID":
        return (0,) * (2 * len(kernel))
    sizes = (node.shape() or (None,) * (len(kernel) + 2))[2:]
    small, large = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        if size is None and stride != 1:
            raise Unsupported(f"its padding is `{mode}` of an input whose size is unknown")
        steps = 0 if size is None else (-(-size // stride) - 1) * stride - size + 1
        total = max(0, steps + (width - 1) * dilation)
        small.append(total // 2)
        large.append(total - total // 2)
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def padded(node: Call, window: Window, value: str) -> tuple[str, tuple[int, ...]]:
    """Return the input and the padding that is left to the operator: none where the sides differ.

    Raises:
        Unsupported: the last window may begin in the padding, where ONNX leaves it out.
    """
    if window.begin == window.end:
        return node[0], window.begin
    if node.integer("ceil_mode", 0):
        raise Unsupported("the last window may begin in the padding")
    fill = {} if value == "0.0" else {"value": value}
    return call("F.pad", node[0], spread(window.begin, window.end), **fill), (0,) * window.rank


def spread(begin: Sequence[int], end: Sequence[int]) -> str:
    """Return pads as torch lists them: from the last dimension to the first, both sides of each."""
    pairs = [str(size) for pair in zip(reversed(begin), reversed(end), strict=True) for size in pair]
    return f"({', '.join(pairs)})"


@operator("MaxPool")
def max_pool(node: Call) -> str:
    node.only_output()
    window = Window.of(node)
    too_wide = any(2 * pad > size for pad, size in zip(window.begin, window.kernel, strict=True))
    if window.begin == window.end and too_wide:
        raise Unsupported("its padding is wider than half of its window")
    source, padding = padded(node, window, "-torch.inf")
    return call(
        f"F.max_pool{window.rank}d",
        source,
        str(same_or_tuple(window.kernel)),
        stride=None if window.strides == window.kernel else same_or_tuple(window.strides),
        padding=same_or_tuple(padding) or None,
        dilation=None if {*window.dilations} == {1} else same_or_tuple(window.dilations),
        ceil_mode=True if node.integer("ceil_mode", 0) else None,
    )


@operator("AveragePool")
def average_pool(node: Call) -> str:
    window = Window.of(node)
    if {*window.dilations} != {1}:
        raise Unsupported("torch has no average pooling with dilations")
    if any(2 * pad > size for pad, size in zip(window.begin, window.kernel, strict=True)):
        raise Unsupported("its padding is wider than half of its window")
    counts_pads = bool(node.integer("count_include_pad", 0))
    ceil = True if node.integer("ceil_mode", 0) else None
    source, padding = padded(node, window, "0.0")
    stride = None if window.strides == window.kernel else same_or_tuple(window.strides)
    function, kernel = f"F.avg_pool{window.rank}d", str(same_or_tuple(window.kernel))
    options = {"stride": stride, "padding": same_or_tuple(padding) or None, "ceil_mode": ceil}
    if window.begin == window.end:
        counted = None if counts_pads or not any(padding) else False
        return call(function, source, kernel, **options, count_include_pad=counted)
    pooled = call(function, source, kernel, **options)
    if counts_pads:
        return pooled
    ones = call("F.pad", f"torch.ones_like({node[0]})", spread(window.begin, window.end))
    share = node.let("share", call(function, ones, kernel, **options))
    return f"{pooled} / {share}"


@operator("GlobalAveragePool")
def global_average_pool(node: Call) -> str:
    rank = node.rank()
    if rank in (3, 4, 5):
        return call(f"F.adaptive_avg_pool{rank - 2}d", node[0], "1")
    return f"{node[0]}.mean(dim=tuple(range(2, {node[0]}.ndim)), keepdim=True)"


@operator("GlobalMaxPool")
def global_max_pool(node: Call) -> str:
    return f"{node[0]}.amax(dim=tuple(range(2, {node[0]}.ndim)), keepdim=True)"
