"""Resize and Upsample: torch's `interpolate` where it computes the same, a refusal everywhere else."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc_torch.call import Call, Unsupported, call, literal
from qsimc_torch.operators import operator

_RESIZES = {
    ("linear", "half_pixel"): (("linear", "bilinear", "trilinear"), False),
    ("linear", "pytorch_half_pixel"): (("linear", "bilinear", "trilinear"), False),
    ("linear", "align_corners"): (("linear", "bilinear", "trilinear"), True),
    ("cubic", "half_pixel"): ((None, "bicubic", None), False),
    ("cubic", "pytorch_half_pixel"): ((None, "bicubic", None), False),
    ("cubic", "align_corners"): ((None, "bicubic", None), True),
}


@operator("Resize", "Upsample")
def resize(node: Call) -> str:
    """torch resizes all dimensions but the first two, by factors or to sizes."""
    mode = node.word("mode", "nearest")
    place = "asymmetric" if _is_old(node) else node.word("coordinate_transformation_mode", "half_pixel")
    scales, sizes = _target(node)
    rank = len(scales or sizes or ())
    if not 3 <= rank <= 5:
        raise Unsupported(f"torch does not resize {rank} dimensions")
    if scales[:2] != (1.0, 1.0) if scales is not None else _changes_channels(node, sizes or ()):
        raise Unsupported("it resizes the batch or the channels")
    corners: bool | None = None
    if mode == "nearest":
        name = _nearest(node, place, scales, sizes)
    else:
        found = _RESIZES.get((mode, place))
        choice = None if found is None else found[0][rank - 3]
        if found is None or choice is None or (mode == "cubic" and node.number("cubic_coeff_a", -0.75) != -0.75):
            raise Unsupported(f"torch does not resize by `{mode}` with `{place}`")
        name, corners = choice, found[1]
    if node.integer("exclude_outside", 0):
        raise Unsupported("it leaves out what lies outside")
    if node.integer("antialias", 0):
        raise Unsupported("torch weighs what lies outside in another way than ONNX when it smooths")
    if place == "pytorch_half_pixel" and _may_be_one(node, scales, sizes):
        raise Unsupported("where one place is left torch takes the middle, ONNX the first")
    return call(
        "F.interpolate",
        node[0],
        scale_factor=None if scales is None else literal(scales[2:]),
        size=None if sizes is None else literal(sizes[2:]),
        mode=f'"{name}"',
        align_corners=corners or None,
    )


def _is_old(node: Call) -> bool:
    return node.node.op == "Upsample" or node.opset < 11


def _changes_channels(node: Call, sizes: Sequence[int | str]) -> bool:
    return any(size != node.length(axis) for axis, size in enumerate(sizes[:2]))


def _target(node: Call) -> tuple[tuple[float, ...] | None, tuple[int | str, ...] | None]:
    """Return the factors or else the sizes, one per dimension."""
    if node.integers("axes") is not None:
        raise Unsupported("it names the axes to resize")
    if node.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("it keeps the aspect ratio")
    position = 1 if _is_old(node) else 2
    stated = node.node.attributes.get("scales")
    if isinstance(stated, tuple):
        return tuple(float(factor) for factor in stated), None
    if node.has(position) and (factors := node.constant(position)) is not None and factors.size:
        return tuple(float(factor) for factor in factors), None
    if (sizes := node.sizes(3)) is not None:
        return None, sizes
    raise Unsupported("the size of its result is computed by the model")


def _may_be_one(node: Call, scales: Sequence[float] | None, sizes: Sequence[int | str] | None) -> bool:
    """Return whether a dimension that gets smaller may get one place."""
    if sizes is not None:
        return any(size == 1 or isinstance(size, str) for size in sizes[2:])
    shape = (node.shape() or (None,) * len(scales or ()))[2:]
    pairs = zip(shape, (scales or ())[2:], strict=True)
    return any(scale < 1 and (size is None or size * scale < 2) for size, scale in pairs)


def _nearest(node: Call, place: str, scales: Sequence[float] | None, sizes: Sequence[int | str] | None) -> str:
    """Return which of torch's two ways it is.  Where an input is enlarged a whole number of times, all ways agree."""
    rounding = "floor" if _is_old(node) else node.word("nearest_mode", "round_prefer_floor")
    if (place, rounding) == ("asymmetric", "floor"):
        return "nearest"
    factors = list(scales or ())
    if sizes is not None:
        shape = node.shape() or (None,) * len(sizes)
        factors = [_factor(size, before) for size, before in zip(sizes, shape, strict=True)][2:]
    whole = all(factor >= 1 and float(factor).is_integer() for factor in factors)
    if whole and place in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round_prefer"):
        return "nearest"
    if place in ("half_pixel", "pytorch_half_pixel") and rounding == "round_prefer_ceil":
        return "nearest-exact"
    raise Unsupported(f"torch does not resize by `nearest` with `{place}` and `{rounding}`")


def _factor(size: int | str, before: int | None) -> float:
    """Return how much larger an input becomes, a fraction where it is unknown."""
    return size / before if before and isinstance(size, int) else 0.5
