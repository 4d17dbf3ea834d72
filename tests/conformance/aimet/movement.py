"""Operators that move, pick or convert values."""

from __future__ import annotations

from math import prod

from tests.conformance.aimet.builder import BOOL, FLOAT, FLOAT16, FLOATS, INT32, INT64, Builder, Value


def reshape(b: Builder, x: Value) -> list[Value]:
    size = prod(x.shape)
    shape = b.pick((1, size), (size,), x.shape, (1, 1, size), (1, 1, 1, size), (size, 1, 1))
    return [b.node("Reshape", [x, b.numbers(shape)], shape)]


def flatten(b: Builder, x: Value) -> list[Value]:
    return [b.node("Flatten", [x], (x.shape[0], prod(x.shape[1:])))]


def transpose(b: Builder, x: Value) -> list[Value]:
    axes = list(range(len(x.shape)))
    axes = b.pick(axes[::-1], [*axes[1:], axes[0]], axes)
    return [b.node("Transpose", [x], tuple(x.shape[a] for a in axes), perm=axes)]


def squeeze(b: Builder, x: Value) -> list[Value]:
    if x.shape[0] == 1 and b.often():
        return [b.node("Squeeze", [x, b.numbers([0])], x.shape[1:])]
    return [b.node("Unsqueeze", [x, b.numbers([0])], (1, *x.shape))]


def split(b: Builder, x: Value) -> list[Value]:
    """Two parts, of which both, one or none is read later."""
    axis = b.pick(*(a for a, n in enumerate(x.shape) if n % 2 == 0))
    part = tuple(n // 2 if a == axis else n for a, n in enumerate(x.shape))
    half = x.shape[axis] // 2
    return b.outputs("Split", [x, b.numbers([half, half])], [part, part], axis=axis)


def slice_(b: Builder, x: Value) -> list[Value]:
    axis = b.pick(*range(len(x.shape)))
    inputs = [x, *(b.numbers([n]) for n in (0, 1, axis))]
    shape = tuple(1 if a == axis else n for a, n in enumerate(x.shape))
    return [b.node("Slice", inputs, shape)]


def pad(b: Builder, x: Value) -> list[Value]:
    inputs: list[Value | None] = [x, b.numbers([0] * (2 * len(x.shape)))]
    if b.often():
        inputs.append(b.constant((), x.dtype, 0.0))
    return [b.node("Pad", inputs, x.shape)]


def expand(b: Builder, x: Value) -> list[Value]:
    return [b.node("Expand", [x, b.numbers(x.shape)], x.shape)]


def tile(b: Builder, x: Value) -> list[Value]:
    return [b.node("Tile", [x, b.numbers([1] * len(x.shape))], x.shape)]


def identity(b: Builder, x: Value) -> list[Value]:
    return [b.node("Identity", [x], x.shape)]


def dropout(b: Builder, x: Value) -> list[Value]:
    return [b.node("Dropout", [x], x.shape)]


def gather(b: Builder, x: Value) -> list[Value]:
    """Rows of `x`, or rows of a table."""
    if b.often():
        return [b.node("Gather", [b.param((5, 4)), b.constant((3,), INT64, 1)], (3, 4), axis=0)]
    index = b.constant(b.pick((), (2,)), INT64, 0)
    return [b.node("Gather", [x, index], (*index.shape, *x.shape[1:]), axis=0)]


def gather_elements(b: Builder, x: Value) -> list[Value]:
    if b.often():
        return [b.node("GatherND", [x, b.constant((1, 1), INT64, 0)], (1, *x.shape[1:]))]
    return [b.node("GatherElements", [x, b.constant(x.shape, INT64, 0)], x.shape)]


def topk(b: Builder, x: Value) -> list[Value]:
    return b.outputs("TopK", [x, b.numbers([1])], [(*x.shape[:-1], 1)] * 2, [x.dtype, INT64], axis=-1)


def cast(b: Builder, x: Value) -> list[Value]:
    to = b.pick(FLOAT, FLOAT16, INT32, BOOL)
    there = b.outputs("Cast", [x], [x.shape], [to], to=to)[0]
    return [there] if to in FLOATS else b.outputs("Cast", [there], [x.shape], [FLOAT], to=FLOAT)


def filled(b: Builder, x: Value) -> list[Value]:
    """A constant of a shape that is computed: ConstantOfShape(Shape(x))."""
    shape = b.outputs("Shape", [x], [(len(x.shape),)], [INT64])
    return b.outputs("ConstantOfShape", shape, [x.shape], [FLOAT])


def depth_to_space(b: Builder, x: Value) -> list[Value]:
    n, c, h, w = x.shape
    if c % 4 == 0 and b.often():
        return [b.node("DepthToSpace", [x], (n, c // 4, h * 2, w * 2), blocksize=2)]
    return [b.node("SpaceToDepth", [x], (n, c, h, w), blocksize=1)]


def applicable(b: Builder, x: Value) -> list[str]:
    """Return the names in MOVEMENT of what can read `x`."""
    names = ["reshape", "expand", "identity", "cast"]
    if x.shape:
        names += ["flatten", "transpose", "tile", "gather", "gather_elements", "topk", "filled", "slice", "pad"]
        if x.dtype in FLOATS:
            names.append("dropout")
        if any(n % 2 == 0 for n in x.shape):
            names.append("split")
        if len(x.shape) < 5:
            names.append("squeeze")
    if len(x.shape) == 4 and x.dtype == FLOAT:
        names.append("depth_to_space")
    return names


MOVEMENT = {
    "reshape": reshape,
    "flatten": flatten,
    "transpose": transpose,
    "squeeze": squeeze,
    "split": split,
    "slice": slice_,
    "pad": pad,
    "expand": expand,
    "tile": tile,
    "identity": identity,
    "dropout": dropout,
    "gather": gather,
    "gather_elements": gather_elements,
    "topk": topk,
    "cast": cast,
    "filled": filled,
    "depth_to_space": depth_to_space,
}
