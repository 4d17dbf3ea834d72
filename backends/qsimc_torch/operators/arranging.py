"""Operators that rearrange an image or a sequence: blocks, tiles, crops, grids."""

from __future__ import annotations

from qsimc_torch.call import Call, Unsupported, call, literal, same_or_tuple
from qsimc_torch.operators import operator, otherwise
from qsimc_torch.operators.making import scalar, sizes


@operator("Tile")
def tile(node: Call) -> str:
    if node.opset < 6:
        raise Unsupported(f"it has no expression in operator set {node.opset}")
    return call("torch.tile", node[0], sizes(node, 1))


@operator("DepthToSpace")
def depth_to_space(node: Call) -> str:
    """`CRD` is torch's order of the channels; `DCR` has the block in front of them."""
    block = node.integer("blocksize", 1)
    if node.word("mode", "DCR") == "CRD":
        return call("F.pixel_shuffle", node[0], str(block))
    split = f"{node[0]}.unflatten(1, ({block}, {block}, -1))"
    return f"{split}.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)"


@operator("SpaceToDepth")
def space_to_depth(node: Call) -> str:
    """`CRD` is torch's order of the channels; `DCR`, the only one before operator set 28, has the block in front."""
    block = node.integer("blocksize", 1)
    if node.word("mode", "DCR") == "CRD":
        return call("F.pixel_unshuffle", node[0], str(block))
    split = f"{node[0]}.unflatten(3, (-1, {block})).unflatten(2, (-1, {block}))"
    return f"{split}.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)"


@operator("Col2Im")
def col2im(node: Call) -> str:
    rank = len(node.integers("dilations") or node.integers("strides") or ()) or (node.shape(1) or (None,))[0]
    if rank != 2:
        raise Unsupported(f"torch folds images of two dimensions, not of {rank or 'an unknown number'}")
    pads = node.integers("pads") or (0,) * 4
    if pads[:2] != pads[2:]:
        raise Unsupported("its padding is not the same on both sides")
    ones = (1, 1)
    strides, dilations = node.integers("strides") or ones, node.integers("dilations") or ones
    return call(
        "F.fold",
        node[0],
        sizes(node, 1),
        sizes(node, 2),
        dilation=None if dilations == ones else same_or_tuple(dilations),
        padding=same_or_tuple(pads[:2]) or None,
        stride=None if strides == ones else same_or_tuple(strides),
    )


_PAD_MODES = {"constant": None, "reflect": '"reflect"', "edge": '"replicate"', "wrap": '"circular"'}


@otherwise("Pad")
def pad(node: Call) -> str:
    """By sides that the model computes."""
    if node.opset < 11:
        raise Unsupported("it has no pads")
    value = None if not node.has(2) else scalar(node, 2)
    axes = None if not node.has(3) else sizes(node, 3)
    mode = _PAD_MODES[node.word("mode", "constant")]
    return call("pad_sides", node[0], sizes(node, 1), dims=axes, mode=mode, value=value if mode is None else None)


@otherwise("Split")
def split(node: Call) -> str:
    parts = call("torch.split", node[0], sizes(node, 1), dim=node.integer("axis", 0))
    return f"{parts}[0]" if node.outputs == 1 else parts


@otherwise("Squeeze")
def squeeze(node: Call) -> str:
    return f"{node[0]}.squeeze({node[1]}.tolist())"


@otherwise("Unsqueeze")
def unsqueeze(node: Call) -> str:
    return call("unsqueeze_at", node[0], sizes(node, 1) if node.opset >= 13 else literal(node.integers("axes") or ()))


@operator("CenterCropPad")
def center_crop_pad(node: Call) -> str:
    axes = node.integers("axes")
    return call("crop_or_pad", node[0], sizes(node, 1), dims=None if axes is None else literal(axes))


_GRID_MODES = {"linear": None, "bilinear": None, "nearest": '"nearest"', "cubic": '"bicubic"', "bicubic": '"bicubic"'}


@operator("GridSample")
def grid_sample(node: Call) -> str:
    mode = node.word("mode", "linear" if node.opset >= 20 else "bilinear")
    if mode in ("cubic", "bicubic") and node.known_rank() != 4:
        raise Unsupported("torch samples volumes linearly only")
    padding = node.word("padding_mode", "zeros")
    return call(
        "F.grid_sample",
        node[0],
        node[1],
        mode=_GRID_MODES[mode],
        padding_mode=None if padding == "zeros" else f'"{padding}"',
        align_corners=bool(node.integer("align_corners", 0)),
    )


@operator("AffineGrid")
def affine_grid(node: Call) -> str:
    return call("F.affine_grid", node[0], sizes(node, 1), align_corners=bool(node.integer("align_corners", 0)))


@operator("MaxUnpool")
def max_unpool(node: Call) -> str:
    """ONNX counts the places in the whole tensor, torch in each plane.

    Places are those of the size that follows from the window; a larger `output_shape` is filled up with zeros
    (onnx/reference/ops/op_max_unpool.py).
    """
    kernel = node.integers("kernel_shape") or ()
    strides = node.integers("strides") or (1,) * len(kernel)
    pads = node.integers("pads") or (0,) * (2 * len(kernel))
    x, rank = node[0], len(kernel)
    spatial = []
    for axis, (width, stride) in enumerate(zip(kernel, strides, strict=True)):
        more = width - stride - pads[axis] - pads[rank + axis]
        size = f"{x}.shape[{axis + 2}]" + (f" * {stride}" if stride != 1 else "")
        spatial.append(size if more == 0 else f"{size} {'+' if more > 0 else '-'} {abs(more)}")
    shape = node.let("shape", f"({x}.shape[0], {x}.shape[1], {', '.join(spatial)})")
    empty = call(f"{x}.new_zeros", shape)
    placed = f"{empty}.flatten().scatter(0, {node[1]}.flatten(), {x}.flatten()).reshape({shape})"
    if not node.has(2):
        return placed
    placed = node.let("placed", placed)
    wanted = node.let("wanted", sizes(node, 2))
    ends = (f"0, {wanted}[{axis + 2}] - {shape}[{axis + 2}]" for axis in reversed(range(rank)))
    return call("F.pad", placed, f"({', '.join(ends)})")


@operator("RoiAlign")
def roi_align(node: Call) -> str:
    """Half a pixel is taken off the corners since operator set 16."""
    mode = node.word("coordinate_transformation_mode", "half_pixel" if node.opset >= 16 else "output_half_pixel")
    return call(
        "roi_align",
        node[0],
        node[1],
        node[2],
        size=(node.integer("output_height", 1), node.integer("output_width", 1)),
        samples=node.integer("sampling_ratio", 0),
        scale=node.number("spatial_scale", 1.0),
        aligned=mode == "half_pixel",
        largest=True if node.word("mode", "avg") == "max" else None,
    )


@operator("NonMaxSuppression")
def non_max_suppression(node: Call) -> str:
    """An absent bound is 0, and so no box is taken unless the first is given."""
    texts = []
    for position, default in ((2, "0"), (3, "0.0"), (4, "-torch.inf")):
        value = node.constant(position)
        if not node.has(position):
            texts.append(default)
        elif value is not None and value.size:
            texts.append(literal(value.reshape(()).item()))
        else:
            texts.append(f"{node[position]}.item()")
    centered = True if node.integer("center_point_box", 0) else None
    return call("non_max_suppression", node[0], node[1], *texts, centered=centered)


@otherwise("Resize", "Upsample")
def resize(node: Call) -> str:
    """By matrices, one per dimension, where `F.interpolate` computes something else."""
    old = node.node.op == "Upsample" or node.opset < 11
    at = 1 if old else 2
    stated = node.node.attributes.get("scales")
    scales = target = None
    if isinstance(stated, tuple):
        scales = literal([float(factor) for factor in stated])
    elif node.has(at) and not _is_empty(node, at):
        value = node.constant(at)
        scales = f"{node[at]}.tolist()" if value is None else literal([float(str(factor)) for factor in value])
    else:
        found = node.sizes(3)
        target = f"{node[3]}.tolist()" if found is None else literal(list(found))
    place = "asymmetric" if old else node.word("coordinate_transformation_mode", "half_pixel")
    region = None
    if place == "tf_crop_and_resize":
        value = node.constant(1)
        region = f"{node[1]}.tolist()" if value is None else literal([float(str(corner)) for corner in value])
    mode = node.word("mode", "nearest")
    policy = node.word("keep_aspect_ratio_policy", "stretch")
    axes = node.integers("axes")
    outside = node.number("extrapolation_value", 0.0)
    coefficient = node.number("cubic_coeff_a", -0.75)
    rounding = "floor" if old else node.word("nearest_mode", "round_prefer_floor")
    return call(
        "resize",
        node[0],
        scales=scales,
        sizes=target,
        dims=None if axes is None else literal(list(axes)),
        policy=None if policy == "stretch" else f'"{policy}"',
        mode=f'"{mode}"',
        place=f'"{place}"',
        rounding=f'"{rounding}"' if mode == "nearest" else None,
        coefficient=coefficient if mode == "cubic" and coefficient != -0.75 else None,
        antialias=True if node.integer("antialias", 0) else None,
        exclude_outside=True if node.integer("exclude_outside", 0) else None,
        region=region,
        outside=outside if region is not None and outside else None,
    )


def _is_empty(node: Call, position: int) -> bool:
    shape = node.shape(position)
    return shape is not None and 0 in shape
