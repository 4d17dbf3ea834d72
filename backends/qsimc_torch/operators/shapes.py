"""Operators that move values: their shapes and indices are literals, or follow from the shapes of other tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qsimc_torch.call import Call, Unsupported, call, literal
from qsimc_torch.operators import operator


@operator("Flatten")
def flatten(node: Call) -> str:
    """The result has two dimensions, whatever came in."""
    axis = node.integer("axis", 1)
    if axis < 0:
        axis += node.known_rank()
    if axis == 0:
        return f"{node[0]}.reshape(1, -1)"
    if axis == 1:
        return call("torch.flatten", node[0], "1")
    return f"{node[0]}.reshape(-1, 1)" if axis == node.rank() else f"{node[0]}.flatten({axis}).flatten(0, {axis - 1})"


@operator("Reshape")
def reshape(node: Call) -> str:
    """0 stands for the size that the input has, unless `allowzero` says otherwise."""
    shape = node.integers("shape") if node.opset < 5 else node.sizes(1)
    if shape is None:
        sizes_ = f"{node[1]}.tolist()"
        return f"{node[0]}.reshape({sizes_})" if node.integer("allowzero", 0) else f"reshape_to({node[0]}, {sizes_})"
    copied = not node.integer("allowzero", 0)
    sizes = [node.length(axis) if size == 0 and copied else size for axis, size in enumerate(shape)]
    return call(f"{node[0]}.reshape", *map(str, sizes)) if sizes else f"{node[0]}.reshape(())"


@operator("Transpose")
def transpose(node: Call) -> str:
    permutation = node.integers("perm") or tuple(reversed(range(node.known_rank())))
    return call(f"{node[0]}.permute", *map(str, permutation))


@operator("Concat")
def concat(node: Call) -> str:
    parts = [node[position] for position in range(len(node.node.inputs))]
    return call("torch.cat", f"[{', '.join(parts)}]", dim=node.integer("axis", 1))


@operator("Unsqueeze")
def unsqueeze(node: Call) -> str:
    axes = node.listed(1, "axes") or ()
    if len(axes) > 1 and min(axes) < 0:
        rank = node.known_rank() + len(axes)
        axes = tuple(axis % rank for axis in axes)
    return node[0] + "".join(f".unsqueeze({axis})" for axis in sorted(axes))


@operator("Squeeze")
def squeeze(node: Call) -> str:
    axes = node.listed(1, "axes")
    if axes is None:
        return f"{node[0]}.squeeze()"
    return f"{node[0]}.squeeze({axes[0] if len(axes) == 1 else literal(axes)})"


@operator("Expand")
def expand(node: Call) -> str:
    """A size of 1 in the shape leaves the input's, which torch says by -1."""
    sizes, shape = node.sizes(1), node.shape()
    if sizes is None:
        return f"{node[0]}.expand(torch.broadcast_shapes({node[0]}.shape, {node[1]}.tolist()))"
    if shape is None or len(shape) > len(sizes):
        return f"{node[0]}.expand(torch.broadcast_shapes({node[0]}.shape, {literal(sizes)}))"
    new = len(sizes) - len(shape)
    wanted = [*sizes[:new]]
    for axis, (before, size) in enumerate(zip(shape, sizes[new:], strict=True)):
        if size == 1 or size in (before, node.length(axis)):
            wanted.append(-1)
        elif before == 1:
            wanted.append(size)
        else:
            return f"{node[0]}.expand(torch.broadcast_shapes({node[0]}.shape, {literal(sizes)}))"
    return call(f"{node[0]}.expand", *map(str, wanted)) if {*wanted} - {-1} else node[0]


@operator("Shape")
def shape_of(node: Call) -> str:
    """Only of a tensor whose rank is unknown; any other shape is no tensor in a module."""
    attributes = node.node.attributes
    low, high = (str(attributes[name]) if name in attributes else "" for name in ("start", "end"))
    sizes = f"{node[0]}.shape[{low}:{high}]" if low or high else f"{node[0]}.shape"
    return f"torch.tensor({sizes}, dtype=torch.int64, device={node[0]}.device)"


@operator("Slice")
def slice_(node: Call) -> str:
    """torch counts forwards only; in what is flipped, `~` takes an index to the same place."""
    starts, ends = (_bounds(node, *listed) for listed in ((1, "starts"), (2, "ends")))
    axes = node.listed(3, "axes") or tuple(range(len(starts)))
    steps = node.listed(4, "steps") or (1,) * len(starts)
    texts = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        texts[axis] = _range(start, end, step) if step > 0 else _range(_mirrored(start), _mirrored(end), -step)
    backwards = [axis for axis, step in zip(axes, steps, strict=True) if step < 0]
    source = f"{node[0]}.flip({literal(tuple(backwards))})" if backwards else node[0]
    return source + _index(node, {axis: text for axis, text in texts.items() if text != ":"})


def _bounds(node: Call, position: int, name: str) -> tuple[int | str, ...]:
    """Return where a slice starts or ends, along each of its axes."""
    found = node.sizes(position) if node.has(position) else node.integers(name)
    if found is not None:
        return found
    shape = node.shape(position) or (None,)
    if shape[0] is None:
        raise Unsupported("it has no bounds, or an unknown number of them")
    listed = node.let(name, f"{node[position]}.tolist()")
    return tuple(f"{listed}[{number}]" for number in range(shape[0]))


def _mirrored(bound: int | str) -> int | str:
    if isinstance(bound, int):
        return ~bound
    return f"~({bound})" if " " in bound else f"~{bound}"


_LARGE = (1 << 31) - 1


def _range(start: int | str, end: int | str, step: int) -> str:
    """Return what stands in a subscript; bounds beyond every tensor are left out."""
    low = "" if start == 0 or (isinstance(start, int) and start <= -_LARGE) else str(start)
    high = "" if isinstance(end, int) and end >= _LARGE else str(end)
    between = ":" if all(re.fullmatch(r"-?\w*", bound) for bound in (low, high)) else " : "
    return between.join((low, high) if step == 1 else (low, high, str(step))).strip()


def _index(node: Call, texts: dict[int, str]) -> str:
    """Return a subscript, from what it has at some axes."""
    if not texts:
        return ""
    if min(texts) < 0 and len(texts) == 1:
        ((axis, text),) = texts.items()
        return f"[..., {text}{', :' * (-axis - 1)}]"
    if min(texts) < 0:
        rank = node.known_rank()
        texts = {axis % rank: text for axis, text in texts.items()}
    return f"[{', '.join(texts.get(axis, ':') for axis in range(max(texts) + 1))}]"


@operator("Gather")
def gather(node: Call) -> str:
    axis = node.integer("axis", 0)
    if node.shape(1) == () and (index := node.sizes(1)) is not None:
        return f"{node[0]}.select({axis}, {index[0]})"
    return node[0] + _index(node, {axis: node[1]})


@operator("Split")
def split(node: Call) -> str:
    axis, sizes = node.integer("axis", 0), node.listed_sizes(1, "split")
    if sizes is not None:
        parts = call("torch.split", node[0], literal(list(sizes)), dim=axis)
    else:
        parts = call("torch.chunk", node[0], str(len(node.node.outputs)), dim=axis)
    return f"{parts}[0]" if node.outputs == 1 else parts


_PAD_MODES = {"constant": None, "reflect": '"reflect"', "edge": '"replicate"', "wrap": '"circular"'}


@operator("Pad")
def pad(node: Call) -> str:
    """torch lists pads from the last dimension on; what is not padded in front of those is left out."""
    pads = node.listed_sizes(1, "pads" if node.opset >= 2 else "paddings") or ()
    axes = node.listed(3, "axes") if node.has(3) else None
    if axes is None:
        begin, end = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    else:
        begin, end = _at_axes(pads, [axis % node.known_rank() for axis in axes], node.known_rank())
    mode = node.word("mode", "constant")
    # Of what is not constant torch pads up to three dimensions, and leaves one or two in front of them.
    rank = len(begin)
    fewest, most = (1, rank) if mode == "constant" else (max(1, rank - 2), min(3, rank - 1) or 1)
    while len(begin) > fewest and begin[0] == end[0] == 0:
        begin, end = begin[1:], end[1:]
    if len(begin) > most:
        raise Unsupported("it pads more dimensions than torch does in this mode")
    pairs = [size for pair in zip(reversed(begin), reversed(end), strict=True) for size in pair]
    value = _fill(node) if mode == "constant" else None
    return call("F.pad", node[0], literal(tuple(pairs)), mode=_PAD_MODES[mode], value=value)


def _at_axes(
    pads: Sequence[int | str], axes: Sequence[int], rank: int
) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    begin: list[int | str] = [0] * rank
    end: list[int | str] = [0] * rank
    for position, axis in enumerate(axes):
        begin[axis], end[axis] = pads[position], pads[len(axes) + position]
    return tuple(begin), tuple(end)


def _fill(node: Call) -> str | float | None:
    if node.opset < 11:
        return node.number("value", 0.0) or None
    if not node.has(2):
        return None
    value = node.constant(2)
    if value is None:
        raise Unsupported("its value is computed by the model")
    return value.reshape(()).item() or None
