"""Operators that move values: their shapes and indices are constants of the model, and literals of the expression."""

from __future__ import annotations

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
    shape = node.integers("shape") if node.opset < 5 else None
    if shape is None:
        value = node.constant(1)
        if value is None:
            return f"{node[0]}.reshape({node[1]}.tolist())"
        shape = tuple(int(size) for size in value.reshape(-1))
    copied = not node.integer("allowzero", 0)
    sizes = [f"{node[0]}.shape[{axis}]" if size == 0 and copied else str(size) for axis, size in enumerate(shape)]
    return call(f"{node[0]}.reshape", *sizes) if sizes else f"{node[0]}.reshape(())"


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
    """A size of 1 in the shape leaves the input's."""
    shape = node.constant(1)
    sizes = f"{node[1]}.tolist()" if shape is None else literal(tuple(int(size) for size in shape))
    return f"{node[0]}.expand(torch.broadcast_shapes({node[0]}.shape, {sizes}))"


@operator("Shape")
def shape_of(node: Call) -> str:
    attributes = node.node.attributes
    if "start" not in attributes and "end" not in attributes:
        return f"torch.tensor({node[0]}.shape)"
    low, high = (str(attributes[name]) if name in attributes else "" for name in ("start", "end"))
    return f"torch.tensor({node[0]}.shape[{low}:{high}])"


@operator("Slice")
def slice_(node: Call) -> str:
    starts, ends = (node.listed(p, name) for p, name in ((1, "starts"), (2, "ends")))
    if starts is None or ends is None:
        raise Unsupported("it has no bounds")
    axes = node.listed(3, "axes") or tuple(range(len(starts)))
    steps = node.listed(4, "steps") or (1,) * len(starts)
    if min(steps) < 0:
        raise Unsupported("it counts backwards")
    texts = {axis: _range(*bounds) for axis, *bounds in zip(axes, starts, ends, steps, strict=True)}
    return node[0] + _index(node, texts)


_LARGE = 1 << 31


def _range(start: int, end: int, step: int) -> str:
    low = "" if start == 0 else str(start)
    high = "" if end >= _LARGE - 1 else str(end)
    return f"{low}:{high}" if step == 1 else f"{low}:{high}:{step}"


def _index(node: Call, texts: dict[int, str]) -> str:
    """Return a subscript, from what it has at some axes."""
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
    index = node.constant(1)
    if index is not None and index.ndim == 0:
        return f"{node[0]}.select({axis}, {int(index)})"
    return node[0] + _index(node, {axis: node[1]})


@operator("Split")
def split(node: Call) -> str:
    axis, sizes = node.integer("axis", 0), node.listed(1, "split")
    if sizes is not None:
        parts = call("torch.split", node[0], literal(list(sizes)), dim=axis)
    else:
        parts = call("torch.chunk", node[0], str(len(node.node.outputs)), dim=axis)
    return f"{parts}[0]" if node.outputs == 1 else parts


_PAD_MODES = {"constant": None, "reflect": '"reflect"', "edge": '"replicate"', "wrap": '"circular"'}


@operator("Pad")
def pad(node: Call) -> str:
    """torch lists pads from the last dimension on; what is not padded in front of those is left out."""
    pads = node.listed(1, "pads" if node.opset >= 2 else "paddings") or ()
    axes = node.listed(3, "axes") if node.has(3) else None
    if axes is None:
        begin, end = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    else:
        begin, end = _at_axes(pads, [axis % node.known_rank() for axis in axes], node.known_rank())
    while len(begin) > 1 and begin[0] == end[0] == 0:
        begin, end = begin[1:], end[1:]
    pairs = [size for pair in zip(reversed(begin), reversed(end), strict=True) for size in pair]
    mode = node.word("mode", "constant")
    value = _fill(node) if mode == "constant" else None
    return call("F.pad", node[0], literal(tuple(pairs)), mode=_PAD_MODES[mode], value=value)


def _at_axes(pads: Sequence[int], axes: Sequence[int], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    begin, end = [0] * rank, [0] * rank
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


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")
def reduction(node: Call) -> str:
    """Without axes it reduces all of them."""
    functions = {
        "ReduceMean": "mean",
        "ReduceSum": "sum",
        "ReduceMax": "amax",
        "ReduceMin": "amin",
        "ReduceProd": "prod",
    }
    function, axes = functions[node.node.op], node.listed(1, "axes")
    if not axes and node.has(1) and node.integer("noop_with_empty_axes", 0):
        return node[0]
    keeps = True if node.integer("keepdims", 1) else None
    if axes:
        if function == "prod" and len(axes) > 1:
            raise Unsupported("torch multiplies along one axis at a time")
        return call(f"{node[0]}.{function}", dim=axes[0] if len(axes) == 1 else axes, keepdim=keeps)
    every = None if keeps is None else f"tuple(range({node[0]}.ndim))"
    if every is not None and function == "prod":
        raise Unsupported("torch multiplies along one axis at a time")
    return call(f"{node[0]}.{function}", dim=every, keepdim=keeps)
