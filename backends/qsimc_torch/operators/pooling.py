"""Windows where PyTorch's own functions compute something else, and what is cut out of transposed convolutions."""

from __future__ import annotations

from typing import Any

from qsimc_torch.call import Call, Unsupported, call, same_or_tuple
from qsimc_torch.operators import operator, otherwise
from qsimc_torch.operators.windows import Window


def _options(node: Call) -> tuple[str, dict[str, Any]]:
    window = Window.of(node)
    options = {
        "strides": window.strides,
        "dilations": window.dilations,
        "pads": (*window.begin, *window.end),
        "ceil": True if node.integer("ceil_mode", 0) else None,
    }
    return f"({', '.join(map(str, window.kernel))}{',' if window.rank == 1 else ''})", options


@otherwise("MaxPool")
def max_pool(node: Call) -> str:
    kernel, options = _options(node)
    by_columns = True if node.integer("storage_order", 0) else None
    pooled = call("max_windows", node[0], kernel, **options, by_columns=by_columns)
    return f"{pooled}[0]" if node.outputs == 1 else pooled


@otherwise("AveragePool")
def average_pool(node: Call) -> str:
    kernel, options = _options(node)
    counted = True if node.integer("count_include_pad", 0) else None
    return call("average_windows", node[0], kernel, **options, count_include_pad=counted)


@operator("LpPool")
def lp_pool(node: Call) -> str:
    """torch's own does not take absolute values, which even powers do not need."""
    order, window = node.integer("p", 2), Window.of(node)
    plain = not any((*window.begin, *window.end)) and {*window.dilations} == {1}
    if plain and order % 2 == 0 and node.word("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
        return call(
            f"F.lp_pool{window.rank}d",
            node[0],
            str(float(order)),
            str(same_or_tuple(window.kernel)),
            stride=None if window.strides == window.kernel else same_or_tuple(window.strides),
            ceil_mode=True if node.integer("ceil_mode", 0) else None,
        )
    kernel, options = _options(node)
    inside = tuple(range(-window.rank, 0))
    return call("torch.linalg.vector_norm", call("windows", node[0], kernel, **options), ord=order, dim=inside)


@operator("GlobalLpPool")
def global_lp_pool(node: Call) -> str:
    rank = node.known_rank()
    return call("torch.linalg.vector_norm", node[0], ord=node.integer("p", 2), dim=tuple(range(2, rank)), keepdim=True)


@otherwise("ConvTranspose")
def conv_transpose(node: Call) -> str:
    """Without padding in torch; what ONNX pads is cut off, a larger `output_shape` filled up.

    Which side gets the odd one: ONNX, ConvTranspose, `auto_pad`.
    """
    weight = node.shape(1)
    kernel = [size for size in (weight or ())[2:] if size is not None]
    rank = len(kernel)
    if not 1 <= rank <= 3 or len(kernel) < len((weight or ())[2:]):
        raise Unsupported("the size of its window is unknown" if not rank else f"its window has {rank} dimensions")
    ones = (1,) * rank
    strides, dilations = node.integers("strides") or ones, node.integers("dilations") or ones
    extra = node.integers("output_padding") or (0,) * rank
    pads = _pads(node, kernel, strides, dilations, extra)
    # What lies behind the last window takes no part in torch unless the stride reaches there.
    inside = tuple(min(more, step - 1) for more, step in zip(extra, strides, strict=True))
    made = call(
        f"F.conv_transpose{rank}d",
        node[0],
        node[1],
        *([node[2]] if node.has(2) else []),
        stride=None if strides == ones else same_or_tuple(strides),
        output_padding=same_or_tuple(inside) or None,
        groups=None if node.integer("group", 1) == 1 else node.integer("group", 1),
        dilation=None if dilations == ones else same_or_tuple(dilations),
    )
    sides = [-side for axis in reversed(range(rank)) for side in (pads[axis], pads[rank + axis])]
    return call("F.pad", made, f"({', '.join(map(str, sides))})") if any(sides) else made


def _pads(node: Call, kernel: Any, strides: Any, dilations: Any, extra: Any) -> tuple[int, ...]:
    mode, wanted = node.word("auto_pad", "NOTSET"), node.integers("output_shape")
    rank = len(kernel)
    if wanted is None and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return (mode == "NOTSET" and node.integers("pads")) or (0,) * (2 * rank)
    sizes = (node.shape() or (None,) * (rank + 2))[2:]
    small, large = [], []
    for axis, (size, step) in enumerate(zip(sizes, strides, strict=True)):
        span = dilations[axis] * (kernel[axis] - 1) + 1 + extra[axis]
        if wanted is None:
            total = span - step
        elif size is None:
            raise Unsupported("its padding depends on a size that is unknown")
        else:
            total = step * (size - 1) + span - wanted[axis - rank]
        small.append(total // 2)
        large.append(total - total // 2)
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


@operator("DeformConv")
def deform_conv(node: Call) -> str:
    window = Window.of(node, node.shape(1))
    if window.rank != 2:
        raise Unsupported(f"its window has {window.rank} dimensions")
    rest = [node[position] if node.has(position) else "None" for position in (3, 4)]
    while rest and rest[-1] == "None":
        rest.pop()
    return call(
        "deform_conv",
        node[0],
        node[1],
        node[2],
        *rest,
        strides=window.strides,
        dilations=window.dilations,
        pads=(*window.begin, *window.end),
        groups=None if node.integer("group", 1) == 1 else node.integer("group", 1),
        offset_groups=None if node.integer("offset_group", 1) == 1 else node.integer("offset_group", 1),
    )
