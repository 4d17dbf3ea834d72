"""Normalizations, over channels, groups, axes, and with onnxruntime's fused additions (domain `com.microsoft`)."""

from __future__ import annotations

from qsimc_torch.call import Call, Unsupported, call, literal
from qsimc_torch.operators import operator


def _unless(value: object, default: object) -> object:
    """Return an option, None where it says what torch does anyway."""
    return None if value == default else value


@operator("InstanceNormalization")
def instance_normalization(node: Call) -> str:
    eps = node.number("epsilon", 1e-5)
    return call("F.instance_norm", node[0], weight=node[1], bias=node[2], eps=_unless(eps, 1e-5))


@operator("GroupNormalization")
def group_normalization(node: Call) -> str:
    """Before operator set 21 there is one scale and one bias per group, not per channel."""
    groups, eps = node.integer("num_groups", 1), node.number("epsilon", 1e-5)
    scale, bias = node[1], node[2]
    if node.opset < 21:
        channels = (node.shape() or (None, None))[1]
        each = f"{node[0]}.shape[1] // {groups}" if channels is None else str(channels // groups)
        scale, bias = (f"{text}.repeat_interleave({each})" for text in (scale, bias))
    return call("F.group_norm", node[0], str(groups), scale, bias, eps=_unless(eps, 1e-5))


@operator("RMSNormalization", "SimplifiedLayerNormalization", "com.microsoft.SimplifiedLayerNormalization")
def rms_normalization(node: Call) -> str:
    """onnxruntime has it as an operator of its own, without a name in ONNX before operator set 23."""
    node.only_output()
    sizes, eps = _normalized(node), node.number("epsilon", 1e-5)
    if sizes is not None:
        return call("F.rms_norm", node[0], sizes, node[1], eps=eps)
    return f"{call('F.rms_norm', node[0], _sizes_from(node), eps=eps)} * {node[1]}"


@operator("LayerNormalization")
def layer_normalization(node: Call) -> str:
    """The scale may broadcast; the mean and the reciprocal of the deviation are outputs too."""
    sizes, eps = _normalized(node), node.number("epsilon", 1e-5)
    option = _unless(eps, 1e-5)
    if sizes is not None:
        made = call("F.layer_norm", node[0], sizes, node[1], *([node[2]] if node.has(2) else []), eps=option)
    else:
        made = f"{call('F.layer_norm', node[0], _sizes_from(node), eps=option)} * {node[1]}"
        made += f" + {node[2]}" if node.has(2) else ""
    if node.outputs == 1:
        return made
    x, dim = node[0] if node.dtype() in ("float32", "float64") else f"{node[0]}.float()", _axes_text(node)
    variance = node.let("variance", call(f"{x}.var", dim=dim, correction=0, keepdim=True))
    statistics = [call(f"{x}.mean", dim=dim, keepdim=True), f"torch.rsqrt({variance} + {literal(eps)})"]
    return ", ".join([node.let("normalized", made), *statistics[: len(node.node.outputs) - 1]])


def _normalized(node: Call) -> str | None:
    """Return the sizes of what is normalized, None where the scale has another shape."""
    shape, rank, axis = node.shape(1), node.rank(), node.integer("axis", -1)
    count = -axis if axis < 0 else None if rank is None else rank - axis
    if shape is None or None in shape or len(shape) != count:
        return None
    whole = node.shape()
    if whole is not None and None not in whole and whole[len(whole) - count :] != shape:
        return None
    # Where sizes of the input are unknown, a size of 1 may broadcast.
    return None if (whole is None or None in whole) and 1 in shape else literal(shape)


def _sizes_from(node: Call) -> str:
    return f"{node[0]}.shape[{node.integer('axis', -1)}:]"


def _axes_text(node: Call) -> str:
    axis, rank = node.integer("axis", -1), node.rank()
    if axis < 0:
        return literal(tuple(range(axis, 0)))
    return f"tuple(range({axis}, {node[0]}.ndim))" if rank is None else literal(tuple(range(axis, rank)))


@operator("com.microsoft.SkipLayerNormalization", "com.microsoft.SkipSimplifiedLayerNormalization")
def skip_layer_normalization(node: Call) -> str:
    """Input, skip and bias are added first; the sum is the fourth output (onnxruntime's contrib operators)."""
    if any(name for name in node.node.outputs[1:3]) and node.outputs > 1:
        raise Unsupported("its mean or deviation is read")
    simplified = node.node.op == "SkipSimplifiedLayerNormalization"
    bias = 3 if simplified else 4
    added = f"{node[0]} + {node[1]}" + (f" + {node[bias]}" if node.has(bias) else "")
    total = node.let("total", added)
    shape, eps = node.shape(2), node.number("epsilon", 1e-5 if simplified else 1e-12)
    sizes = f"{total}.shape[-1:]" if shape is None or None in shape else literal(shape)
    function = "F.rms_norm" if simplified else "F.layer_norm"
    beta = [node[3]] if not simplified and node.has(3) else []
    made = call(function, total, sizes, node[2], *beta, eps=eps)
    return made if node.outputs == 1 else f"{made}, None, None, {total}"


@operator("LpNormalization")
def lp_normalization(node: Call) -> str:
    return call("F.normalize", node[0], p=float(node.integer("p", 2)), dim=node.integer("axis", -1))


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Call) -> str:
    """1e-9 is added to the deviation (ONNX documentation, the function's body)."""
    axes, x = node.integers("axes") or (0, 2, 3), node[0]
    mean = node.let("mean", call(f"{x}.mean", dim=axes, keepdim=True))
    deviation = node.let("deviation", call(f"{x}.std", dim=axes, correction=0, keepdim=True))
    return f"({x} - {mean}) / ({deviation} + 1e-09)"


@operator("LRN")
def local_response_normalization(node: Call) -> str:
    """The window has the longer half behind the channel, torch's before it: those of an odd size agree."""
    size = node.integer("size", 1)
    if size % 2 == 0:
        raise Unsupported("its window has an even size")
    alpha, beta, k = node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0)
    return call(
        "F.local_response_norm",
        node[0],
        str(size),
        alpha=_unless(alpha, 1e-4),
        beta=_unless(beta, 0.75),
        k=_unless(k, 1.0),
    )
